"""The msgpack of Flax: whether a file ends with its object, and which arrays lie elsewhere.

Source: the msgpack specification, "Formats"; flax, serialization.py `msgpack_serialize` and
training/checkpoints.py `_split_mp_arrays`: a state is maps of maps with text keys; an array of
several processes is a text there, and lies in a directory beside the file.
"""

from __future__ import annotations

from typing import NamedTuple

from ckptctl.reading import Blob

ELSEWHERE = b"//GDAPlaceholder:"
HEAD = 16
"""Bytes by which a state is told from another file."""

_OBJECTS = 300_000  # of one file that are looked at: a second's work; a state has some thousands
_TEXT_LIMIT = 4096
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
_ARRAY = range(1, 4)  # kinds of Flax's extensions: array, complex number, scalar


class _Object(NamedTuple):
    """The head of one object."""

    head: int  # its bytes
    payload: int = 0
    holds: int = 0  # objects
    text: bool = False


def begins_state(head: bytes) -> bool:
    """Whether a file begins as a state does: a map with a text as its first key, or one array."""
    try:
        first = _object(head)
        if first.holds and (head[0] & 0xF0 == 0x80 or head[0] in {0xDE, 0xDF}):  # noqa: PLR2004 - maps
            return _object(head[first.head :]).text
        if head[0] in {0xC7, 0xC8, 0xC9}:
            return head[first.head - 1] in _ARRAY
        return first.text and head[first.head :].startswith(ELSEWHERE[: HEAD - first.head])
    except (IndexError, ValueError):
        return False


def read_state(blob: Blob) -> list[str] | None:
    """Return where, below the directory beside it, a state has its arrays; None where it is too long.

    ValueError where its object does not end with the file.  Depth costs nothing: what counts is how
    many objects are still to come.
    """
    found: list[str] = []
    piece, piece_at = b"", 0
    at, coming = 0, 1
    for _ in range(_OBJECTS):
        if not coming:
            break
        if not piece_at <= at or at + HEAD > piece_at + len(piece):
            piece, piece_at = blob.read(at, _PIECE), at
        try:
            one = _object(piece[at - piece_at :][:HEAD])
        except IndexError:
            raise ValueError(f"was cut at {blob.size:,} bytes, within its msgpack") from None
        if one.text and len(ELSEWHERE) <= one.payload <= _TEXT_LIMIT:
            text = blob.read(at + one.head, one.payload)
            if text.startswith(ELSEWHERE):
                found.append(text[len(ELSEWHERE) :].decode("utf-8", "replace"))
        at += one.head + one.payload
        coming += one.holds - 1
        if at + coming > blob.size:  # each takes a byte at least
            raise ValueError(f"was cut at {blob.size:,} bytes, {coming:,} objects before its end")
    if coming:
        return None
    if at < blob.size:
        raise ValueError(f"has {blob.size:,} bytes, but its msgpack ends after {at:,}")
    return found


def _object(head: bytes) -> _Object:
    """Return what the head of an object says.  IndexError where it is cut off, ValueError for none."""
    first = head[0]
    if first <= 0x7F or first >= 0xE0:  # noqa: PLR2004 - a small number
        return _Object(1)
    if first <= 0x8F:  # noqa: PLR2004 - a small map
        return _Object(1, holds=2 * (first & 0x0F))
    if first <= 0x9F:  # noqa: PLR2004 - a small list
        return _Object(1, holds=first & 0x0F)
    if first <= 0xBF:  # noqa: PLR2004 - a short text
        return _Object(1, first & 0x1F, text=True)
    if first in _FIXED:
        return _Object(1, _FIXED[first])
    if first in _COUNTED:
        width, each = _COUNTED[first]
        return _Object(1 + width, holds=each * _number(head, width))
    if first not in _SIZED:
        raise ValueError(f"is no msgpack: nothing begins with byte {first:#x}")
    width = _SIZED[first]
    extension = first in {0xC7, 0xC8, 0xC9}
    return _Object(1 + width + extension, _number(head, width), text=first >= 0xD9)  # noqa: PLR2004 - texts


def _number(head: bytes, width: int) -> int:
    _ = head[width]  # it is all there
    return int.from_bytes(head[1 : 1 + width], "big")
