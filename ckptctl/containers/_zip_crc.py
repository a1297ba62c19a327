"""Whether the records of a ZIP hash to the checksums that its directory gives.

A mismatch is no proof of damage: torch may write checksums that are not valid (pytorch,
torch/serialization.py `set_crc32_options(False)`), so it is told as data.  Each byte is looked at
once, whatever the directory says; what is compressed is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum

from ckptctl.containers._check import BeyondError, CutError, UnsoundError
from ckptctl.containers._zip_directory import LOCAL_SIZE, Record, find_directory, records_of
from ckptctl.reading import Blob

_MAGIC = b"PK\x03\x04"
_PIECE = 1 << 20
_RECORD_LIMIT = 1 << 18  # of more nothing is said: what is kept of each takes some 300 bytes
_NAME_SHOWN = 80


def crc_errors(blob: Blob) -> Iterator[str]:
    """Read a file once, and yield in words each stored record that does not hash to its checksum.

    Nothing where the file is no ZIP, or its directory does not fit: the structure check tells that.
    Raises OSError.
    """
    checksums = Checksums(blob)
    at = 0
    while checksums.waiting and (data := blob.read(at, _PIECE)):
        yield from checksums.take(data)
        at += len(data)


class _Next(Enum):
    """What the bytes up to the next place are."""

    BEFORE = "before the record"
    HEADER = "its header"
    NAME = "its name and padding"
    CONTENT = "its content"


class Checksums:
    """Checks records while all bytes of their file pass by in order, as when it is hashed."""

    def __init__(self, blob: Blob) -> None:
        """Read the directory.  Raises OSError."""
        stored, self._end = _stored(blob)
        self._records = iter(stored)
        self._at = 0
        self._head = b""
        self._crc = 0
        self._record: Record | None = None
        self._next = _Next.BEFORE
        self._until = 0
        self._begin()

    @property
    def waiting(self) -> bool:
        """Whether there are records of which not all has passed yet."""
        return self._record is not None

    def take(self, data: bytes | memoryview) -> Iterator[str]:
        """Look at the next bytes; yield in words each record that ends in them and does not fit."""
        rest = memoryview(data)
        while self._record is not None:
            piece = rest[: self._until - self._at]
            rest = rest[len(piece) :]
            self._at += len(piece)
            if self._next is _Next.HEADER:
                self._head += piece
            elif self._next is _Next.CONTENT:
                self._crc = zlib.crc32(piece, self._crc)
            if self._at < self._until:
                return
            wrong = self._turn(self._record)
            if wrong:
                shown = self._record.name[:_NAME_SHOWN].decode(errors="replace")
                yield f"its record {shown!r} {wrong}"
            if wrong is not None:
                self._begin()

    def _begin(self) -> None:
        """Wait for the next record that does not begin in what has passed."""
        ahead = (record for record in self._records if record.offset >= self._at)
        self._record = next(ahead, None)
        self._next = _Next.BEFORE
        self._until = self._record.offset if self._record else self._at

    def _turn(self, record: Record) -> str | None:
        """Go on to what follows; at the end of a record return what is wrong with it, or ""."""
        if self._next is _Next.BEFORE:
            self._next, self._until, self._head = _Next.HEADER, self._at + LOCAL_SIZE, b""
        elif self._next is _Next.HEADER:
            lengths = (int.from_bytes(self._head[at : at + 2], "little") for at in (26, 28))
            self._next, self._until = _Next.NAME, self._at + sum(lengths)
            if not self._head.startswith(_MAGIC) or self._until + record.size > self._end:
                return "has no header at its place"
        elif self._next is _Next.NAME:
            self._next, self._until, self._crc = _Next.CONTENT, self._at + record.size, 0
        else:
            return "" if self._crc == record.crc else "does not hash to its CRC"
        return None


def _stored(blob: Blob) -> tuple[list[Record], int]:
    """Return the stored records by their place, and where the directory begins."""
    if blob.read(0, len(_MAGIC)) != _MAGIC:
        return [], 0
    try:
        where = find_directory(blob)
        if where.records > _RECORD_LIMIT:
            return [], 0
        records = [record for record in records_of(blob, where) if record.stored]
    except (BeyondError, CutError, UnsoundError):
        return [], 0
    return sorted(records, key=lambda record: record.offset), where.offset
