"""GGUF, as llama.cpp and what exports to it write: each tensor's place is in the head.

Source: ggml, docs/gguf.md; llama.cpp, gguf-py/gguf/constants.py (`GGML_QUANT_SIZES`).
"""

from __future__ import annotations

from ckptctl.containers._check import UNKNOWN, WHOLE, BeyondError, Check, Cursor, UnsoundError, torn
from ckptctl.reading import Blob

_ITEM_LIMIT = 2_000_000  # texts, keys and tensors: some 2 seconds
_NAME_LIMIT = 1 << 16
_VERSIONS = frozenset({2, 3})
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _ARRAY = 8, 9
_ALIGNMENT = b"general.alignment"
_MAX_DIMENSIONS = 8  # ggml has 4

_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip
"""Type of a tensor -> (items of a block, its bytes); those whose size differs by version are not in."""


def check_gguf(blob: Blob) -> Check:
    """Return whether all tensors that the head describes lie within the file."""
    cursor = Cursor(blob, 4)
    version = cursor.number(4)
    if version not in _VERSIONS:
        return UNKNOWN  # of another age, or big-endian
    tensors, pairs = cursor.number(8), cursor.number(8)
    if tensors + pairs > blob.size:
        raise UnsoundError(f"says that it holds {tensors:,} tensors and {pairs:,} keys")
    if tensors + pairs > _ITEM_LIMIT:
        return UNKNOWN
    alignment = _skip_pairs(cursor, pairs)
    known, end = True, 0
    for _ in range(tensors):
        offset, size = _tensor(cursor)
        known = known and size is not None
        end = max(end, offset + (size or 0))
    start = _aligned(cursor.at, alignment)
    if tensors and start + end > blob.size:
        return torn(f"was cut at {blob.size:,} bytes: its tensors end at {start + end:,}")
    if not known:
        return UNKNOWN
    return WHOLE if blob.size <= _aligned(start + end, alignment) else UNKNOWN


def _skip_pairs(cursor: Cursor, pairs: int) -> int:
    """Move past the keys and their values; return the alignment of what follows."""
    alignment, items = 32, 0
    for _ in range(pairs):
        key = cursor.take(_length(cursor))
        kind, count = cursor.number(4), 1
        if kind == _ARRAY:
            kind, count = cursor.number(4), cursor.number(8)
        if key == _ALIGNMENT and kind == 4:  # noqa: PLR2004 - a number of four bytes
            alignment = cursor.number(4)
        elif kind in _WIDTHS:
            cursor.skip(_WIDTHS[kind] * count)
        elif kind == _TEXT:
            items += count
            if items > _ITEM_LIMIT:
                raise BeyondError
            for _ in range(count):
                cursor.skip(cursor.number(8))
        elif kind == _ARRAY:  # of arrays: allowed, and written by nobody
            raise BeyondError
        else:
            raise UnsoundError(f"has a GGUF value of type {kind}, which there is not")
    if not 0 < alignment <= _NAME_LIMIT:
        raise UnsoundError(f"says that its tensors are aligned to {alignment:,} bytes")
    return alignment


def _tensor(cursor: Cursor) -> tuple[int, int | None]:
    """Return the place of the next tensor, and its bytes where its type is known."""
    cursor.skip(_length(cursor))
    dimensions = cursor.number(4)
    if dimensions > _MAX_DIMENSIONS:
        raise UnsoundError(f"has a tensor of {dimensions:,} dimensions")
    count = 1
    for _ in range(dimensions):
        count *= cursor.number(8)
    block = _BLOCKS.get(cursor.number(4))
    offset = cursor.number(8)
    return offset, None if block is None else -(-count // block[0]) * block[1]


def _length(cursor: Cursor) -> int:
    length = cursor.number(8)
    if length > _NAME_LIMIT:
        raise UnsoundError(f"has a name of {length:,} bytes")
    return length


def _aligned(at: int, to: int) -> int:
    return -(-at // to) * to
