"""Before each deletion it is asked again: is it still what was decided on, does nothing keep it now."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptctl.decide import guarded
from ckptctl.decision import Context, Reason
from ckptctl.model import Checkpoint, Entry, Run, State
from ckptctl.plan import Action, Doing, Plan
from ckptctl.pointing import naming_their_best
from ckptctl.reading import TRACKER_LIMIT, VanishedError
from ckptctl.rules._base import Metric
from ckptctl.rules.guards import alone
from ckptctl.stores._removal import mount_points
from ckptctl.stores.local import LocalStore

_CHEAP_SECONDS = 0.02
"""A view of the run that takes less than this to make is made anew before each deletion."""

_PATIENCE = 5
"""Any other is used for this many times as long as it took to make, if nothing seems to change."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Why an action may not be done now; `all` where nothing of the run may be deleted any more."""

    text: str
    all: bool = False


class Asking:
    """A fresh view of one run, made anew when anything there has changed or some time has passed."""

    def __init__(
        self,
        plan: Plan,
        store: LocalStore,
        *,
        look: Callable[[], Run],
        state_dirs: Sequence[str],
        metrics: Sequence[Metric],
        context: Callable[[], Context],
        seconds: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._planned = {c.member: c for c in (*plan.run.checkpoints, *plan.run.leftovers)}
        self._parents = sorted(
            {r.rpartition("/")[0] for c in self._planned.values() for r in c.roots if "/" in r}
        )
        self._store = store
        self._look = look
        self._state_dirs = state_dirs
        self._metrics = metrics
        self._context = context
        self._seconds = seconds
        self._signature: tuple[object, ...] | None = None
        self._until = 0.0
        self._mounts: list[str] = []
        self._run: Run | None = None
        self._known: dict[str, Checkpoint] = {}
        self._pointers: list[str] = []
        self._guards: Mapping[str, tuple[Reason, ...]] = {}

    def about(self, action: Action) -> Answer | None:
        """Return why an action may not be done, None where it may.  Raises OSError."""
        self._refresh()
        assert self._run is not None  # noqa: S101 - the line above makes it
        if self._run.unread:
            return Answer(
                f"something of the run cannot be read any more: {self._run.unread[0]}", all=True
            )
        for member in self._plan.keepers:
            if member not in self._known or self._known[member].state is not State.COMPLETE:
                return Answer(
                    f"{member}, which the plan keeps as the newest, is gone or not whole any more",
                    all=True,
                )
        if tracker := self._tracker_in_hand():
            return Answer(f"{tracker} names nothing at this moment: it is being rewritten")
        return self._about_itself(action) or self._about_family(action.checkpoint)

    def _about_itself(self, action: Action) -> Answer | None:
        """Return what of the checkpoint itself forbids it: changed, mounted over, or kept now."""
        planned = action.checkpoint
        now = self._known.get(planned.member)
        if now is None:
            return Answer("it is gone already")
        if not self._same(planned, now):
            return Answer("it changed since it was decided on")
        if mount := self._mounted_in(planned):
            return Answer(
                f"{mount} is mounted in it: nothing there may go with it, so unmount it first"
            )
        if action.doing is Doing.CLEAN and now.state is not State.INCOMPLETE:
            return Answer(f"it is {now.state} now")
        allowed = {"incomplete"} if action.doing is Doing.CLEAN else set()
        # What an unfinished save left is no member of the run: only what keeps it by itself is asked.
        reasons = (
            alone(now, self._context()) if now.temporary else self._guards.get(planned.member, ())
        )
        for reason in reasons:
            if reason.rule not in allowed:
                return Answer(f"kept by {reason.rule} now: {reason.text}")
        return None

    def _about_family(self, planned: Checkpoint) -> Answer | None:
        """Return whether what the plan keeps as the newest of the family is not there any more."""
        for member in self._plan.keepers:
            kept = self._known[member]
            if kept.family == planned.family and self._store.identity(kept.key_file) is None:
                return Answer(f"{member}, which the plan keeps as the newest, is gone", all=True)
        return None

    def _mounted_in(self, checkpoint: Checkpoint) -> str | None:
        """Return a mount point within a checkpoint, if there is one."""
        run = os.path.realpath(self._store.root).rstrip("/")
        tops = [f"{run}/{root}" for root in checkpoint.roots]
        return next(
            (m for m in self._mounts if any(f"{m}/".startswith(f"{top}/") for top in tops)), None
        )

    def done(self) -> None:
        """Note that the last change of the directory was our own; called as soon as it is made.

        A record or a tracker that was written meanwhile is not our own.
        """
        if self._signature is not None:
            self._signature = (self._own_time(), *self._signature[1:])

    def _refresh(self) -> None:
        if (
            self._run is not None
            and self._seconds() < self._until
            and self._sign() == self._signature
        ):
            return
        began = self._seconds()
        self._signature = self._sign()
        self._mounts = mount_points()
        run = self._look()
        proven = (self._as_proven(c) for c in run.checkpoints)
        self._run = replace(run, checkpoints=naming_their_best(proven))
        self._known = {c.member: c for c in (*self._run.checkpoints, *self._run.leftovers)}
        pointers = {p for c in self._known.values() for p in c.pointers}
        self._pointers = sorted(pointers.union(self._run.trackers, self._plan.run.trackers))
        self._guards = guarded(self._run, self._metrics, self._context())
        taken = self._seconds() - began
        self._until = self._seconds() + (_PATIENCE * taken if taken > _CHEAP_SECONDS else 0)

    def _as_proven(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep what the proof of the plan found, while the files are those it was found for."""
        planned = self._planned.get(checkpoint.member)
        if (
            planned is None
            or planned.state is checkpoint.state
            or planned.files != checkpoint.files
        ):
            return checkpoint
        return (
            replace(checkpoint, state=planned.state)
            if checkpoint.state is State.COMPLETE
            else checkpoint
        )

    def _own_time(self) -> tuple[int | None, ...]:
        """Return the times of the run's directory, and of those in it that hold checkpoints."""
        times: list[int | None] = [os.fstat(self._store.fd).st_mtime_ns]
        for parent in self._parents:
            try:
                times.append(self._store.listing(parent, deep=False).mtime_ns)
            except OSError:
                times.append(None)
        return tuple(times)

    def _sign(self) -> tuple[object, ...]:
        """Return what changes when a name comes or goes, a record is written or a tracker rewritten."""
        signs: list[object] = [self._own_time()]
        for place in self._state_dirs:
            try:
                signs.append(os.stat(os.path.join(place, "records")).st_mtime_ns)
            except OSError:
                signs.append(None)
        signs += [self._mark(path) for path in self._pointers]
        return tuple(signs)

    def _mark(self, path: str) -> object:
        """Return what tells a tracker's content: two rewrites within one tick have the same times."""
        try:
            return self._store.read(path, TRACKER_LIMIT)
        except OSError:  # a link, or too large to be read each time
            return self._store.stat(path)

    def _tracker_in_hand(self) -> str | None:
        """Return a tracker that named something when it was planned and names nothing now.

        Whoever rewrites it in place has emptied it this moment.
        """
        assert self._run is not None  # noqa: S101 - the caller has looked
        lost = set(self._plan.run.trackers) - set(self._run.trackers)
        return next((path for path in sorted(lost) if self._store.stat(path) is not None), None)

    def _same(self, planned: Checkpoint, known: Checkpoint) -> bool:
        """Whether the checkpoint's files on disk at this moment are those that were decided on."""
        if planned.files.keys() != known.files.keys():
            return False
        now: dict[str, Entry | None] = {}
        for root in planned.roots:
            try:
                inside = self._store.listing(root)
            except (VanishedError, FileNotFoundError):
                return False
            if any(True for _ in inside.errors()):
                return False
            now.update((f"{root}/{path}", entry) for path, entry in inside.walk())
        for path in planned.files:
            if path not in now and not planned.contains(path):
                now[path] = self._store.stat(path)
        return now.keys() == planned.files.keys() and all(
            entry is not None and _content(entry) == _content(planned.files[path])
            for path, entry in now.items()
        )


def _content(entry: Entry) -> tuple[int, int, int]:
    """Return what tells a file from another; a new hard link to it changes nothing."""
    return entry.size, entry.mtime_ns, entry.inode
