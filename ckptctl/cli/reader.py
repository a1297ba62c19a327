"""Run a command as if it had been called directly, and do something now and then meanwhile."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ckptctl.errors import UsageError
from ckptctl.model import NS

_FORWARDED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
_WAITED = _FORWARDED | {signal.SIGCHLD, signal.SIGALRM}
_BY_KERNEL = 0x80  # SI_KERNEL of sigaction(2): the terminal's own, as for Ctrl-C
_LONGEST = 60.0  # seconds that one wait lasts at most


@dataclass(frozen=True, slots=True)
class Reader:
    """A command that reads a checkpoint.

    Signals sent to this process are passed on; those of the terminal reach the command by
    themselves, since both are in its foreground.  What comes when the command has ended is for
    nobody, until what is to be done `afterwards` is done.
    """

    command: Sequence[str]
    meanwhile: Callable[[], None]
    every_ns: int
    afterwards: Callable[[], None]

    def run(self) -> int:
        """Return the exit code, 128+N where a signal ended the command.

        UsageError where it cannot be started.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
        try:
            process = self._start(before)
            with _heard_elsewhere(process):
                while (code := process.poll()) is None:
                    self._wait(process)
        finally:
            self.afterwards()
            while signal.sigtimedwait(_WAITED, 0) is not None:
                pass
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return 128 - code if code < 0 else code

    def _start(self, mask: set[int | signal.Signals]) -> subprocess.Popen[bytes]:
        def unblock() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        try:
            # No thread of ours runs here, so that code between fork and exec is safe.
            return subprocess.Popen(self.command, preexec_fn=unblock)  # noqa: PLW1509, S603 - see above; it is the user's own
        except OSError as error:
            raise UsageError(
                f"{self.command[0]}: cannot be started ({error.strerror or error})"
            ) from error

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a signal, or until it is time for what is done meanwhile."""
        until = time.monotonic() + self.every_ns / NS
        while process.poll() is None:
            left = until - time.monotonic()
            if left <= 0:
                self.meanwhile()
                return
            with _woken_after(min(left, _LONGEST)):
                arrived = signal.sigwaitinfo(_WAITED)
            if arrived.si_signo in _FORWARDED and arrived.si_code != _BY_KERNEL:
                _pass_on(process, arrived.si_signo)


def _pass_on(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


@contextmanager
def _heard_elsewhere(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass on what a thread of a library gets, which blocks none: while we do not wait for signals."""
    before = {
        number: signal.signal(number, lambda arrived, _: _pass_on(process, arrived))
        for number in _FORWARDED
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _woken_after(seconds: float) -> Iterator[None]:
    """Send this very thread SIGALRM then.

    Instead of sigtimedwait(2): where Ctrl-Z stopped us for longer Python returns any signal at all
    (CPython, signalmodule.c: it reads what the interrupted call has not written).
    """
    timer = threading.Timer(seconds, signal.pthread_kill, (threading.get_ident(), signal.SIGALRM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
