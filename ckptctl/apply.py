"""Do what a plan says: the only thing that changes anything.

Takes the lock, finishes what an interrupted prune left, then asks again before each deletion and
yields what really happened.  A plan can be used once.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

from ckptctl.asking import Answer, Asking
from ckptctl.deletion._base import Aftermath, Deleter, Done, Grace, Surroundings
from ckptctl.deletion.aside import set_aside
from ckptctl.deletion.deleters import deleter_of, recorder_of
from ckptctl.errors import CkptctlError, LockedError, RefusedError
from ckptctl.lock import Lock, lock_folder
from ckptctl.model import NS, Checkpoint
from ckptctl.plan import Action, Doing, Plan
from ckptctl.recording import Recorder
from ckptctl.report import Outcome
from ckptctl.statedir import StateDirs, open_state
from ckptctl.stores._base import FULL, Removed, Store
from ckptctl.stores.local import LocalStore

_FILES = 20_000
"""Of a group: what is asked about together is deleted within seconds, so that the answers hold."""


class Applier:
    """Applies the plan of one run, once."""

    def __init__(self, run: Store, dirs: StateDirs, world: Surroundings) -> None:
        self._run = run
        self._dirs = dirs
        self._world = world
        self._state: Store | None = None
        self._lock: Lock | None = None
        self._count = itertools.count()
        self._used = False
        self._denied: str | None = None  # another process turned out to have the lock file
        self.aftermath = Aftermath()
        self.waited = False  # for another process: what was decided before may be out of date

    def __enter__(self) -> Self:
        """Take the lock, waiting as long as allowed.  LockedError where another process has it."""
        until = self._world.seconds() + self._world.lock_wait_ns / NS
        while True:
            try:
                if isinstance(self._run, LocalStore):
                    lock_folder(self._run.fd, self._run.root)
                self._open()
            except LockedError:
                self._close()
                self.waited = True
                if self._world.seconds() >= until or self._world.stopped():
                    raise
                self._world.sleep(0.2)
            except BaseException:
                self._close()
                raise
            else:
                return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        self._close()

    def _open(self) -> None:
        """Open the state and take its lock; on a full disk there is only the directory's lock."""
        state = open_state(self._run.root, self._dirs)
        if state is None:
            return
        self._state = state
        lock = Lock(self._state, self._world.clock, needed=self._world.needs_lock)
        try:
            lock.acquire()
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._close_state()
            return
        self._lock = lock

    def _close(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._close_state()

    def _close_state(self) -> None:
        if self._state is not None:
            self._state.close()
            self._state = None

    def _deleter(self, asking: Asking | None = None) -> Deleter:
        made = (self._run, self._state, self._world, self._number)
        return (
            deleter_of(*made) if asking is None else deleter_of(*made, asking.taking, asking.done)
        )

    def _number(self) -> str:
        return f"{self._world.clock():x}-{os.getpid()}-{next(self._count)}"

    def state(self) -> Store:
        """Return the open state directory.  RefusedError where none can be written."""
        if self._state is None:
            raise RefusedError(
                f"{self._run.root}: no space for ckptctl's records; nothing was changed"
            )
        return self._state

    def recorder(self) -> Recorder:
        """Return what changes records in the open state directory."""
        return recorder_of(self.state(), self._world)

    def use(self, plan_id: str) -> None:
        """Note that a plan from a file is carried out now.  RefusedError where it was already."""
        state = self.state()
        state.make_folder("plans")
        try:
            state.create(f"plans/{hashlib.sha256(plan_id.encode()).hexdigest()[:32]}", b"")
        except FileExistsError:
            raise RefusedError(
                f"{self._run.root}: this plan was carried out already, and can be used once; nothing was changed",
                "make a new one with --plan-out",
            ) from None

    def set_aside(self, checkpoint: Checkpoint, grace_ns: int | None) -> str | None:
        """Take a checkpoint away whose name a copy is to have; return why it cannot be, if so."""
        now_ns = self._world.clock()
        return set_aside(self._deleter(), checkpoint, now_ns, self._number(), grace_ns)

    def check(self) -> None:
        """Prove that the lock is still ours.  Raises LockedError."""
        if self._lock is not None:
            self._lock.check()

    def stopped(self) -> bool:
        """Whether a signal asks to leave the rest for later."""
        return self._world.stopped()

    def recover(self) -> Iterator[Outcome]:
        """Finish what an interrupted prune left; its names are gone already."""
        deleter = self._deleter()
        for name, member, removed in deleter.recover():
            yield self._finished("clean", name, member, removed)
        for entry, removed in deleter.expired(self._world.clock()):
            yield self._finished("purge", entry.name, entry.paths[0], removed)

    def _finished(self, action: str, name: str, member: str, removed: Removed) -> Outcome:
        status = "failed" if removed.left else "done"
        error = removed.left[0] if removed.left else None
        return Outcome(
            name, os.path.join(self._run.root, member), action, status, removed.freed, error
        )

    def apply(self, plan: Plan, asking: Asking, grace_ns: int = 0) -> Iterator[Outcome]:
        """Do the plan's actions, each only if it is still right; yield what happened to each.

        With a grace nothing is freed yet.  RefusedError where nothing can be kept for one.
        """
        grace = self._grace(grace_ns) if grace_ns and plan.actions else None
        if self._used:
            raise ValueError("a plan can be used once")
        self._used = True
        users = Counter(path for c in plan.run.checkpoints for path in c.sidecars)
        deleter = self._deleter(asking)
        ended: str | None = None
        for group in _groups(plan.actions, deleter.at_once):
            allowed: list[Action] = []
            ended = ended or self._ends() or self._lost()
            asking.begin()
            for action in group:
                ended = ended or self._ends()
                answer = None if ended else self._ask(action, asking)
                if answer is not None and answer.all:
                    ended = answer.text
                if ended or answer is not None:
                    yield _skipped(action, answer.text if answer is not None else ended or "")
                else:
                    allowed.append(action)
            if ended and deleter.at_once > 1:
                yield from (_skipped(action, ended) for action in allowed)
            else:
                yield from self._delete(allowed, users, deleter, grace)
            if grace is None and self._state is None:
                self._try_state_again()
                deleter = self._deleter(asking)
        self.aftermath = deleter.tidy()

    def _ends(self) -> str | None:
        """Return why nothing more may be begun, if so."""
        if self._world.stopped():
            return "interrupted by a signal"
        return self._denied or ("not begun within --timeout" if self._world.late() else None)

    def _lost(self) -> str | None:
        """Return how the lock was lost, if it was."""
        try:
            self.check()
        except LockedError as error:
            return error.message
        except OSError as error:
            return f"the lock cannot be read any more: {error.strerror or error}"
        return None

    def _ask(self, action: Action, asking: Asking) -> Answer | None:
        try:
            return asking.about(action)
        except OSError as error:
            text = f"the run cannot be read any more: {error.strerror or error}"
            return Answer(text, all=True)

    def _grace(self, grace_ns: int) -> Grace:
        """Return until when things are kept.  RefusedError where the state cannot be written."""
        if self._state is None:
            raise RefusedError(
                f"{self._run.root}: no space for ckptctl's records, so nothing could be brought back; nothing was changed",
                "without --grace it works on a full disk",
            )
        now = self._world.clock()
        before_ns = os.fstat(self._run.fd).st_mtime_ns if isinstance(self._run, LocalStore) else 0
        return Grace(self._number(), now, now + grace_ns, before_ns)

    def _delete(
        self,
        actions: Sequence[Action],
        users: Counter[str],
        deleter: Deleter,
        grace: Grace | None,
    ) -> Iterator[Outcome]:
        """Delete or postpone what may go; what was scheduled before is not postponed again."""
        doing = {action.checkpoint.member: action.doing for action in actions}
        shared = frozenset(
            path for a in actions for path in a.checkpoint.sidecars if users[path] > 1
        )
        later = [a.checkpoint for a in actions if grace and a.doing is not Doing.PURGE]
        now = [a.checkpoint for a in actions if not (grace and a.doing is not Doing.PURGE)]
        if later and grace is not None:
            for done in deleter.postpone(later, shared, grace):
                yield self._outcome(done, deleter.postpones, users)
        if now:
            for done in deleter.delete(now, shared):
                yield self._outcome(done, doing[done.checkpoint.member], users)

    def _outcome(self, done: Done, doing: str, users: Counter[str]) -> Outcome:
        checkpoint, removed, failed, kept = done
        if kept is not None:
            return Outcome(checkpoint.name, checkpoint.path, doing, "skipped", 0, kept)
        if failed is not None:
            return Outcome(checkpoint.name, checkpoint.path, doing, "failed", 0, failed)
        users.subtract(checkpoint.sidecars)
        if removed.left and not self._world.stopped():
            later = (
                "the next prune tries again"
                if self._state
                else "--delete-incomplete takes them later"
            )
            left = f"its name is gone, but {len(removed.left)} files are left ({removed.left[0]}); {later}"
            return Outcome(checkpoint.name, checkpoint.path, doing, "failed", removed.freed, left)
        return Outcome(checkpoint.name, checkpoint.path, doing, "done", removed.freed)

    def _try_state_again(self) -> None:
        """After a deletion made room on a full disk, go on with journal and lock file."""
        if self._state is None:
            try:
                self._open()
            except LockedError as error:
                self._close_state()
                self._denied = error.message
            except (CkptctlError, OSError):
                self._close_state()  # the kernel's lock on the directory still stands


def _groups(actions: Sequence[Action], most: int) -> Iterator[list[Action]]:
    """Yield actions in groups that are done together; no two of one share a sidecar."""
    group: list[Action] = []
    sidecars: set[str] = set()
    files = 0
    for action in actions:
        mine = set(action.checkpoint.sidecars)
        files += len(action.checkpoint.files)
        if group and (len(group) >= most or files > _FILES or not sidecars.isdisjoint(mine)):
            yield group
            group, sidecars, files = [], set(), len(action.checkpoint.files)
        group.append(action)
        sidecars |= mine
    if group:
        yield group


def _skipped(action: Action, why: str) -> Outcome:
    return Outcome(action.checkpoint.name, action.checkpoint.path, action.doing, "skipped", 0, why)
