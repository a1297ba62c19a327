"""What looking at one file can come to, and how its bytes are read."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ckptctl.reading import Blob


class Verdict(Enum):
    """What is known of a file."""

    WHOLE = "whole"
    TORN = "torn"
    UNPROVABLE = "unprovable"


class Check(NamedTuple):
    """A verdict, and of a torn file in words what is wrong; the file's name is put before it."""

    verdict: Verdict
    text: str = ""


WHOLE = Check(Verdict.WHOLE)
UNKNOWN = Check(Verdict.UNPROVABLE)


def torn(text: str) -> Check:
    """Return the verdict on a file that is surely not whole."""
    return Check(Verdict.TORN, text)


class CutError(Exception):
    """The file ends before bytes that it says it has."""


def read_exactly(blob: Blob, offset: int, length: int) -> bytes:
    """Return bytes that must be there.  Raises CutError where they are not, or OSError."""
    if offset < 0 or length < 0 or offset + length > blob.size:
        raise CutError
    data = blob.read(offset, length)
    if len(data) < length:  # it shrank while it was read
        raise CutError
    return data
