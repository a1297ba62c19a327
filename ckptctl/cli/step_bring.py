"""Bring a checkpoint from a bucket to a shared file system once: the tasks of a step divide its files.

Each share is a part that one task at a time may hand in, its own first, then those of tasks that are
not at it: so what is read of the bucket is read once, and a task that dies holds nobody up for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum

from ckptctl.cli.fetching import all_of_step, held_at
from ckptctl.cli.resolving import Resolved
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.sync_parts import PartRun
from ckptctl.errors import LockedError, PartialError
from ckptctl.flags import PolicyFlags
from ckptctl.group import Found
from ckptctl.lock import LIFE_NS
from ckptctl.model import NS, Checkpoint
from ckptctl.parts.meeting import Meeting
from ckptctl.parts.part import Caller
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.throttle import Throttle
from ckptctl.ui.progress import Progress

_MOST = 32
"""Shares into which a checkpoint is divided: more readers find no faster bucket."""

_NAP_SECONDS = 0.3

_PATIENCE_SECONDS = LIFE_NS / NS
"""How long whoever holds the lock of the run there is waited for, a sync to it, say."""

_WHOLE = frozenset({Status.DONE, Status.EQUAL})


class _Came(Enum):
    """What became of a share."""

    WHOLE = "whole"  # all is there
    PART = "part"  # it is there, others are not
    BUSY = "busy"  # somebody else is at it


class _BrokenError(Exception):
    """It cannot be brought there; the text says why."""


@dataclass(frozen=True, slots=True)
class Bringing:
    """Brings what was resolved to `to`, the run's own path on a tier that all tasks see."""

    session: Session
    to: str
    meeting: Meeting  # there
    caller: Caller
    progress: Progress

    def brought(self, resolved: Resolved) -> str | None:
        """Bring it there with the rest of its step, or wait until others have; why not, where it fails.

        Raises Interrupted, PartialError where --timeout passes, LostError.
        """
        step, _ = all_of_step(self.session, resolved.place, resolved.checkpoint)
        try:
            with ExitStack() as stack:
                stack.enter_context(held_at(self.session, resolved.place, step))
                self._bring(resolved, step)
        except _BrokenError as error:
            return str(error)
        return None

    def _bring(self, resolved: Resolved, step: tuple[Checkpoint, ...]) -> None:
        own, of = self.caller.number, min(self.caller.of, _MOST)
        left = [Caller((own + number) % of, of) for number in range(of)]
        saved_ns = (entry.mtime_ns for one in step for entry in one.files.values())
        looked_ns = max(self.session.clock(), *saved_ns)  # a server's clock may be ahead
        moved = time.monotonic()
        while left:
            self._go_on()
            free = next((share for share in left if not self._busy(share)), None)
            came = _Came.BUSY
            if free is not None:
                came = self._share(resolved, step, free, looked_ns)
            if came is _Came.WHOLE:
                return
            if free is None or came is _Came.PART:
                moved = time.monotonic()
            if came is _Came.PART and free is not None:
                left.remove(free)
            elif time.monotonic() - moved > _PATIENCE_SECONDS:
                raise _BrokenError("another command holds its lock there")
            else:
                time.sleep(_NAP_SECONDS)
        raise _BrokenError("all of its files were sent, and together they are not whole there")

    def _go_on(self) -> None:
        """Raise where this call is to end."""
        self.session.signals.heed()
        if self.session.late():
            raise PartialError(
                f"{self.to}: --timeout has passed while the tasks of this step bring it there",
                "the same call goes on where it stopped",
            )

    def _busy(self, share: Caller) -> bool:
        try:
            return self.meeting.alive(share)
        except OSError as error:
            raise _BrokenError(str(error.strerror or error)) from error

    def _share(
        self, resolved: Resolved, step: tuple[Checkpoint, ...], share: Caller, looked_ns: int
    ) -> _Came:
        place = resolved.place
        wish = Wish(
            names=tuple(one.name for one in step),
            proven=frozenset(one.member for one in step),
            jobs=self.session.common.copies_at_once,
        )
        run = PartRun(
            self.session,
            share,
            looked_ns,
            PolicyFlags(settle="0s").draft(),
            place.view,
            _only(place.found, step),
            self.to,
            wish,
            Throttle(None, time.monotonic, time.sleep),
            self.progress,
        )
        return _came(run.synced())


def _only(found: Found, step: Iterable[Checkpoint]) -> Found:
    """Return the run with these checkpoints alone: nothing else of it need be read again."""
    meant = {path for one in step for path in (one.member, *one.roots, *one.files)}
    items = (item for item in found.items if not meant.isdisjoint(item.claim.members))
    return replace(found, items=tuple(items))


def _came(done: SyncedRun) -> _Came:
    """Return how far it is.  _BrokenError where it cannot be."""
    if isinstance(done.error, LockedError):
        return _Came.BUSY
    if done.error is not None:
        raise _BrokenError(done.error.message)
    copies = [result for result in done.results if result.action == "copy"]
    wrong = next(_wrong(done), None)
    if wrong is not None:
        raise _BrokenError(wrong)
    whole = bool(copies) and all(result.status in _WHOLE for result in copies)
    return _Came.WHOLE if whole else _Came.PART


def _wrong(done: SyncedRun) -> Iterator[str]:
    for result in done.results:
        if result.action == "copy" and result.status not in _WHOLE | {Status.PART}:
            yield f"{result.checkpoint}: {result.error or result.status}"
