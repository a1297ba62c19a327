"""How well a run is saved: the age of its newest complete checkpoint, and what its disk holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ckptctl.at_risk import AtRisk
from ckptctl.errors import CkptctlError
from ckptctl.model import NS, Checkpoint, Problem, Run, State


class Level(StrEnum):
    """What a monitor is told, in Nagios's words."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def code(self) -> int:
        """Return Nagios's exit code."""
        return list(Level).index(self)


_WORST_LAST = (Level.OK, Level.WARNING, Level.UNKNOWN, Level.CRITICAL)


@dataclass(frozen=True, slots=True)
class Limits:
    """How old the newest complete checkpoint may be; None is no limit."""

    warn_ns: int | None = None
    critical_ns: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit."""
        return self.warn_ns is not None or self.critical_ns is not None

    def level(self, age_ns: int | None) -> Level | None:
        """Return what an age comes to (None: there is none); None without any limit."""
        if not self.any:
            return None
        if age_ns is None or (self.critical_ns is not None and age_ns > self.critical_ns):
            return Level.CRITICAL
        if self.warn_ns is not None and age_ns > self.warn_ns:
            return Level.WARNING
        return Level.OK


_SKEW_NS = 3600 * NS
"""How far the clock of who saved may be ahead: what is of a later time says nothing of when it was saved."""


@dataclass(frozen=True, slots=True)
class Trash:
    """What deletions left: entries that can come back, and bytes that only wait to be removed."""

    entries: int = 0
    bytes: int = 0
    gone_bytes: int = 0
    purge_ns: int | None = None  # when the first of them is past its grace

    def plus(self, other: Trash) -> Trash:
        """Return both together."""
        return Trash(
            self.entries + other.entries,
            self.bytes + other.bytes,
            self.gone_bytes + other.gone_bytes,
            min((t.purge_ns for t in (self, other) if t.purge_ns is not None), default=None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a tier that is copied from still owes, of the checkpoints that its `copy` chooses.

    In the backlog is what `apply` would copy; a conflict that it would meet is none of it, and what
    cannot be seen is neither.
    """

    to: str  # the next tier
    required: int
    backlog: int
    backlog_bytes: int
    conflicts: int  # another one of that name is there
    proven: int  # copies, on all other tiers
    missing: int  # copies that a deletion would still need
    unreachable: tuple[str, ...]  # tiers


def unlike_on(run: Run, tier: str) -> frozenset[str]:
    """Return the members of which a tier seems to hold another one, that a newer one does not just replace."""
    return frozenset(
        c.member
        for c in run.checkpoints
        if not c.named and any((lack.tier, lack.code) == (tier, "differs") for lack in c.lacks)
    )


def copied_of(
    run: Run,
    chosen: Collection[str],
    to: str,
    required: int,
    owed: Collection[str],
    conflicts: Collection[str],
) -> Copied:
    """Return how far the chosen checkpoints of a run are copied, which was seen already.

    `owed` and `conflicts` are what a round of copies would send, and what it would leave; all are members.
    """
    asked = [c for c in run.checkpoints if c.member in chosen]
    behind = [c for c in asked if c.member in owed]
    return Copied(
        to=to,
        required=required,
        backlog=len(behind),
        backlog_bytes=sum(c.bytes for c in behind),
        conflicts=sum(c.member in conflicts for c in asked),
        proven=sum(len(c.copies) for c in asked),
        missing=sum(max(required - len(c.copies), 0) for c in asked),
        unreachable=tuple(
            sorted({lack.tier for c in asked for lack in c.lacks if lack.code == "unreachable"})
        ),
    )


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of a run: bytes that the caller may still write, and all it has."""

    free: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One run as a monitor sees it; one with an `error` could not be read (wholly)."""

    name: str
    location: str
    newest: Checkpoint | None = None
    age_ns: int | None = None
    counts: Mapping[State, int] = field(default_factory=dict)
    bytes: int = 0
    leftovers: int = 0
    leftover_bytes: int = 0
    trash: Trash = Trash()
    disk: Disk | None = None
    tier: str | None = None
    copied: Copied | None = None  # None where nothing is copied from here
    risk: AtRisk | None = None  # None where no purge is known
    level: Level | None = None
    problems: tuple[Problem, ...] = ()
    error: CkptctlError | None = None


def health_of(
    run: Run,
    *,
    now_ns: int,
    limits: Limits,
    size: int,
    trash: Trash,
    disk: Disk | None,
    error: CkptctlError | None = None,
) -> Health:
    """Return how well a run is saved; `size` are the bytes of its checkpoints together."""
    complete = [c for c in run.checkpoints if c.state is State.COMPLETE]
    latest = now_ns + _SKEW_NS
    ahead = [c for c in complete if _written(c) > latest]
    near = [c for c in complete if _written(c) <= latest]
    newest = max(near or ahead, key=_order, default=None)
    age = _away(now_ns - _written(newest)) if newest else None
    counts = Counter(c.state for c in run.checkpoints)
    return Health(
        name=run.name,
        location=run.location,
        newest=newest,
        age_ns=age,
        counts={state: counts[state] for state in State},
        bytes=size,
        leftovers=len(run.leftovers),
        leftover_bytes=sum(c.bytes for c in run.leftovers),
        trash=trash,
        disk=disk,
        level=Level.UNKNOWN if error and limits.any else limits.level(age),
        problems=(*run.problems, *map(_told, ahead)),
        error=error,
    )


def with_risk(health: Health, risk: AtRisk | None, limits: Limits) -> Health:
    """Return how well a run is saved where its site purges.

    What is at risk and has no copy elsewhere is a warning, and critical once a file may be gone;
    without a `risk` what the purge takes could not be known.
    """
    if not limits.any:
        return replace(health, risk=risk)
    if risk is None:
        level = Level.UNKNOWN
    else:
        level = (
            Level.CRITICAL if risk.uncopied_due else Level.WARNING if risk.uncopied else Level.OK
        )
    return replace(health, risk=risk, level=worst((health.level, level)))


def _order(c: Checkpoint) -> tuple[int, int, float, str]:
    """Return by what the newest is told; equal times, as in a bucket, go by the order."""
    return _written(c), c.step or 0, c.epoch or 0, c.member


def _written(c: Checkpoint) -> int:
    """Return when a checkpoint was saved; one from the future must not look young for years."""
    return min(c.saved_ns, c.changed_ns) if c.future else c.saved_ns


def _away(age_ns: int) -> int:
    """Return an age; a time so far ahead that no clock explains it is as far away as one behind."""
    return max(age_ns, 0) if age_ns >= -_SKEW_NS else -age_ns


def _told(c: Checkpoint) -> Problem:
    return Problem("future-time", f"{c.name}: its files are of a time that is ahead of the clock")


def worst(levels: Iterable[Level | None]) -> Level | None:
    """Return the worst of some levels: what is known to be critical is worse than the unknown."""
    return max((each for each in levels if each), key=_WORST_LAST.index, default=None)
