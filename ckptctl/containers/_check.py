"""What looking at one file can come to, and how its bytes are read."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias

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

Checker: TypeAlias = Callable[[Blob], Check]
"""Looks at an open file, and may raise one of the errors below instead of returning a verdict."""

HEAD = 4096
"""Bytes of a file that are read at once, to see what it is."""


def torn(text: str) -> Check:
    """Return the verdict on a file that is surely not whole."""
    return Check(Verdict.TORN, text)


class CutError(Exception):
    """The file ends before bytes that it says it has."""


class UnsoundError(Exception):
    """What the file says of itself cannot be; the message says why, like the text of a check."""


class BeyondError(Exception):
    """Sound so far, but a limit is reached, or something that is not known follows."""


class Headed:
    """An open file whose first bytes are in memory."""

    def __init__(self, blob: Blob) -> None:
        """Read the head.  Raises OSError."""
        self.size = blob.size
        self.head = blob.read(0, min(HEAD, blob.size))
        self._blob = blob

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; what the head has is not read again."""
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        return self._blob.read(offset, length)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from `offset`; return how many bytes it got."""
        return self._blob.readinto(offset, buffer)


def read_exactly(blob: Blob, offset: int, length: int) -> bytes:
    """Return bytes that must be there.  Raises CutError where they are not, or OSError."""
    if offset < 0 or length < 0 or offset + length > blob.size:
        raise CutError
    data = blob.read(offset, length)
    if len(data) < length:  # it shrank while it was read
        raise CutError
    return data


class Cursor:
    """A place in a file that moves on; what is skipped is not read."""

    def __init__(self, blob: Blob, at: int = 0, *, piece: int = 1 << 16) -> None:
        """Begin at a place; `piece` bytes are read at once, where a caller takes less."""
        self.at = at
        self._blob = blob
        self._piece = piece
        self._buffer = b""
        self._from = 0

    def take(self, length: int) -> bytes:
        """Return the next bytes.  Raises CutError where the file ends before, or OSError."""
        begin = self.at - self._from
        if begin + length > len(self._buffer):
            if self.at + length > self._blob.size:
                raise CutError
            self._buffer = self._blob.read(self.at, max(length, self._piece))
            self._from, begin = self.at, 0
            if len(self._buffer) < length:
                raise CutError
        self.at += length
        return self._buffer[begin : begin + length]

    def number(self, length: int, order: str = "little") -> int:
        """Return the next bytes as a number without sign; `order` is "little" or "big"."""
        return int.from_bytes(self.take(length), "big" if order == "big" else "little")

    def skip(self, length: int) -> None:
        """Move on.  Raises CutError where the file ends before."""
        if self.at + length > self._blob.size:
            raise CutError
        self.at += length
