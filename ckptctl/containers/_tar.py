"""tar, as NeMo and Composer write it: a chain of headers that ends in two blocks of zeros.

Source: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar, "Basic Tar
Format"; Python's tarfile, which the frameworks write with.
"""

from __future__ import annotations

import re

from ckptctl.containers._check import UNKNOWN, WHOLE, BeyondError, Check, Cursor, UnsoundError, torn
from ckptctl.patterns import later
from ckptctl.reading import Blob

BLOCK = 512
_ZEROS = bytes(BLOCK)
_MEMBER_LIMIT = 20_000  # each is a read of its own
_PADDING_LIMIT = 1 << 20  # of a record: 10 KiB, with large blocking factors more
_PAX_LIMIT = 1 << 20
_PAX_SIZE = later(rb"(?:^|\n)[0-9]{1,6} size=([0-9]{1,19})\n")
_WITHOUT_DATA = b"123456"  # links, devices, directories, FIFOs
_SPARSE = b"S"


def check_tar(blob: Blob) -> Check:
    """Return whether the headers lead from one to the next, up to the end mark.

    Extended headers are heard for a size that the old header cannot hold.
    """
    cursor = Cursor(blob, piece=BLOCK)
    wide: int | None = None
    for _ in range(_MEMBER_LIMIT):
        if cursor.at == blob.size:
            return torn(f"was cut at {blob.size:,} bytes: its tar end mark is missing")
        header = cursor.take(BLOCK)
        if header == _ZEROS:
            return _check_end(cursor, blob)
        size = size_of(header)
        kind = header[156:157]
        if kind == _SPARSE:
            raise BeyondError
        if kind == b"x" and size <= _PAX_LIMIT:
            found = _PAX_SIZE.search(cursor.take(_padded(size)))
            wide = int(found[1]) if found else wide
            continue
        if kind not in b"xgLK":
            size, wide = size if wide is None else wide, None
        cursor.skip(0 if kind in _WITHOUT_DATA else _padded(size))
    raise BeyondError


def size_of(header: bytes) -> int:
    """Return the size in a header.  Raises UnsoundError where it is none, or does not add up."""
    stated = _number(header[148:156])
    if stated != sum(header[:148]) + 256 + sum(header[156:]):
        raise UnsoundError("has a tar header that does not add up to its checksum")
    return _number(header[124:136])


def _number(field: bytes) -> int:
    """Return a number in octal digits, or in the binary form of GNU tar."""
    if field[0] == 0x80:  # noqa: PLR2004 - the mark of the binary form
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if not re.fullmatch(rb"[0-7]*", digits):
        raise UnsoundError("has a tar header with a number that is none")
    return int(digits or b"0", 8)


def _check_end(cursor: Cursor, blob: Blob) -> Check:
    if blob.size < cursor.at + BLOCK:
        return torn(f"was cut at {blob.size:,} bytes, within its tar end mark")
    second = cursor.take(BLOCK)
    rest = blob.size - cursor.at
    if second != _ZEROS or rest > _PADDING_LIMIT:
        return UNKNOWN  # another archive, or a hole: what follows is not looked through
    return WHOLE


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
