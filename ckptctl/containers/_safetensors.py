"""safetensors: the header says exactly how long the file is.

Source: huggingface/safetensors, README ("Format") and safetensors/src/tensor.rs: eight bytes N
(little-endian), N bytes of JSON that begins with `{`, then the tensors, which cover the rest
without hole or overlap, each as long as its type and shape say.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, UnsoundError, read_exactly, torn
from ckptctl.reading import Blob

HEADER_LIMIT = 100_000_000
"""Bytes of the largest header that the library itself reads (`MAX_HEADER_SIZE`)."""

_READ_LIMIT = 16 * 2**20  # some 150,000 tensors; what is longer is not read
_TENSOR_LIMIT = 1 << 16  # characters that describe one tensor
_NAME_SHOWN = 80
_DECODER = json.JSONDecoder()
_LAST = 2**63
_MARK = re.compile(r"[ \t\n\r]*([{}:,])[ \t\n\r]*")
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def check_safetensors(blob: Blob) -> Check:
    """Return whether the file is as long as its header says, and the header is sound."""
    length = int.from_bytes(read_exactly(blob, 0, 8), "little")
    if length > HEADER_LIMIT:
        return torn(f"is no safetensors: it says that its header has {length:,} bytes")
    if 8 + length > blob.size:
        return torn(f"was cut at {blob.size:,} bytes, within its header")
    if length > _READ_LIMIT:
        if read_exactly(blob, 8, 1) != b"{":
            raise UnsoundError("has a header that is not sound: it does not begin with {")
        return UNKNOWN
    try:
        expected = 8 + length + _end_of(read_exactly(blob, 8, length).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnsoundError(f"has a header that is not sound: {error}") from error
    if blob.size == expected:
        return WHOLE
    cut = "was cut at" if blob.size < expected else "has"
    return torn(f"{cut} {blob.size:,} bytes, but its header says {expected:,}")


def _end_of(header: str) -> int:
    """Return the bytes of tensors that a header describes; ValueError where it is not sound."""
    at = 0
    for span in sorted(_spans(header)):  # both numbers in one: half the memory of pairs
        start, end = span >> 64, span & (2**64 - 1)
        if start != at:
            raise ValueError(f"its tensors {'overlap' if start < at else 'leave a hole'} at {at:,}")
        at = end
    return at


def _spans(text: str) -> Iterator[int]:
    """Yield the place of each tensor as start * 2**64 + end; the header never becomes one tree."""
    if not text.startswith("{"):
        raise ValueError("it does not begin with {")
    header = _Header(text)
    for name in header.members():
        if name == "__metadata__":
            for _ in header.members():
                header.string()
            continue
        stop = text.find("}", header.at, header.at + _TENSOR_LIMIT) + 1
        start, end = _span_of(name, _DECODER.decode(text[header.at : stop]))
        header.at = stop
        yield start << 64 | end
    if header.at != len(text):
        raise ValueError("something follows it")


class _Header:
    """The JSON of a header, and the place up to which it was understood."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def members(self) -> Iterator[str]:
        """Yield each key of the object that begins here; the caller moves past its value."""
        self._mark("{")
        last = self._mark("}") if self.text.startswith("}", self.at) else ","
        while last == ",":
            key = self.string()
            self._mark(":")
            yield key
            last = self._mark(",}")

    def string(self) -> str:
        """Take a text; ValueError where there is none."""
        if not self.text.startswith('"', self.at):
            raise ValueError(f"no text stands at {self.at:,}")
        value, self.at = _DECODER.raw_decode(self.text, self.at)
        return str(value)

    def _mark(self, wanted: str) -> str:
        """Take one of the marks and the space around it; ValueError where something else comes."""
        found = _MARK.match(self.text, self.at)
        if not found or found[1] not in wanted:
            raise ValueError(f"no {' or '.join(wanted)} stands at {self.at:,}")
        self.at = found.end()
        return found[1]


def _span_of(name: str, tensor: object) -> tuple[int, int]:
    """Return where the bytes of one tensor begin and end."""
    said = tensor if isinstance(tensor, Mapping) else {}
    offsets = _numbers(said.get("data_offsets"))
    if offsets is None or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        raise ValueError(f"{name[:_NAME_SHOWN]!r} has no data_offsets")
    start, end = offsets
    if not start <= end <= _LAST:
        raise ValueError(f"{name[:_NAME_SHOWN]!r} lies where nothing can be")
    bits = _BITS.get(str(said.get("dtype")))
    shape = _numbers(said.get("shape"))
    if bits and shape is not None and math.prod(shape) * bits != (end - start) * 8:
        raise ValueError(f"{name[:_NAME_SHOWN]!r} has {end - start:,} bytes, but another shape")
    return start, end


def _numbers(value: object) -> list[int] | None:
    """Return a JSON array of numbers that are whole and not negative; None for anything else."""
    if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
        return value
    return None
