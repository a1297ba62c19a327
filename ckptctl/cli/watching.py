"""The loop of `watch` and `sync --watch`: when to look again, and how it ends."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from ckptctl.cli.runtime import Session
from ckptctl.errors import Arrived, CkptctlError, Interrupted, PartialError, UsageError
from ckptctl.model import NS
from ckptctl.units import format_time
from ckptctl.watcher import Watcher

_SHORTEST = 1.0
"""Seconds between two looks at least: what a save writes comes as many events."""
_SHARE = 9
"""For each second of looking so many of rest: a tenth of the time at most."""
_RARELY = 900.0
"""Seconds after which it looks where nothing calls for it: a grace may be over, a tier be back."""
_AT_ONCE = 5.0
"""Seconds after which it tries again what another process had locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What the loop needs to know of one round."""

    moving: float = 0.0  # seconds that went to copies, which is no looking
    due_ns: int | None = None  # when what is being saved will have settled
    errors: tuple[CkptctlError, ...] = ()
    locked: bool = False  # by another process, and nothing else is wrong


@dataclass(slots=True)
class Loop:
    """Does something again whenever files below some directories are finished, or it is time."""

    session: Session
    watcher: Watcher
    roots: Sequence[str]  # local directories
    polled: bool  # something is copied from a place that gives no events
    interval: float  # seconds
    _failures: int = 0
    _told: tuple[str, ...] = ()
    _lost: str | None = None

    def run(self, once: Callable[[], Round]) -> None:
        """Go round until a signal comes; leave with its code.  UsageError ends it too."""
        signals = self.session.signals
        try:
            while not signals.stopped():
                heard = [self.watcher.watch(root) for root in self.roots]
                began = time.monotonic()
                done = self._tried(once)
                self._tell_of_log()
                if signals.stopped():
                    break
                looking = max(time.monotonic() - began - done.moving, 0.0)
                self._rest(done, looking, polled=self.polled or not all(heard))
        except (Arrived, Interrupted):
            pass  # nothing was in hand
        finally:
            self.watcher.close()
        self.say("ended by a signal")
        raise typer.Exit(128 + (signals.arrived or 0))

    def _tried(self, once: Callable[[], Round]) -> Round:
        """Do it once; what goes wrong is told, and tried again later."""
        try:
            with self.session.signals.noted():
                done = once()
        except (UsageError, Interrupted):
            raise
        except CkptctlError as error:
            done = Round(errors=(error,))
        finally:
            gc.collect()  # the clients of buckets are in cycles, and hold connections until then
        if self.session.signals.stopped():
            return done  # what was cut short is no failure
        self._failures = 0 if not done.errors or done.locked else self._failures + 1
        told = tuple(error.message for error in done.errors)
        if told != self._told and not done.locked:
            for wrong in done.errors:
                if (
                    wrong.message not in self._told
                ):  # by one more that is wrong, or less, nothing else is news
                    self.session.say_error(wrong)
            if self._told and not told:
                self.say("all is well again")
            self._told = told
        return done

    def _tell_of_log(self) -> None:
        """Say where --log-file has lost more lines: nobody waits for the end to hear of it."""
        lost = self.session.log.lost() if self.session.log is not None else None
        if lost is not None and lost != self._lost:
            self.session.say_error(PartialError(lost))
        self._lost = lost

    def _rest(self, done: Round, looking: float, *, polled: bool) -> None:
        """Wait for the next thing to do."""
        least = min(max(_SHORTEST, _SHARE * looking), max(self.interval, _SHORTEST))
        most = self.interval if polled else max(self.interval, _RARELY)
        if done.locked:
            most = min(most, _AT_ONCE)
        elif done.errors:
            most = min(most, self.interval * 2 ** min(self._failures - 1, 4))
        if done.due_ns is not None:
            most = min(most, max((done.due_ns - self.session.clock()) / NS, 0.0))
        began = time.monotonic()
        until = began + max(most, least)
        while (now := time.monotonic()) < until:
            if self.watcher.wait(until - now):  # the rest of a save comes right after
                until = min(until, max(began + least, time.monotonic() + _SHORTEST))

    def say(self, text: str) -> None:
        """Say something on stderr, with the time."""
        self.session.say(f"{format_time(self.session.clock())} {text}")
