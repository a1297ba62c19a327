"""What is said to a person on stderr; names in it are made printable like in tables."""

from __future__ import annotations

from collections import Counter
from typing import TextIO

from ckptctl.errors import CkptctlError
from ckptctl.report import Report
from ckptctl.secrecy import without_secrets
from ckptctl.ui import printable
from ckptctl.ui.streams import tell
from ckptctl.ui.words import count

_PREFIX = "ckptctl: "
_DONE = {
    "delete": "deleted", "clean": "removed", "trash": "trashed", "schedule": "scheduled",
    "purge": "freed", "restore": "brought back",
}  # fmt: skip


def say(text: str, *, stream: TextIO, quiet: bool) -> None:
    """Write a message of one line, unless the user wants it quiet."""
    if not quiet:
        tell(_line(text), stream)


def unwritten(failed: OSError) -> str:
    """Return what to say where stdout does not take a result."""
    return f"the result could not be written to stdout ({failed.strerror or failed})"


def untold(failed: OSError, report: Report) -> CkptctlError:
    """Return the error of a result that nobody gets, with what was done: else none would know."""
    if report.command == "list":
        return CkptctlError(unwritten(failed))
    outcomes = [outcome for run in report.runs for outcome in run.outcomes]
    done = Counter(o.action for o in outcomes if o.status == "done")
    undone = Counter(o.status for o in outcomes if o.status in {"failed", "skipped"})
    parts = [f"{_DONE.get(action, action)} {count(n, 'checkpoint')}" for action, n in done.items()]
    parts += [f"{status} {n:,}" for status, n in sorted(undone.items())]
    said = ", ".join(parts) or "nothing was changed"
    return CkptctlError(
        f"{unwritten(failed)}; what was done: {said}",
        "`--log-file` notes each action as it is done",
    )


def format_error(error: CkptctlError, *, colour: bool) -> str:
    """Return the lines that tell a person of an error: what happened, then what to do.

    All after the first are indented, so that none can pass for a message of its own.
    """
    begin = f"\x1b[31m{_PREFIX}\x1b[0m" if colour else _PREFIX
    more = [error.hint] if error.hint else []
    return begin + "  ".join(map(_line, (*error.parts, *more)))


def _line(text: str) -> str:
    return f"{printable.text(without_secrets(text))}\n"
