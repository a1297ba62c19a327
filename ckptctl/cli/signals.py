"""SIGINT and SIGTERM, from before the first import to after the last word."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from types import FrameType

from ckptctl.errors import Arrived, Interrupted

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_SOON = 0.01  # seconds: a finalizer takes less
_EARLY = (  # by hand, as `ui.data.error_data` would: in the middle of imports nothing can be imported
    '{"schema": "ckptctl/error", "version": 1, "code": %d, "kind": "interrupted", '
    '"message": "interrupted", "hint": "run the same command again to finish"}\n'
)


class Signals:
    """What a signal does.

    While modules load it ends the process at once, for nothing was begun; with `as_json` stdout
    says so.  Then it raises Arrived, once, while only reading, and is noted in `arrived` while
    something changes (`changing`) or is written.
    """

    def __init__(self) -> None:
        self.arrived: int | None = None
        self.changing = False
        self._loading = False
        self._as_json = False

    def loading(self, *, as_json: bool) -> None:
        """Take signals from now on, and leave at once where one comes."""
        self._loading, self._as_json = True, as_json
        self._install()

    def reading(self) -> Signals:
        """Raise Arrived from now on, where nothing is being changed; return this object."""
        self._install()
        self._loading = False
        return self

    def over(self) -> None:
        """Ignore all that still come: the exit code is settled."""
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def stopped(self) -> bool:
        """Whether a signal has arrived."""
        return self.arrived is not None

    def heed(self) -> None:
        """Raise Interrupted where a signal came while it was only noted."""
        if self.arrived is not None:
            raise Interrupted(self.arrived)

    def heeded(self) -> AbstractContextManager[None]:
        """Raise Interrupted where one comes, even inside `noted`: where it only looks, nothing is cut."""
        return _Mode(self, changing=False)

    def noted(self) -> AbstractContextManager[None]:
        """Only note signals meanwhile: what is written is not cut, by how many ever.

        Around a command's work and its telling, so that whatever was done is told.
        """
        return _Mode(self, changing=True)

    def _install(self) -> None:
        for number in _NUMBERS:
            signal.signal(number, self._on)
        sys.unraisablehook = self._lost

    def _lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Send the signal again where its exception fell into a finalizer, which raises nothing."""
        if not isinstance(lost.exc_value, Arrived):
            sys.__unraisablehook__(lost)
            return
        self.arrived = None
        # From a bare thread, after the finalizer: one of `threading` takes locks that the
        # interrupted code may hold.
        _thread.start_new_thread(_send_again, (lost.exc_value.signal,))

    def _on(self, number: int, frame: FrameType | None) -> None:
        first = self.arrived is None
        self.arrived = number
        if self.changing:
            return
        if self._loading:
            self._leave(128 + number)
        if first and (frame is None or frame.f_code not in _BETWEEN):
            raise Arrived(number)

    def _leave(self, code: int) -> None:
        if self._as_json:
            with suppress(OSError):
                os.write(1, (_EARLY % code).encode())
        os._exit(code)


class _Mode:
    """How signals are taken meanwhile.

    No generator of `contextlib`: raised in its code, before that resumes ours, Arrived would pass as
    it is, and leave the mode.  In our own few lines a signal is only noted, and heeded right after.
    """

    def __init__(self, signals: Signals, *, changing: bool) -> None:
        self._signals = signals
        self._changing = changing
        self._before = changing

    def __enter__(self) -> None:
        self._before = self._signals.changing
        if not self._changing:
            self._signals.heed()
        self._signals.changing = self._changing

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._signals.changing = self._before
        if self._changing:
            return
        if isinstance(error, Arrived):
            raise Interrupted(error.signal) from None
        if error is None:
            self._signals.heed()


_BETWEEN = {_Mode.__enter__.__code__, _Mode.__exit__.__code__}


def _send_again(number: int) -> None:
    time.sleep(_SOON)
    os.kill(os.getpid(), number)


SIGNALS = Signals()
"""A process has one set of handlers."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for JSON, even where it is otherwise wrong."""
    if "--" in arguments:  # what follows is a command of its own
        arguments = arguments[: arguments.index("--")]
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    return any(
        one in {"--json", "-ojson", "--output=json", "-o=json"}
        or (one in {"-o", "--output"} and two == "json")
        for one, two in pairs
    )
