"""What a policy says, whoever wrote it: flags on a command line or YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptctl.model import NS
from ckptctl.rules._base import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one call may delete of one run; None is no limit."""

    max_delete: int | None = None
    max_delete_percent: float | None = None  # of the run's complete checkpoints
    max_delete_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules and all that goes with them, for one run on one tier."""

    name: str = ""
    keep: tuple[Rule, ...] = ()
    metrics_from: tuple[str, ...] = ()
    settle_ns: int = 15 * 60 * NS
    await_metric_ns: int = 6 * 3600 * NS
    incomplete_after_ns: int | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named location with a place in an order."""

    name: str
    url: str
    storage_options: Mapping[str, str] = field(default_factory=dict)
    per_node: bool = False
