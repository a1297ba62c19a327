"""A state of Flax in msgpack: how it begins, and which arrays lie elsewhere.

Source: flax, serialization.py `msgpack_serialize` and training/checkpoints.py `_split_mp_arrays`: a
state is maps of maps with text keys; an array of several processes is a text there, and lies in a
directory beside the file.
"""

from __future__ import annotations

from ckptctl.containers import BeyondError, UnsoundError, msgpack_object, msgpack_objects
from ckptctl.reading import Blob

ELSEWHERE = b"//GDAPlaceholder:"
HEAD = 16
"""Bytes by which a state is told from another file."""

_TEXT_LIMIT = 4096
_ARRAY = range(1, 4)  # kinds of Flax's extensions: array, complex number, scalar


def begins_state(head: bytes) -> bool:
    """Whether a file begins as a state does: a map with a text as its first key, or one array."""
    try:
        first = msgpack_object(head)
        if first.map and first.holds:
            return msgpack_object(head[first.head :]).text
    except (IndexError, UnsoundError):
        return False
    elsewhere = head[first.head :].startswith(ELSEWHERE[: HEAD - first.head])
    return first.kind in _ARRAY or (first.text and elsewhere)


def read_state(blob: Blob) -> list[str] | None:
    """Return where, below the directory beside it, a state has its arrays; None where it is too long.

    Raises UnsoundError where its object does not end with the file.
    """
    found: list[str] = []
    try:
        for at, one in msgpack_objects(blob):
            if one.text and len(ELSEWHERE) <= one.payload <= _TEXT_LIMIT:
                text = blob.read(at, one.payload)
                if text.startswith(ELSEWHERE):
                    found.append(text[len(ELSEWHERE) :].decode("utf-8", "replace"))
    except BeyondError:
        return None
    return found
