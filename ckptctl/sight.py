"""When a run must be looked at again before a deletion: a disk tells of changes, a bucket does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ckptctl.listing import Entry
from ckptctl.model import Checkpoint
from ckptctl.plan import Plan
from ckptctl.reading import TRACKER_LIMIT, VanishedError
from ckptctl.stores._base import Store
from ckptctl.stores._removal import mount_points
from ckptctl.stores.local import LocalStore

_CHEAP_SECONDS = 0.02
"""A view of the run that takes less than this to make is made anew before each deletion."""

_PATIENCE = 5
"""Any other is used for this many times as long as it took to make, if nothing seems to change."""


class Sight(Protocol):
    """How one run is seen while its checkpoints are deleted."""

    @property
    def store(self) -> Store:
        """The run's own directory."""

    def begin(self) -> None:
        """Note that deletions are about to be asked for, which will then be done together."""

    def stale(self, pointers: Collection[str]) -> bool:
        """Whether the last look is too old; `pointers` are the files that name a checkpoint."""

    def look_begins(self, pointers: Collection[str]) -> None:
        """Note that the run is being looked at from now on."""

    def look_ends(self) -> None:
        """Note that the look is over."""

    def taking(self) -> None:
        """Note that our own change comes next; called just before it."""

    def done(self) -> None:
        """Note that the last change was our own; called as soon as it is made."""

    def mounted_in(self, checkpoint: Checkpoint) -> str | None:
        """Return a mount point within a checkpoint, if there is one."""

    def same(self, planned: Checkpoint, known: Checkpoint) -> bool:
        """Whether its files are at this moment those that were decided on; `known` was just seen."""

    def gone(self, known: Checkpoint) -> bool:
        """Whether the key file of a checkpoint that was just seen has gone since."""


class DiskSight:
    """A run on a disk: times of directories and records tell whether anything changed."""

    def __init__(
        self,
        plan: Plan,
        store: LocalStore,
        state_dirs: Sequence[str],
        seconds: Callable[[], float],
    ) -> None:
        self.store = store
        self._folder = store
        planned = (*plan.run.checkpoints, *plan.run.leftovers)
        self._parents = sorted({r.rpartition("/")[0] for c in planned for r in c.roots if "/" in r})
        self._state_dirs = state_dirs
        self._seconds = seconds
        self._signature: tuple[object, ...] | None = None
        self._began = self._until = 0.0
        self._mounts: list[str] = []
        self._ours = False

    def begin(self) -> None:
        """Do nothing: each deletion is asked for by itself."""

    def stale(self, pointers: Collection[str]) -> bool:
        """Whether the look took long ago, or anything changed since."""
        return (
            self._signature is None
            or self._seconds() >= self._until
            or self._sign(pointers) != self._signature
        )

    def look_begins(self, pointers: Collection[str]) -> None:
        """Note what everything is like before the look."""
        self._began = self._seconds()
        self._signature = self._sign(pointers)
        self._mounts = mount_points()

    def look_ends(self) -> None:
        """Note for how long the look may be used."""
        taken = self._seconds() - self._began
        self._until = self._seconds() + (_PATIENCE * taken if taken > _CHEAP_SECONDS else 0)

    def taking(self) -> None:
        """See whether nothing else has changed by now: else our own change would hide that."""
        self._ours = self._signature is not None and self._own_time() == self._signature[0]

    def done(self) -> None:
        """Take the directory's times for seen, if nothing but our own change is in them.

        A record or a tracker that was written meanwhile is not our own.
        """
        if self._ours and self._signature is not None:
            self._signature = (self._own_time(), *self._signature[1:])
        self._ours = False

    def mounted_in(self, checkpoint: Checkpoint) -> str | None:
        """Return a mount point within a checkpoint, if there is one."""
        run = os.path.realpath(self.store.root).rstrip("/")
        tops = [f"{run}/{root}" for root in checkpoint.roots]
        return next(
            (m for m in self._mounts if any(f"{m}/".startswith(f"{top}/") for top in tops)), None
        )

    def same(self, planned: Checkpoint, known: Checkpoint) -> bool:
        """Look at each of its files once more: the look may be some seconds old."""
        if planned.files.keys() != known.files.keys():
            return False
        now: dict[str, Entry | None] = {}
        for root in planned.roots:
            try:
                inside = self.store.listing(root)
            except (VanishedError, FileNotFoundError):
                return False
            if any(True for _ in inside.errors()):
                return False
            now.update((f"{root}/{path}", entry) for path, entry in inside.walk())
        for path in planned.files:
            if path not in now and not planned.contains(path):
                now[path] = self.store.stat(path)
        return now.keys() == planned.files.keys() and all(
            entry is not None and entry.version == planned.files[path].version
            for path, entry in now.items()
        )

    def gone(self, known: Checkpoint) -> bool:
        """Whether the name is there no more."""
        return self.store.identity(known.key_file) is None

    def _own_time(self) -> tuple[int | None, ...]:
        """Return the times of the run's directory, and of those in it that hold checkpoints."""
        times: list[int | None] = [os.fstat(self._folder.fd).st_mtime_ns]
        for parent in self._parents:
            try:
                times.append(self.store.listing(parent, deep=False).mtime_ns)
            except OSError:
                times.append(None)
        return tuple(times)

    def _sign(self, pointers: Collection[str]) -> tuple[object, ...]:
        """Return what changes when a name comes or goes, a record is written or a tracker rewritten."""
        signs: list[object] = [self._own_time()]
        for place in self._state_dirs:
            try:
                signs.append(os.stat(os.path.join(place, "records")).st_mtime_ns)
            except OSError:
                signs.append(None)
        signs += [self._mark(path) for path in pointers]
        return tuple(signs)

    def _mark(self, path: str) -> object:
        """Return what tells a tracker's content: two rewrites within one tick have the same times."""
        try:
            return self.store.read(path, TRACKER_LIMIT)
        except OSError:  # a link, or too large to be read each time
            return self.store.stat(path)


class BucketSight:
    """A run in a bucket: nothing there tells of changes, so that each group is looked at anew."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._stale = True

    def begin(self) -> None:
        """Ask for a new look."""
        self._stale = True

    def stale(self, pointers: Collection[str]) -> bool:
        """Whether another group has begun since."""
        return self._stale

    def look_begins(self, pointers: Collection[str]) -> None:
        """Do nothing: what changes during the look is seen by the next group."""

    def look_ends(self) -> None:
        """Take what was seen for the whole group."""
        self._stale = False

    def taking(self) -> None:
        """Do nothing."""

    def done(self) -> None:
        """Do nothing."""

    def mounted_in(self, checkpoint: Checkpoint) -> str | None:
        """Return nothing."""
        return None

    def same(self, planned: Checkpoint, known: Checkpoint) -> bool:
        """Compare with what was just listed."""
        return planned.files.keys() == known.files.keys() and all(
            entry.version == planned.files[path].version for path, entry in known.files.items()
        )

    def gone(self, known: Checkpoint) -> bool:
        """Whether it was not listed with the rest."""
        return known.key_file not in known.files


def sight_of(
    plan: Plan, store: Store, state_dirs: Sequence[str], seconds: Callable[[], float]
) -> Sight:
    """Return how a run is seen on the store that it lies on."""
    if isinstance(store, LocalStore):
        return DiskSight(plan, store, state_dirs, seconds)
    return BucketSight(store)
