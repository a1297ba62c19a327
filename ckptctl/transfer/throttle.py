"""Send no more bytes a second than the user allows, over all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

_BURST = 0.1
"""Seconds for which unused allowance is kept: no burst after a pause."""


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
