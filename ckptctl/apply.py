"""Do what a plan says: the only thing that changes anything.

Takes the lock, finishes what an interrupted prune left, then asks again before each deletion and
yields what really happened.  A plan can be used once.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Self

from ckptctl.asking import Asking
from ckptctl.deletion import Deleter, Grace
from ckptctl.errors import CkptctlError, LockedError, RefusedError
from ckptctl.lock import Clock, Lock, lock_folder
from ckptctl.model import NS
from ckptctl.plan import Action, Plan
from ckptctl.report import Outcome
from ckptctl.statedir import StateDirs, open_state
from ckptctl.stores._base import FULL
from ckptctl.stores.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What applying needs of the world: clocks, patience, and whether to stop."""

    clock: Clock
    seconds: Callable[[], float]  # monotonic
    sleep: Callable[[float], None]
    lock_wait_ns: int = 0
    stopped: Callable[[], bool]  # a signal arrived: settle names, leave bytes
    late: Callable[[], bool]  # --timeout has passed: begin nothing new


class Applier:
    """Applies the plan of one run, once."""

    def __init__(self, run: LocalStore, dirs: StateDirs, world: Surroundings) -> None:
        self._run = run
        self._dirs = dirs
        self._world = world
        self._state: LocalStore | None = None
        self._lock: Lock | None = None
        self._count = itertools.count()
        self._used = False
        self._denied: str | None = None  # another process turned out to have the lock file
        self.waited = False  # for another process: what was decided before may be out of date

    def __enter__(self) -> Self:
        """Take the lock, waiting as long as allowed.  LockedError where another process has it."""
        until = self._world.seconds() + self._world.lock_wait_ns / NS
        while True:
            try:
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
        assert isinstance(state, LocalStore)  # noqa: S101 - a prune is only given local runs
        self._state = state
        lock = Lock(self._state, self._world.clock)
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

    def _deleter(self, settled: Callable[[], None] = lambda: None) -> Deleter:
        return Deleter(self._run, self._state, self._world.stopped, self._number, settled)

    def _number(self) -> str:
        return f"{self._world.clock():x}-{os.getpid()}-{next(self._count)}"

    def state(self) -> LocalStore:
        """Return the open state directory.  RefusedError where none can be written."""
        if self._state is None:
            raise RefusedError(
                f"{self._run.root}: no space for ckptctl's records; nothing was changed"
            )
        return self._state

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

    def check(self) -> None:
        """Prove that the lock is still ours.  Raises LockedError."""
        if self._lock is not None:
            self._lock.check()

    def stopped(self) -> bool:
        """Whether a signal asks to leave the rest for later."""
        return self._world.stopped()

    def recover(self) -> Iterator[Outcome]:
        """Finish what an interrupted prune left; its names are gone already."""
        for intent, removed in self._deleter().recover():
            status = "failed" if removed.left else "done"
            error = removed.left[0] if removed.left else None
            path = os.path.join(self._run.root, intent.member)
            yield Outcome(intent.name, path, "clean", status, removed.freed, error)
        for entry, removed in self._deleter().expired(self._world.clock()):
            status = "failed" if removed.left else "done"
            error = removed.left[0] if removed.left else None
            path = os.path.join(self._run.root, entry.paths[0])
            yield Outcome(entry.name, path, "purge", status, removed.freed, error)

    def apply(self, plan: Plan, asking: Asking, grace_ns: int = 0) -> Iterator[Outcome]:
        """Do the plan's actions, each only if it is still right; yield what happened to each.

        With a grace nothing is freed yet.  RefusedError where nothing can be kept for one.
        """
        grace = self._grace(grace_ns) if grace_ns and plan.actions else None
        if self._used:
            raise ValueError("a plan can be used once")
        self._used = True
        users = Counter(path for c in plan.run.checkpoints for path in c.sidecars)
        ended: str | None = None
        for action in plan.actions:
            if ended is None and self._world.stopped():
                ended = "interrupted by a signal"
            ended = ended or self._denied
            if ended is None and self._world.late():
                ended = "not begun within --timeout"
            if ended is None:
                answer = self._ask(action, asking)
                if answer is None:
                    yield self._delete(action, users, asking, grace)
                    continue
                if answer[1]:
                    ended = answer[0]
                yield _skipped(action, answer[0])
                continue
            yield _skipped(action, ended)
        self._deleter().tidy()

    def _ask(self, action: Action, asking: Asking) -> tuple[str, bool] | None:
        try:
            self.check()
            answer = asking.about(action)
        except LockedError as error:
            return error.message, True
        except OSError as error:
            return f"the run cannot be read any more: {error.strerror or error}", True
        return None if answer is None else (answer.text, answer.all)

    def _grace(self, grace_ns: int) -> Grace:
        """Return until when things are kept.  RefusedError where the state cannot be written."""
        if self._state is None:
            raise RefusedError(
                f"{self._run.root}: no space for ckptctl's records, so nothing could be brought back; nothing was changed",
                "without --grace it works on a full disk",
            )
        now = self._world.clock()
        before = os.fstat(self._run.fd).st_mtime_ns
        return Grace(self._number(), now, now + grace_ns, before)

    def _delete(
        self, action: Action, users: Counter[str], asking: Asking, grace: Grace | None
    ) -> Outcome:
        checkpoint = action.checkpoint
        doing = str(action.doing) if grace is None else "trash"
        shared = frozenset(path for path in checkpoint.sidecars if users[path] > 1)
        deleter = self._deleter(asking.done)
        try:
            if grace is None:
                removed = deleter.delete(checkpoint, shared)
            else:
                removed = deleter.trash(checkpoint, shared, grace)
        except OSError as error:
            return _failed(
                action,
                f"{error.filename or checkpoint.member}: {error.strerror or error}; it is untouched",
            )
        users.subtract(checkpoint.sidecars)
        self._try_state_again()
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


def pending(run: LocalStore, dirs: StateDirs, now_ns: int) -> bool:
    """Whether an interrupted prune left something to finish, or a grace is over; reads only.

    Raises OSError.
    """
    for place in dirs.existing[:1]:
        with closing(LocalStore(place)) as state:
            return Deleter(run, state, lambda: False, str).pending(now_ns)
    return False


def _skipped(action: Action, why: str) -> Outcome:
    return Outcome(action.checkpoint.name, action.checkpoint.path, action.doing, "skipped", 0, why)


def _failed(action: Action, why: str) -> Outcome:
    return Outcome(action.checkpoint.name, action.checkpoint.path, action.doing, "failed", 0, why)
