"""Asking a person before something is deleted."""

from __future__ import annotations

import select
from typing import TextIO

from ckptctl.ui import printable

_TURN = 0.1
"""Seconds of one wait: Python handles a signal that comes just before a read only after it."""


def confirm(question: str, *, stdin: TextIO, stderr: TextIO) -> bool:
    """Ask and return whether the answer was yes; anything else, and no answer, is no."""
    stderr.write(f"{printable.text(question)} [y/N] ")
    stderr.flush()
    while not select.select([stdin], [], [], _TURN)[0]:
        pass
    answer = stdin.readline()
    if not answer.endswith("\n"):
        stderr.write("\n")  # the input has ended: leave the prompt's line
    return answer.strip().lower() in {"y", "yes"}
