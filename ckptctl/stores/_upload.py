"""A large object that is uploaded to S3 in parts, a few of them at once, by one process or several."""

from __future__ import annotations

import errno
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ckptctl.listing import Entry
from ckptctl.stores._again import gone, lost
from ckptctl.stores._s3_uploads import Part, S3Uploads

if TYPE_CHECKING:
    from concurrent.futures import Future

PART = 8 * 2**20
"""Bytes of a part; larger ones cost memory, and S3 takes no smaller ones than 5 MiB."""

_MOST = 10_000  # parts of an upload
_AT_ONCE = 3
_IN_FLIGHT = 64 * 2**20  # bytes at most, but for parts that are larger themselves
_STEP = 2**20


def part_size(size: int) -> int:
    """Return how large the parts of an object are, so that there are not too many."""
    return max(PART, math.ceil(math.ceil(size / _MOST) / _STEP) * _STEP)


class S3Incoming:
    """An upload in parts; its token is the id that S3 knows it by.

    Another process finds by that what is there, and goes on after the parts without a gap.
    """

    def __init__(
        self,
        uploads: S3Uploads,
        key: str,
        size: int,
        token: str,
        head: Callable[[str], Entry | None],
    ) -> None:
        """Begin an upload, or go on with one.  Raises OSError."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

        self._uploads, self._key, self._size, self._head = uploads, key, size, head
        self._part = part_size(size)
        self._parts: dict[int, Part] = {}
        resumed = bool(token) and self._resume(token)
        self.token = token if resumed else uploads.begin(key)
        self.offset = sum(part.size for part in self._parts.values())
        self._proven = uploads.checks(key, self.token, _MOST)
        # Parts of another process were checked by the server, where that checks any.
        self._matched = self._proven or not self._parts
        self._buffer = bytearray()
        self._ended = threading.Event()
        at_once = max(1, min(_AT_ONCE, _IN_FLIGHT // self._part))
        self._pool = ThreadPoolExecutor(at_once)
        self._flying: deque[tuple[int, Future[Part]]] = deque()
        self._at_once = at_once
        self._number = len(self._parts)

    def _resume(self, token: str) -> bool:
        """Take over the parts of an upload that come one after the other; return whether there is one."""
        try:
            found = self._uploads.parts(self._key, token)
        except OSError as error:
            if lost(error):
                raise
            return False  # of another bucket, or one that may not be looked at
        if found is None:
            return False
        if 1 in found and found[1].size < self._size:
            self._part = found[1].size
        if self._size > self._part * _MOST:
            return False
        while (one := found.get(len(self._parts) + 1)) is not None:
            begin = len(self._parts) * self._part
            if one.size != min(self._part, self._size - begin) or begin >= self._size:
                break
            self._parts[len(self._parts) + 1] = one
        return True

    @property
    def proven(self) -> bool:
        """Whether the server checked each part, or its ETags are MD5s of what was sent."""
        return self._proven or self._matched

    def write(self, block: memoryview) -> None:
        """Add the next bytes; waits where enough of them are under way.  OSError of any part."""
        while block:
            taken = block[: self._part - len(self._buffer)]
            self._buffer += taken
            self.offset += len(taken)
            block = block[len(taken) :]
            if len(self._buffer) == self._part:
                self._send()

    def _send(self) -> None:
        while len(self._flying) >= self._at_once:
            self._landed()
        body = bytes(self._buffer)
        self._buffer.clear()
        self._number += 1
        sent = self._pool.submit(
            self._uploads.send, self._key, self.token, self._number, body, self._ended
        )
        self._flying.append((self._number, sent))

    def _landed(self) -> None:
        """Wait for the oldest part.  Raises what it raised."""
        number, sent = self._flying.popleft()
        part = sent.result()
        self._parts[number] = part
        self._matched &= part.proven

    def land(self) -> None:
        """Send the rest and wait for all parts.  OSError of any part."""
        if self._buffer:
            self._send()
        while self._flying:
            self._landed()

    def finish(self) -> Entry:
        """Send the rest and make an object of the parts; return its entry as it is there.

        OSError (EIO) where that is not what was sent, ESTALE where another took its place meanwhile.
        """
        try:
            if self.offset != self._size:
                raise OSError(
                    errno.EIO, f"has {self.offset} bytes rather than {self._size}", self._key
                )
            self.land()
            told = self._uploads.end(self._key, self.token, self._parts, self._ended)
            entry = self._head(self._key)
        finally:
            self.leave()
        return self._settled(told, entry)

    def _settled(self, told: str | None, entry: Entry | None) -> Entry:
        """Return the entry, once it is that of this upload, also where the answer to its end was lost."""
        where = self._uploads.requests.where
        wanted = _etag_of([part.etag for _, part in sorted(self._parts.items())])
        if not told and (entry is None or (entry.size, entry.etag) != (self._size, wanted)):
            raise gone(where, self._key)
        if entry is None or (told and entry.etag != told):
            text = f"writing to {where}: it was saved anew meanwhile; look at it again"
            raise OSError(errno.ESTALE, text, self._key)
        if entry.size != self._size:
            text = f"writing to {where}: it has {entry.size} bytes rather than {self._size}"
            raise OSError(errno.EIO, text, self._key)
        if entry.etag != wanted:  # of servers whose ETags are no MD5s, which have to check parts
            self._matched = False
        return entry

    def leave(self) -> None:
        """Let go of it: what is under way comes to its end, but is not sent again."""
        self._ended.set()
        self._pool.shutdown()
        self._buffer.clear()

    def abandon(self) -> None:
        """Remove the parts."""
        self.leave()
        self._uploads.abort(self._key, self.token)


def _etag_of(etags: list[str]) -> str:
    """Return what S3 calls an object of such parts: the MD5 of their MD5s, and how many they are."""
    import hashlib  # noqa: PLC0415 - only who uploads needs it

    try:
        joined = b"".join(map(bytes.fromhex, etags))
    except ValueError:
        return ""
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"
