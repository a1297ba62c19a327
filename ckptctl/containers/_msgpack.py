"""msgpack, as Flax writes it: one map of maps that ends exactly with the file.

Source: the msgpack specification (spec.md, "Formats"); flax/serialization.py
`msgpack_serialize`: a state is one map whose leaves are extension types that hold the arrays.
"""

from __future__ import annotations

from ckptctl.containers._check import WHOLE, BeyondError, Check, Cursor, UnsoundError, torn
from ckptctl.reading import Blob

_OBJECT_LIMIT = 1_000_000
"""Objects of the largest file that is walked, at a million a second; a state has some thousands."""

_FIXED = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
    0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
"""First byte -> bytes that follow."""

_SIZED = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),  # bin
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),  # ext, with its type
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),  # str
}  # fmt: skip
"""First byte -> (bytes of the length that follows, bytes beside the payload)."""

_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""First byte -> (bytes of the count that follows, objects for each)."""


def begins_state(head: bytes) -> bool:
    """Whether a file begins like a map with text keys: Flax's `checkpoint_N` has no suffix."""
    if head[:1] in {b"\xde", b"\xdf"}:
        key = head[3:5] if head[0] == 0xDE else head[5:7]  # noqa: PLR2004 - map 16
    else:
        key = head[1:3] if head and 0x81 <= head[0] <= 0x8F else b""  # noqa: PLR2004 - a fixed map
    return len(key) == 2 and (0xA1 <= key[0] <= 0xBF or key[0] == 0xD9) and key[1] >= 0x20  # noqa: PLR2004 - a text


def check_msgpack(blob: Blob) -> Check:
    """Return whether the object with which the file begins ends with the file.

    Depth costs nothing: what counts is how many objects are still to come.
    """
    cursor = Cursor(blob, piece=4096)
    coming, seen = 1, 0
    while coming:
        if cursor.at + coming > blob.size:  # each takes a byte at least
            return torn(f"was cut at {blob.size:,} bytes, {coming:,} objects before its end")
        seen += 1
        if seen > _OBJECT_LIMIT:
            raise BeyondError
        coming += _step(cursor) - 1
    if cursor.at == blob.size:
        return WHOLE
    return torn(f"has {blob.size:,} bytes, but its object ends after {cursor.at:,}")


def _step(cursor: Cursor) -> int:
    """Move past one object's head and payload; return how many objects it holds."""
    first = cursor.number(1)
    if first <= 0x7F or first >= 0xE0:  # noqa: PLR2004 - a small number
        return 0
    if first <= 0x8F:  # noqa: PLR2004 - a small map
        return 2 * (first & 0x0F)
    if first <= 0x9F:  # noqa: PLR2004 - a small array
        return first & 0x0F
    if first <= 0xBF:  # noqa: PLR2004 - a short text
        cursor.skip(first & 0x1F)
    elif first in _FIXED:
        cursor.skip(_FIXED[first])
    elif first in _SIZED:
        width, more = _SIZED[first]
        cursor.skip(cursor.number(width, "big") + more)
    elif first in _COUNTED:
        width, each = _COUNTED[first]
        return cursor.number(width, "big") * each
    else:
        raise UnsoundError(f"is no msgpack: nothing begins with byte {first:#x}")
    return 0
