"""What it is to delete checkpoints, whatever the store: by renames on a disk, by key in a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ckptctl.deletion.trash import TrashEntry
from ckptctl.lock import Clock
from ckptctl.model import Checkpoint
from ckptctl.stores._base import Removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What applying needs of the world: clocks, patience, and whether to stop."""

    clock: Clock
    seconds: Callable[[], float]  # monotonic
    sleep: Callable[[float], None]
    lock_wait_ns: int = 0
    needs_lock: bool = True  # also on a store that cannot hold one
    stopped: Callable[[], bool]  # a signal arrived: settle names, leave bytes
    late: Callable[[], bool]  # --timeout has passed: begin nothing new


@dataclass(frozen=True, slots=True)
class Grace:
    """For how long a checkpoint can be brought back, and by which prune it was taken."""

    batch: str
    now_ns: int
    until_ns: int
    run_ns: int = 0  # the time of the run's directory before it; 0 where there is no such time


class Done(NamedTuple):
    """What became of one checkpoint that was to go."""

    checkpoint: Checkpoint
    removed: Removed = Removed()
    failed: str | None = None  # why it is untouched
    kept: str | None = None  # what keeps it since a moment ago: it is untouched


class Finished(NamedTuple):
    """What an interrupted prune had begun, or what is past its grace, and what became of it."""

    name: str
    member: str
    removed: Removed


class Aftermath(NamedTuple):
    """What a store keeps of what was deleted in it."""

    hidden: int = 0  # bytes that are not gone: a version that is no longer current still has them
    words: tuple[str, ...] = ()  # for a person


class Deleter(Protocol):
    """Deletes checkpoints of one run; whoever calls it holds the run's lock."""

    @property
    def at_once(self) -> int:
        """How many may be deleted by one call."""

    @property
    def postpones(self) -> str:
        """What `postpone` is called in results: "trash" or "schedule"."""

    def delete(self, doomed: Sequence[Checkpoint], shared: frozenset[str]) -> Iterator[Done]:
        """Delete checkpoints, but for sidecars that others need; yield what became of each."""

    def postpone(
        self, doomed: Sequence[Checkpoint], shared: frozenset[str], grace: Grace
    ) -> Iterator[Done]:
        """Take checkpoints so that they can be brought back; nothing is freed yet."""

    def recover(self) -> Iterator[Finished]:
        """Finish what an interrupted prune began.  Raises OSError."""

    def expired(self, now_ns: int) -> Iterator[tuple[TrashEntry, Removed]]:
        """Free what is in the trash past its grace.  Raises OSError."""

    def tidy(self) -> Aftermath:
        """Forget what is settled; return what is kept of what was deleted.  Raises OSError."""

    def pending(self, now_ns: int) -> bool:
        """Whether there is anything to recover, or past its grace; reads only.  Raises OSError."""
