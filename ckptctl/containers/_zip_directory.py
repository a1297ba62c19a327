"""A ZIP's directory, read piece by piece: where each record lies, and what it should hash to.

Source: PKWARE APPNOTE 6.3 (4.3.12 to 4.3.16, and 4.5.3 for ZIP64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ckptctl.containers._check import BeyondError, Cursor, UnsoundError, read_exactly
from ckptctl.reading import Blob

LIMIT = 128 * 2**20
"""Bytes of the largest directory that is read: more than a million records, in some 3 seconds."""

LOCAL_SIZE = 30
"""Bytes of what stands before a record's name."""

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_FIELD = struct.Struct("<2H")
_COMMENT_LIMIT = 0xFFFF
_END_MARK = b"PK\x05\x06"
_BIG = 0xFFFFFFFF  # in place of a number that is in the ZIP64 field
_ENCRYPTED = 1


class Directory(NamedTuple):
    """Where the directory lies, and how many records it has."""

    offset: int
    size: int
    records: int
    end: int  # it lies before this place


class Record(NamedTuple):
    """One record: its header begins at `offset`, its content somewhere after that and the name."""

    name: bytes
    offset: int
    size: int  # as it lies in the file
    crc: int
    stored: bool  # neither compressed nor encrypted: the content is as its reader gets it

    @property
    def least_end(self) -> int:
        """The first byte that can be another's."""
        return self.offset + LOCAL_SIZE + len(self.name) + self.size


def find_directory(blob: Blob) -> Directory:
    """Return where the directory is.

    Raises UnsoundError where none is in the file, BeyondError where it is too large to be read.
    """
    tail_at = max(0, blob.size - _END.size - _COMMENT_LIMIT)
    tail = read_exactly(blob, tail_at, blob.size - tail_at)
    found = _find_end(tail)
    if found is None:
        raise UnsoundError(f"has no ZIP end record: it was cut at {blob.size:,} bytes")
    where = _read_end(blob, tail, tail_at, found)
    if where is None or where.offset + where.size > where.end:
        raise UnsoundError("has a ZIP end record that names a directory outside the file")
    if not where.records:
        raise UnsoundError("has a ZIP end record that names nothing")
    if where.size > LIMIT:
        raise BeyondError
    return where


def records_of(blob: Blob, where: Directory) -> Iterator[Record]:
    """Yield the records in the order of the directory.  Raises UnsoundError where one does not fit."""
    cursor = Cursor(blob, where.offset)
    end = where.offset + where.size
    for number in range(1, where.records + 1):
        if cursor.at + _ENTRY.size > end:
            raise _unfit(f"it ends after {number - 1:,} of {where.records:,} records")
        entry = _ENTRY.unpack(cursor.take(_ENTRY.size))
        if entry[0] != b"PK\x01\x02":
            raise _unfit(f"record {number:,} of {where.records:,} is none")
        flags, method, crc, size, full, offset = *entry[3:5], *entry[7:10], entry[16]
        if cursor.at + sum(entry[10:13]) > end:
            raise _unfit(f"it ends within record {number:,} of {where.records:,}")
        name, extra = cursor.take(entry[10]), cursor.take(entry[11])
        cursor.skip(entry[12])
        if _BIG in (size, full, offset):
            wide = _wide(extra, size=size, full=full, offset=offset)
            if wide is None:
                raise _unfit(f"record {number:,} has no ZIP64 field")
            size, offset = wide
        record = Record(name, offset, size, crc, method == 0 and not flags & _ENCRYPTED)
        if record.least_end > where.offset:
            raise _unfit(f"record {number:,} ends at {record.least_end:,}, past {where.offset:,}")
        yield record
    if cursor.at != end:
        raise _unfit(f"it has more than its {where.records:,} records")


def _unfit(text: str) -> UnsoundError:
    return UnsoundError(f"has a ZIP directory that does not fit: {text}")


def _find_end(tail: bytes) -> int | None:
    """Return where the last end record begins whose comment ends with the file.

    Without one the last that ends before: torch and zipfile read a file to which bytes were added.
    """
    fallback = None
    at = tail.rfind(_END_MARK)
    while at >= 0:
        rest = len(tail) - at - _END.size
        comment = _END.unpack_from(tail, at)[-1] if rest >= 0 else rest + 1
        if comment == rest:
            return at
        if comment < rest and fallback is None:
            fallback = at
        at = tail.rfind(_END_MARK, 0, at + len(_END_MARK) - 1)
    return fallback


def _read_end(blob: Blob, tail: bytes, tail_at: int, at: int) -> Directory | None:
    """Return what the end record says, or that of ZIP64 where there is one."""
    _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    locator_at = end - _LOCATOR.size
    if locator_at < 0:
        return Directory(offset, size, count, end)
    locator = _LOCATOR.unpack(read_exactly(blob, locator_at, _LOCATOR.size))
    if locator[0] != b"PK\x06\x07":
        return Directory(offset, size, count, end)
    place = locator[2]
    if place + _END64.size > locator_at:
        return None
    record = _END64.unpack(read_exactly(blob, place, _END64.size))
    if record[0] != b"PK\x06\x06":
        return None
    return Directory(offset=record[9], size=record[8], records=record[7], end=place)


def _wide(extra: bytes, *, size: int, full: int, offset: int) -> tuple[int, int] | None:
    """Return (compressed size, offset), those that did not fit from the ZIP64 field."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if kind == 1:
            numbers = [
                int.from_bytes(extra[place : place + 8], "little")
                for place in range(at, min(at + length, len(extra)) - 7, 8)
            ]
            if len(numbers) < [full, size, offset].count(_BIG):
                return None
            if full == _BIG:
                numbers.pop(0)
            size = numbers.pop(0) if size == _BIG else size
            return size, numbers.pop(0) if offset == _BIG else offset
        at += length
    return None
