from __future__ import annotations

import io
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import pytest

from ckptctl.ui.progress import Progress


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal to write to, and what a person sees there."""

    stream: TextIO
    screen: int

    def shown(self, *, until: str = "", seconds: float = 60) -> str:
        """Return what appears until a text does, or for so long."""
        seen = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (not until or until.encode() not in seen):
            if select.select([self.screen], [], [], 0.05)[0]:
                seen += os.read(self.screen, 65536)
        return seen.decode(errors="replace")  # the last character may not be whole yet


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    screen, other = os.openpty()
    with os.fdopen(other, "w") as stream:
        yield Terminal(stream, screen)
    os.close(screen)


def test_who_waits_sees_what_is_done(terminal: Terminal) -> None:
    with Progress(terminal.stream, enabled=True, patience=0.01) as progress:
        progress.started("proving [red]\x1b]0;x\x07")
        assert r"proving [red]\x1b]0;x\x07" in terminal.shown(until="x07")
        progress.advanced(2, total=3)
        progress.advanced(1)
        assert "3/3" in terminal.shown(until="3/3")


def test_bytes_come_with_their_rate_and_the_time_that_is_left(terminal: Terminal) -> None:
    with Progress(terminal.stream, enabled=True, patience=0.01) as progress:
        progress.started("reading", of_bytes=4_000_000_000)
        assert "0 B of 4.00 GB" in terminal.shown(until="4.00 GB")
        progress.advanced(1_000_000_000)
        shown = terminal.shown(until="left")
    assert re.search(r"1\.00 GB of 4\.00 GB, [0-9.]+ [A-Z]?B/s, .+ left", shown)


def test_what_was_shown_is_taken_away(terminal: Terminal) -> None:
    with Progress(terminal.stream, enabled=True, patience=0.01) as progress:
        progress.started("listing")
        terminal.shown(until="listing")
    after = terminal.shown(until="\x1b[?25h")
    assert "\x1b[?25h" in after  # the cursor is back
    progress.advanced(1)
    progress.started("late")
    assert "late" not in terminal.shown(seconds=0.3)


def test_who_does_not_wait_sees_nothing(terminal: Terminal) -> None:
    with Progress(terminal.stream, enabled=True, patience=60) as progress:
        progress.started("listing")
        progress.advanced(1)
        assert terminal.shown(seconds=0.3) == ""
    assert terminal.shown(seconds=0.1) == ""


def test_nothing_is_shown_where_it_is_not_wanted(terminal: Terminal) -> None:
    with Progress(terminal.stream, enabled=False, patience=0) as progress:
        progress.started("listing")
        assert terminal.shown(seconds=0.3) == ""


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Progress(stream, enabled=True, patience=0) as progress:
        progress.started("listing")
        time.sleep(0.3)
    assert stream.getvalue() == ""


def test_rich_is_loaded_only_for_who_waits() -> None:
    code = (
        "import sys, ckptctl.ui.render, ckptctl.ui.messages, ckptctl.ui.ask\n"
        "from ckptctl.ui.progress import Progress\n"
        "with Progress(sys.stderr, enabled=True) as p: p.started('x')\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
