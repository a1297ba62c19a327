"""What became of each checkpoint that was to be copied: data for people and programs alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ckptctl.errors import CkptctlError
from ckptctl.model import Checkpoint, Problem


class Status(StrEnum):
    """How it ended; section 7 of the contract."""

    DONE = "done"
    EQUAL = "equal"
    PART = "part"
    FAILED = "failed"
    SKIPPED = "skipped"
    CONFLICT = "conflict"
    PLANNED = "planned"  # of a dry run


class Fault(StrEnum):
    """What was wrong with the source of a copy that was dropped."""

    DAMAGED = "damaged"  # its bytes are not those of its manifest
    CHANGED = "changed"  # it went, or was saved anew, while it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """One checkpoint or pointer, and what became of it."""

    run: str
    checkpoint: str
    path: str  # full, at the destination
    action: str  # copy, move or point
    status: Status
    bytes: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    error: str | None = None
    member: str = ""  # at the source; of a pointer ""
    fault: Fault | None = None


def copy_of(
    checkpoint: Checkpoint,
    root: str,
    status: Status,
    error: str | None,
    member: str | None = None,
    size: int | None = None,
) -> Shipped:
    """Return what is told of the copy of a checkpoint; `root` is the run's full path at the destination.

    `member` is its path there and `size` its bytes, where those are not its own.
    """
    return Shipped(
        run=checkpoint.run,
        checkpoint=checkpoint.name,
        path=f"{root.rstrip('/')}/{member or checkpoint.member}",
        action="copy",
        status=status,
        bytes=checkpoint.bytes if size is None else size,
        error=error,
        member=checkpoint.member,
    )


def is_unfinished(result: Shipped) -> bool:
    """Whether something is left to do or to look at: exit 5.

    A pointer that is left out, since what it names is not there or an older one than is named
    there, is none: it comes along with what it names.
    """
    if result.action == "point" and result.status is Status.SKIPPED:
        return False
    return result.status in {Status.FAILED, Status.SKIPPED, Status.CONFLICT}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedRun:
    """One run as a sync leaves it; with an `error` nothing more of it was copied."""

    name: str
    location: str  # of the source
    destination: str
    results: tuple[Shipped, ...] = ()
    problems: tuple[Problem, ...] = ()
    noted: bool = False  # something was recorded at the destination
    error: CkptctlError | None = None

    @property
    def did(self) -> bool:
        """Whether anything was changed."""
        return self.noted or any(r.bytes_sent or r.status is Status.DONE for r in self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The whole result of one sync."""

    runs: tuple[SyncedRun, ...] = ()
    problems: tuple[Problem, ...] = ()
    dry_run: bool = False

    @property
    def results(self) -> Iterator[Shipped]:
        """Yield what became of everything, over all runs."""
        for run in self.runs:
            yield from run.results
