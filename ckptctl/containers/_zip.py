"""ZIP, as torch.save, Keras and numpy write it: the directory at its end must be there and fit.

Source: PKWARE APPNOTE 6.3 (4.3.12 to 4.3.16).  Checksums are not looked at: torch may write files
without valid ones (pytorch, torch/serialization.py `set_crc32_options`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, CutError, read_exactly, torn
from ckptctl.reading import Blob

DIRECTORY_LIMIT = 128 * 2**20
"""Bytes of the largest directory that is read: more than a million records."""

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_FIELD = struct.Struct("<2H")
_LOCAL_SIZE = 30
_COMMENT_LIMIT = 0xFFFF
_END_MARK = b"PK\x05\x06"
_BIG = 0xFFFFFFFF  # in place of a number that is in the ZIP64 field


class _Directory(NamedTuple):
    """Where the directory lies, and how many records it has."""

    offset: int
    size: int
    records: int
    end: int  # it lies before this place


def check_zip(blob: Blob) -> Check:
    """Return whether a file that begins like a ZIP has its directory and all that this names."""
    try:
        tail_at = max(0, blob.size - _END.size - _COMMENT_LIMIT)
        tail = read_exactly(blob, tail_at, blob.size - tail_at)
        found = _find_end(tail)
        if found is None:
            return torn(f"has no ZIP end record: it was cut at {blob.size:,} bytes")
        where = _find_directory(blob, tail, tail_at, found)
        if where is None or where.offset + where.size > where.end:
            return torn("has a ZIP end record that names a directory outside the file")
        if not where.records:
            return torn("has a ZIP end record that names nothing")
        if where.size > DIRECTORY_LIMIT:
            return UNKNOWN
        if where.offset >= tail_at:
            records = tail[where.offset - tail_at :][: where.size]
        else:
            records = read_exactly(blob, where.offset, where.size)
    except CutError:
        return torn("was cut while it was read")
    wrong = _first_wrong(records, where)
    return torn(f"has a ZIP directory that does not fit: {wrong}") if wrong else WHOLE


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


def _find_directory(blob: Blob, tail: bytes, tail_at: int, at: int) -> _Directory | None:
    """Return what the end record says, or that of ZIP64 where there is one."""
    _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    locator_at = end - _LOCATOR.size
    if locator_at < 0:
        return _Directory(offset, size, count, end)
    locator = _LOCATOR.unpack(read_exactly(blob, locator_at, _LOCATOR.size))
    if locator[0] != b"PK\x06\x07":
        return _Directory(offset, size, count, end)
    place = locator[2]
    if place + _END64.size > locator_at:
        return None
    record = _END64.unpack(read_exactly(blob, place, _END64.size))
    if record[0] != b"PK\x06\x06":
        return None
    return _Directory(offset=record[9], size=record[8], records=record[7], end=place)


def _first_wrong(records: bytes, where: _Directory) -> str | None:
    """Return what is wrong with the first record that does not fit; None where all do."""
    at = 0
    for number in range(where.records):
        if at + _ENTRY.size > len(records):
            return f"it ends after {number:,} of {where.records:,} records"
        entry = _ENTRY.unpack_from(records, at)
        if entry[0] != b"PK\x01\x02":
            return f"record {number + 1:,} of {where.records:,} is none"
        size, full, name, extra, comment, offset = entry[8], entry[9], *entry[10:13], entry[16]
        after = at + _ENTRY.size + name + extra + comment
        if after > len(records):
            return f"it ends within record {number + 1:,} of {where.records:,}"
        if _BIG in (size, full, offset):
            field = records[at + _ENTRY.size + name :][:extra]
            wide = _wide(field, size=size, full=full, offset=offset)
            if wide is None:
                return f"record {number + 1:,} has no ZIP64 field"
            size, offset = wide
        if offset + _LOCAL_SIZE + name + size > where.offset:
            return f"record {number + 1:,} ends at {offset + size:,}, past {where.offset:,}"
        at = after
    return None if at == len(records) else f"it has more than its {where.records:,} records"


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
