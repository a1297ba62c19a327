"""Asking a person before something is deleted."""

from __future__ import annotations

from typing import TextIO

from ckptctl.ui import printable


def confirm(question: str, *, stdin: TextIO, stderr: TextIO) -> bool:
    """Ask and return whether the answer was yes; anything else, and no answer, is no."""
    stderr.write(f"{printable.text(question)} [y/N] ")
    stderr.flush()
    answer = stdin.readline()
    if not answer.endswith("\n"):
        stderr.write("\n")  # the input has ended: leave the prompt's line
    return answer.strip().lower() in {"y", "yes"}
