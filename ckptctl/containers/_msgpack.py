"""msgpack, as Flax writes it: one map of maps that ends exactly with the file.

Source: the msgpack specification (spec.md, "Formats"); flax/serialization.py
`msgpack_serialize`: a state is one map whose leaves are extension types that hold the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptctl.containers._check import WHOLE, BeyondError, Check, UnsoundError
from ckptctl.reading import Blob

_OBJECT_LIMIT = 300_000
"""Objects of a file that are looked at: a second's work; a state has some thousands."""

_HEAD = 6
"""Bytes of the longest head."""

_PIECE = 4096

_FIXED = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
    0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
"""First byte -> bytes of payload."""

_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First byte -> bytes of the payload's length."""

_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""First byte -> (bytes of the count, objects for each)."""


class Object(NamedTuple):
    """What the head of one object says."""

    head: int  # its bytes, the kind of an extension among them
    payload: int = 0  # bytes that follow
    holds: int = 0  # objects that follow
    text: bool = False
    map: bool = False
    kind: int | None = None  # of an extension that says its length


def check_msgpack(blob: Blob) -> Check:
    """Return whether the object with which the file begins ends with the file."""
    for _ in msgpack_objects(blob):
        pass
    return WHOLE


def msgpack_objects(blob: Blob) -> Iterator[tuple[int, Object]]:
    """Yield each object of a file, with the place of its payload.

    Raises UnsoundError where the first one does not end with the file, and BeyondError where there
    are too many.  Depth costs nothing: what counts is how many objects are still to come.
    """
    piece, piece_at = b"", 0
    at, coming = 0, 1
    cut = f"was cut at {blob.size:,} bytes, within its msgpack"
    for _ in range(_OBJECT_LIMIT):
        if not coming:
            break
        if not piece_at <= at or at + _HEAD > piece_at + len(piece):
            piece, piece_at = blob.read(at, _PIECE), at
        try:
            one = msgpack_object(piece[at - piece_at :][:_HEAD])
        except IndexError:
            raise UnsoundError(cut) from None
        yield at + one.head, one
        at += one.head + one.payload
        coming += one.holds - 1
        if at + coming > blob.size:  # each takes a byte at least
            raise UnsoundError(cut)
    if coming:
        raise BeyondError
    if at < blob.size:
        raise UnsoundError(f"has {blob.size:,} bytes, but its msgpack ends after {at:,}")


def msgpack_object(head: bytes) -> Object:
    """Return what the head of an object says.

    Raises IndexError where it is cut off, UnsoundError where nothing begins so.
    """
    first = head[0]
    if first <= 0x7F or first >= 0xE0:  # noqa: PLR2004 - a small number
        return Object(1)
    if first <= 0x8F:  # noqa: PLR2004 - a small map
        return Object(1, holds=2 * (first & 0x0F), map=True)
    if first <= 0x9F:  # noqa: PLR2004 - a small list
        return Object(1, holds=first & 0x0F)
    if first <= 0xBF:  # noqa: PLR2004 - a short text
        return Object(1, first & 0x1F, text=True)
    if first in _FIXED:
        return Object(1, _FIXED[first])
    if first in _COUNTED:
        width, each = _COUNTED[first]
        return Object(1 + width, holds=each * _number(head, width), map=each > 1)
    if first not in _SIZED:
        raise UnsoundError(f"is no msgpack: nothing begins with byte {first:#x}")
    width = _SIZED[first]
    payload = _number(head, width)
    if first in {0xC7, 0xC8, 0xC9}:
        return Object(2 + width, payload, kind=head[1 + width])
    return Object(1 + width, payload, text=first >= 0xD9)  # noqa: PLR2004 - texts


def begins_with_text_key(head: bytes) -> bool:
    """Whether a file begins like a map whose first key is a text, as no pickle and no text does."""
    try:
        first = msgpack_object(head)
        key = msgpack_object(head[first.head :])
        begin = head[first.head + key.head]
    except (IndexError, UnsoundError):
        return False
    return first.map and first.holds > 0 and key.text and key.payload > 0 and begin >= ord(" ")


def _number(head: bytes, width: int) -> int:
    _ = head[width]  # it is all there
    return int.from_bytes(head[1 : 1 + width], "big")
