"""What is said to a person on stderr; names in it are made printable like in tables."""

from __future__ import annotations

from typing import TextIO

from ckptctl.errors import CkptctlError
from ckptctl.ui import printable

_PREFIX = "ckptctl: "


def say(text: str, *, stream: TextIO, quiet: bool) -> None:
    """Write a message of one or more lines, unless the user wants it quiet."""
    if not quiet:
        stream.write(_lines("", text))
        stream.flush()


def format_error(error: CkptctlError, *, colour: bool) -> str:
    """Return the lines that tell a person of an error: what happened, then what to do."""
    begin = f"\x1b[31m{_PREFIX}\x1b[0m" if colour else _PREFIX
    text = begin + _lines("  ", error.message)
    return text + "  " + _lines("  ", error.hint) if error.hint else text


def _lines(indent: str, text: str) -> str:
    """Return printable lines; all after the first are indented, so that none can pass for ours."""
    shown = map(printable.text, text.split("\n"))
    return f"\n{indent}".join(shown) + "\n"
