"""Why a copy failed, in words for people."""

from __future__ import annotations

import errno

from ckptctl.reading import VanishedError
from ckptctl.stores._base import FULL
from ckptctl.transfer.outcome import Fault
from ckptctl.transfer.sending import DroppedError


def failure(error: OSError, member: str) -> tuple[str, Fault | None]:
    """Return what to tell of a checkpoint that could not be copied, and what was wrong with its source."""
    if isinstance(error, DroppedError):
        return f"{error.filename}: {error.strerror}; the copy was dropped", Fault.DAMAGED
    if isinstance(error, VanishedError):
        where = error.filename or member
        text = (
            f"{where}: changed or went while it was copied ({error.strerror}); the copy was dropped"
        )
        return text, Fault.CHANGED
    where = f"{error.filename}: " if error.filename else ""
    text = f"{where}{error.strerror or error}"
    if error.errno in FULL:
        return f"{text}; what was staged of it was removed again: make room there", None
    if error.errno == errno.EXDEV:
        return (
            f"{text}; ckptctl's records have to lie on the file system of the destination (--state-dir)",
            None,
        )
    if error.errno == errno.EILSEQ:
        return f"{text}; nothing of it was sent", None
    return f"{text}; what was sent is kept for the next call", None
