"""A small object: gathered in memory, and put by one request."""

from __future__ import annotations

import errno
from collections.abc import Callable

from ckptctl.listing import Entry

SMALL = 16 * 2**20
"""Bytes up to which an object is put at once."""


class WholeIncoming:
    """Bytes that are kept until all of them are there; nothing of them survives the process."""

    token = ""

    def __init__(self, key: str, size: int, put: Callable[[bytes], tuple[Entry, bool]]) -> None:
        """`put` writes all of it; it returns the entry, and whether that proves each byte."""
        self.offset = 0
        self.proven = False
        self._key, self._size, self._put = key, size, put
        self._buffer = bytearray()

    def write(self, block: memoryview) -> None:
        """Add the next bytes."""
        self._buffer += block
        self.offset += len(block)

    def land(self) -> None:
        """Do nothing: it goes in one piece."""

    def finish(self) -> Entry:
        """Put the object.  OSError (EIO) where it has not the size that was announced."""
        content, self._buffer = bytes(self._buffer), bytearray()
        if len(content) != self._size:
            raise OSError(
                errno.EIO, f"has {len(content)} bytes rather than {self._size}", self._key
            )
        entry, self.proven = self._put(content)
        return entry

    def leave(self) -> None:
        """Forget what was written."""
        self._buffer = bytearray()

    def abandon(self) -> None:
        """Forget what was written."""
        self.leave()
