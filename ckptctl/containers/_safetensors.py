"""safetensors: the header says exactly how long the file is.

Source: huggingface/safetensors, README ("Format") and safetensors/src/tensor.rs: eight bytes N
(little-endian), N bytes of JSON that begins with `{`, then the tensors, which cover the rest
without hole or overlap.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, CutError, read_exactly, torn
from ckptctl.reading import Blob

HEADER_LIMIT = 100_000_000
"""Bytes of the largest header that the library itself reads (`MAX_HEADER_SIZE`)."""

_READ_LIMIT = 16 * 2**20  # some 150,000 tensors; what is longer is not read
_ITEM_LIMIT = 2_000_000  # commas and brackets: they bound what parsing takes


def check_safetensors(blob: Blob) -> Check:
    """Return whether the file is as long as its header says, and the header is sound."""
    try:
        length = int.from_bytes(read_exactly(blob, 0, 8), "little")
        if length > HEADER_LIMIT:
            return torn(f"is no safetensors: it says that its header has {length:,} bytes")
        if 8 + length <= blob.size and length > _READ_LIMIT:
            return UNKNOWN
        header = read_exactly(blob, 8, length)
    except CutError:
        return torn(f"was cut at {blob.size:,} bytes, within its header")
    if sum(map(header.count, (b",", b"[", b"{"))) > _ITEM_LIMIT:
        return UNKNOWN
    try:
        expected = 8 + length + _end_of(header)
    except (ValueError, RecursionError) as error:
        return torn(f"has a header that is not sound: {error}")
    if blob.size == expected:
        return WHOLE
    cut = "was cut at" if blob.size < expected else "has"
    return torn(f"{cut} {blob.size:,} bytes, but its header says {expected:,}")


def _end_of(header: bytes) -> int:
    """Return the bytes of tensors that a header describes; ValueError where it is not sound."""
    if not header.startswith(b"{"):
        raise ValueError("it does not begin with {")
    content = json.loads(header.decode("utf-8"))
    spans = sorted(
        _span_of(name, tensor) for name, tensor in content.items() if name != "__metadata__"
    )
    at = 0
    for start, end in spans:
        if start != at:
            raise ValueError(f"its tensors {'overlap' if start < at else 'leave a hole'} at {at:,}")
        at = end
    return at


def _span_of(name: str, tensor: object) -> tuple[int, int]:
    """Return where the bytes of one tensor begin and end."""
    offsets = tensor.get("data_offsets") if isinstance(tensor, Mapping) else None
    if isinstance(offsets, list) and [type(number) for number in offsets] == [int, int]:
        start, end = offsets
        if 0 <= start <= end:
            return start, end
    raise ValueError(f"{name[:80]!r} has no data_offsets")
