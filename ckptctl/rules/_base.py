"""What a rule is: it looks at the complete checkpoints of one family and says which it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

from ckptctl.decision import Context
from ckptctl.model import Checkpoint
from ckptctl.registry import Registry


class Order(StrEnum):
    """By what a family is ordered; section 4 of the contract."""

    STEP = "step"
    EPOCH = "epoch"
    STATED = "stated"  # the time that the framework or a sidecar states
    SAVED = "saved"

    @property
    def shown(self) -> str:
        """Its word for people: a time is a time, whoever states it."""
        return self.value if self in {Order.STEP, Order.EPOCH} else "time"


@dataclass(frozen=True, slots=True)
class Place:
    """The complete checkpoints of one step (or epoch) of a family: they share one place.

    In a family ordered by time each checkpoint has a place of its own.
    """

    checkpoints: tuple[Checkpoint, ...]  # in the family's order

    @property
    def step(self) -> int | None:
        """The step of all of them."""
        return self.checkpoints[0].step

    @property
    def epoch(self) -> float | None:
        """The epoch of all of them where they are ordered by it."""
        return self.checkpoints[0].epoch

    @property
    def last(self) -> Checkpoint:
        """The one saved last, of those whose time is not ahead of the clock where there are any."""
        return max(self.checkpoints, key=lambda c: (not c.future, c.saved_ns))

    @property
    def saved_ns(self) -> int:
        """When the last of them was saved."""
        return self.last.saved_ns

    @property
    def future(self) -> bool:
        """Whether the time of each of them is ahead of the clock."""
        return all(c.future for c in self.checkpoints)


@dataclass(frozen=True, slots=True)
class Family:
    """The checkpoints of a run whose names differ only in their numbers."""

    name: str
    order: Order
    places: tuple[Place, ...]  # complete ones, oldest first in the family's order
    checkpoints: tuple[Checkpoint, ...]  # all of them, in any state


class Judgement(NamedTuple):
    """What a rule says of one place: kept because, or what it would have taken."""

    place: Place
    kept: bool
    text: str


class Rule(Protocol):
    """One keep-statement: a frozen dataclass that validates itself (ValueError) when it is made.

    Every rule is stable: deleting what it did not keep never changes what it keeps.
    """

    name: ClassVar[str]  # as in `reasons[].rule`

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Yield a judgement for every place that it keeps, and for others where it has one.

        The text of a kept one says why (`#1 by val_ppl (12.3)`); that of another what it would
        have taken (`#3 by val_ppl (12.9): kept by --keep-best 3`).  The rule's name is put before
        it by whoever prints it.
        """


class Mode(StrEnum):
    """Whether a smaller or a larger value of a metric is better."""

    MIN = "min"
    MAX = "max"


class Metric(NamedTuple):
    """A metric to rank by; without a mode the words of its name tell (see `metric.mode_of`)."""

    name: str
    mode: Mode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """How a rule is written: as a key of an item of `keep:` and as a flag.

    From this the YAML decoder, the JSON Schema, the flags of `prune`, the man page and the docs
    all follow; a rule's module makes one spec for each key and registers it under that key.
    """

    key: str  # `last`; the flag is `--keep-last` unless `flag` says otherwise
    flag: str
    metavar: str  # what stands for the value in help: N, D, S
    repeat: bool = False  # the flag may be given several times, and YAML takes a list
    help: str  # one line for --help, the schema and the docs
    schema: Mapping[str, object]  # JSON Schema of the YAML value
    make: Callable[[object, Metric | None], Rule]
    """Make the rule from a YAML value, or from the flag's text (a list of texts if `repeat`).

    The second argument is the metric to use where the value names none.  ValueError says what is
    wrong with the value, without naming the key.
    """


RULES: Registry[RuleSpec] = Registry("ckptctl.rules")
