"""Progress on stderr, for a person who waits longer than a second."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self, TextIO

from ckptctl.model import NS
from ckptctl.ui import printable
from ckptctl.units import format_duration, format_size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars  # rich takes 0.1 s: only who waits pays for it

_PATIENCE = 1.0
"""Seconds before anything is shown."""


class Progress:
    """Shows what is being done; does nothing unless enabled on a terminal.

    A thread shows it after `patience` seconds, so that one long step without news shows too.
    """

    def __init__(self, stream: TextIO, *, enabled: bool, patience: float = _PATIENCE) -> None:
        self._stream = stream
        self._enabled = enabled and stream.isatty()
        self._patience = patience
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._bars: Bars | None = None
        self._text = ""
        self._done = 0
        self._total: int | None = None
        self._bytes = False
        self._began = 0.0
        self._over = False

    def __enter__(self) -> Self:
        """Begin to wait."""
        if self._enabled:
            self._timer = threading.Timer(self._patience, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything that was shown away."""
        self.finished()

    def started(self, text: str, *, of_bytes: int | None = None) -> None:
        """Say what is being done from now on; counting begins anew, in bytes where they are given."""
        with self._lock:
            self._text, self._done, self._total = printable.text(text), 0, of_bytes
            self._bytes, self._began = of_bytes is not None, time.monotonic()
            self._update()

    def advanced(self, n: int, total: int | None = None) -> None:
        """Say that `n` more are done, of `total` where that is known."""
        with self._lock:
            self._done += n
            self._total = total if total is not None else self._total
            self._update()

    def finished(self) -> None:
        """Say that all is done; nothing is shown after that."""
        with self._lock:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def _update(self) -> None:
        if self._bars is not None:
            (task,) = self._bars.task_ids
            self._bars.update(
                task,
                description=self._text,
                completed=self._done,
                total=self._total,
                amount=self._amount(),
            )

    def _amount(self) -> str:
        """Return how much is done; of bytes also how fast, and how long the rest will take."""
        if not self._bytes or self._total is None:
            return f"{self._done}/{self._total}" if self._total else str(self._done or "")
        said = f"{format_size(self._done)} of {format_size(self._total)}"
        seconds = time.monotonic() - self._began
        if not self._done or seconds <= 0:
            return said
        rate = self._done / seconds
        left = format_duration(round((self._total - self._done) / rate * NS))
        return f"{said}, {format_size(round(rate))}/s, {left} left"

    def _show(self) -> None:
        bars = _bars(self._stream)
        with self._lock:
            if not self._over:
                bars.add_task(
                    self._text, total=self._total, completed=self._done, amount=self._amount()
                )
                bars.start()
                self._bars = bars


def _bars(stream: TextIO) -> Bars:
    """Return rich's bars, without markup: what is shown may hold names."""
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream),
        transient=True,
    )
