"""The nouns: what a format claims, what is known of a checkpoint, what a run holds.

Everything here is frozen and does no I/O.  Times are integers of nanoseconds since the Unix epoch
(UTC), because file systems and object stores give no less; sizes are bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ckptctl.listing import Entry

NS = 1_000_000_000
"""Nanoseconds in a second."""


class Kind(StrEnum):
    """What a checkpoint is on the store; sidecars change nothing about it."""

    FILE = "file"
    DIRECTORY = "directory"
    GROUP = "group"


class State(StrEnum):
    """How far a checkpoint can be trusted; see section 3 of the contract."""

    COMPLETE = "complete"
    SAVING = "saving"
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"


class Unit(StrEnum):
    """What a number counts."""

    STEP = "step"
    EPOCH = "epoch"


class Problem(NamedTuple):
    """Something a person should know about a checkpoint or a run; a value, never an exception."""

    code: str  # kebab-case, stable: other programs match on it
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What one source says of a checkpoint; None and empty mean that it says nothing."""

    step: int | None = None
    epoch: float | None = None
    saved_ns: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    pinned: bool = False
    resumable: bool | None = None
    problems: tuple[Problem, ...] = ()
    unread: str | None = None  # why the source could not be understood: the guard `unread` keeps
    missing: str | None = None  # why the checkpoint is not whole, where only the content can tell
    points_to: str | None = None  # another checkpoint that it names (only the last part counts)


class Inferred(str):
    """Words for what is missing that only the other checkpoints of the family tell.

    A run that went on with more ranks explains it as well: nothing is deleted because of it.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a format recognises in one folder: one checkpoint, or what a save left of one.

    `members` are the names in the folder that are the checkpoint itself, without sidecars: one
    directory, one file, or the files of a group.  A directory may have several roots, as paths
    (`_actor/global_step5`, `_critic/global_step5`): the first names it, the others go with it, and
    what else lies beside them is no run.  `missing` says in words what is not there of
    the whole grid or its marker; None where nothing is missing *by names and sizes*.
    """

    format: str
    kind: Kind
    name: str
    members: tuple[str, ...]
    key_file: str  # relative to the folder; for a directory it begins with the directory's name
    family: str
    step: int | None = None
    epoch: float | None = None
    counts: Unit | None = None  # unit of the number in the name, for joining logs
    log_offset: int = 0  # a log's row for this checkpoint has number + log_offset
    log_epochs: bool = False  # the `step` of a row without an epoch is one (see `Log.at_epoch`)
    metrics: Mapping[str, float] = field(default_factory=dict)  # from the name
    zeros: frozenset[str] = frozenset()  # of those, 0 where its framework may have logged nothing
    saved_ns: int | None = None  # from the name, where it states a time
    named: bool = False  # a trainer's own copy under a fixed name
    temporary: bool = False  # what an unfinished save left; never counted as a checkpoint
    missing: str | None = None
    marker: str | None = None  # the commit marker that is there, relative to the folder
    expects_marker: bool = False  # the format commits by a marker
    committed: bool = False  # the name itself is the commit: it was renamed into place when whole
    uncovered: tuple[str, ...] = ()  # files, and directories ("a/"), that the marker does not cover
    resumable: bool | None = None
    claims_sidecars: tuple[str, ...] = ()  # metadata.json ... that are the framework's own
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A reader's request to leave a checkpoint alone until a time."""

    by: str
    host: str
    until_ns: int
    id: str = ""  # of the process that renews it; "" where a person set it by hand


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a checkpoint on another tier that was proven whole."""

    tier: str
    path: str
    proven_ns: int


class Lack(NamedTuple):
    """Why a checkpoint has no proven copy on another tier."""

    tier: str
    code: str  # absent, unproven, differs, expiring, unreachable
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One saved training state, with all that is known of it; section 3 of the contract."""

    run: str
    name: str
    path: str  # full: what a user can pass to another program
    member: str  # relative to the run: the directory, the file, or the key file of a group
    format: str
    kind: Kind
    family: str
    step: int | None
    epoch: float | None
    saved_ns: int
    changed_ns: int  # when a file of its own (sidecars aside) was last written
    stated: bool  # saved_ns comes from the framework or a sidecar, not from a file's time
    bytes: int
    files: Mapping[str, Entry]  # relative to the run, sidecars included
    folders: tuple[str, ...]  # directories of its own, relative to the run, deepest first
    key_file: str  # relative to the run
    sidecars: tuple[str, ...]  # relative to the run; those beside it, shared ones included
    state: State
    resumable: bool | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    zeros: frozenset[str] = frozenset()  # metrics that only a name gives, as a bare 0 (see `best`)
    tags: tuple[str, ...] = ()
    pinned: bool = False
    pointers: tuple[str, ...] = ()
    best: str | None = None  # the member that its own metadata names as the best so far
    aliases: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    copies: tuple[Copy, ...] = ()
    lacks: tuple[Lack, ...] = ()  # of other tiers that were looked at
    doomed_ns: int | None = None
    problems: tuple[Problem, ...] = ()
    named: bool = False
    temporary: bool = False
    unread: str | None = None
    inferred: bool = False  # only others of its family tell that it is not complete
    damage_level: str | None = None  # how deep the verification looked that found the damage
    proven: bool = False  # the state proves these very files whole at structure level
    marker: bool = False  # the commit marker that its format expects is there
    expects_marker: bool = False
    future: bool = False  # saved_ns is ahead of the clock
    also: tuple[str, ...] = ()  # further directories that are it too, relative to the run

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories of which it consists as wholes: all of a directory, some of a group."""
        return (self.member, *self.also) if self.kind is Kind.DIRECTORY else self.also

    def contains(self, path: str) -> bool:
        """Whether a path of the run lies in one of its directories."""
        return any(path.startswith(f"{root}/") for root in self.roots)

    def value(self, metric: str) -> float | None:
        """Return the metric if it is there and finite, else None."""
        value = self.metrics.get(metric)
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The checkpoints of one training directory: the unit that a policy is applied to.

    `unread` are I/O errors within the run: a command that deletes refuses such a run.
    """

    name: str
    location: str  # full path or URL of the directory
    path: str  # relative to the location that was listed
    checkpoints: tuple[Checkpoint, ...] = ()
    leftovers: tuple[Checkpoint, ...] = ()  # temporary: what unfinished saves left
    problems: tuple[Problem, ...] = ()
    unread: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()  # files that name a checkpoint, whether it is there or not
    forbids_state: str | None = None  # a format found here that a state directory would break


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A layout of the user's own, from `formats:`; `match` has named groups step, epoch, metrics."""

    name: str
    match: str
    directory: bool = False
