"""How long bytes take: no more a second than the user allows, and what a signal leaves time for."""

from __future__ import annotations

import threading
from collections.abc import Callable

_BURST = 0.1
"""Seconds for which unused allowance is kept: no burst after a pause."""


_NAP = 0.2
"""Seconds after which a sleeper looks whether it is to stop."""


class Throttle:
    """Lets bytes through at a rate; None is no limit."""

    def __init__(
        self, rate: int | None, seconds: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        """`rate` is in bytes a second."""
        self._rate = rate
        self._seconds = seconds
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0  # when all that was let through is sent at this rate

    def take(self, count: int) -> None:
        """Wait until so many bytes may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = self._seconds()
            self._free_at = max(self._free_at, now - _BURST) + count / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)


def finishing(
    stopped: Callable[[], bool], seconds: Callable[[], float], allowed: float
) -> Callable[[], bool]:
    """Return whether it is time to stop: so many seconds after it was first asked for."""
    since: list[float] = []

    def over() -> bool:
        if not stopped():
            return False
        if not since:
            since.append(seconds())
        return seconds() - since[0] >= allowed

    return over


def napping(sleep: Callable[[float], None], stopped: Callable[[], bool]) -> Callable[[float], None]:
    """Return a sleep that ends soon after it is asked to stop."""

    def nap(wait: float) -> None:
        while wait > 0 and not stopped():
            sleep(min(wait, _NAP))
            wait -= _NAP

    return nap
