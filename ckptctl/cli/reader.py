"""Run a command as if it had been called directly, and do something now and then meanwhile."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
_BY_KERNEL = 0x80  # SI_KERNEL of sigaction(2): the terminal's own, as for Ctrl-C
_LONGEST = 3600.0  # seconds that one wait lasts at most


@dataclass(frozen=True, slots=True)
class Reader:
    """A command that reads a checkpoint.

    Signals sent to this process are passed on; those of the terminal reach the command by
    themselves, since both are in its foreground.
    """

    command: Sequence[str]
    meanwhile: Callable[[], None]
    every_ns: int

    def run(self) -> int:
        """Return the exit code, 128+N where a signal ended the command.

        UsageError where it cannot be started.
        """
        waited = _FORWARDED | {signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
        try:
            process = self._start(before)
            while (code := process.poll()) is None:
                self._wait(process, waited)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return 128 - code if code < 0 else code

    def _start(self, mask: set[int | signal.Signals]) -> subprocess.Popen[bytes]:
        def unblock() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        try:
            # No thread runs here, so that code between fork and exec is safe.
            return subprocess.Popen(self.command, preexec_fn=unblock)  # noqa: PLW1509, S603 - see above; it is the user's own
        except OSError as error:
            raise UsageError(
                f"{self.command[0]}: cannot be started ({error.strerror or error})"
            ) from error

    def _wait(self, process: subprocess.Popen[bytes], waited: frozenset[signal.Signals]) -> None:
        """Wait for a signal, or until it is time for what is done meanwhile."""
        until = time.monotonic() + self.every_ns / NS
        while process.poll() is None:
            left = until - time.monotonic()
            if left <= 0:
                self.meanwhile()
                return
            arrived = signal.sigtimedwait(waited, min(left, _LONGEST))
            if (
                arrived is not None
                and arrived.si_signo in _FORWARDED
                and arrived.si_code != _BY_KERNEL
            ):
                with suppress(ProcessLookupError):
                    process.send_signal(arrived.si_signo)
