"""The nouns of a decision: what is decided of a checkpoint, why, and what that may know; frozen, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ckptctl.model import NS, Checkpoint, Run


class Verdict(StrEnum):
    """What a decision comes to."""

    KEEP = "keep"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a checkpoint is kept: the rule's or guard's name, and its words."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A checkpoint with the reasons to keep it; without any it goes.

    `short` says, for one that goes, what it would have taken to be kept.
    """

    checkpoint: Checkpoint
    reasons: tuple[Reason, ...]
    short: tuple[str, ...] = ()
    waits: bool = False  # its deletion is scheduled, and not due yet: nothing is done now

    @property
    def verdict(self) -> Verdict:
        """Keep where there is a reason, else delete."""
        return Verdict.KEEP if self.reasons else Verdict.DELETE


@dataclass(frozen=True, slots=True)
class Demand:
    """How many proven copies on other tiers a deletion needs, and which checkpoints (members) need them."""

    copies: int
    of: Callable[[Run, Context], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know beside the checkpoints: the clock, times of settling and waiting, copies."""

    now_ns: int
    settle_ns: int = 15 * 60 * NS
    await_metric_ns: int = 6 * 3600 * NS
    demand: Demand | None = None  # for copies
