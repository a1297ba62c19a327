"""An object of a bucket that is read at places."""

from __future__ import annotations

from ckptctl.stores._again import again, garbled
from ckptctl.stores._keys import Keys

HEAD_BYTES = 64 * 1024
"""What is asked for at least, since a request costs more than these bytes."""


class ObjectBlob:
    """An object of which parts are read; small reads near each other are one request."""

    def __init__(self, keys: Keys, key: str) -> None:
        """Ask for its size and first bytes by one request.  Raises VanishedError, OSError."""
        entry, self._window = again(lambda: keys.start(key, HEAD_BYTES))
        self._at = 0
        self._keys = keys
        self._key = key
        self._etag = entry.etag
        self.size = entry.size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        length = max(0, min(length, self.size - offset))
        inside = offset - self._at
        if length and not 0 <= inside <= inside + length <= len(self._window):
            wanted = min(max(length, HEAD_BYTES), self.size - offset)
            self._window = self._part(offset, wanted)
            self._at, inside = offset, 0
        return self._window[inside : inside + length] if length else b""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from `offset`; return how many bytes it got."""
        length = max(0, min(len(buffer), self.size - offset))
        content = self._part(offset, length) if length > HEAD_BYTES else self.read(offset, length)
        buffer[: len(content)] = content
        return len(content)

    def _part(self, offset: int, length: int) -> bytes:
        """Return all of these bytes, which the object has."""

        def attempt() -> bytes:
            content = self._keys.part(self._key, offset, length, self._etag)
            if len(content) != length:
                raise garbled("reading from", self._keys.where, self._key)
            return content

        return again(attempt)
