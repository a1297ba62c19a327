"""NumPy's `.npy`: the header says how many items of which size follow.

Source: numpy, numpy/lib/format.py (the docstring, "Format Version 1.0" to "3.0").  An `.npz` is a
ZIP, and looked at as one.
"""

from __future__ import annotations

import re

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, UnsoundError, read_exactly, torn
from ckptctl.reading import Blob

_HEADER_LIMIT = 1 << 16  # numpy itself takes 10,000 characters
_VERSIONS = {1: 2, 2: 4, 3: 4}  # version -> bytes of the header's length
_HEADER = re.compile(
    rb"\{'descr': '[<>|=]?([?bBiufcmMSaUV])([0-9]{0,18})(?:\[[^']{1,9}\])?',"
    rb" 'fortran_order': (?:True|False), 'shape': \(((?:[0-9]{1,18},? ?){0,64})\),? *\} *\n?"
)
_WIDE = {"U": 4}  # bytes of one of what the number after the letter counts, where it is not one


def check_npy(blob: Blob) -> Check:
    """Return whether the array that the header describes is there in full.

    What follows it may be another array: then nothing is said.  Of an array of objects, which is a
    pickle, or of records, nothing is known.
    """
    width = _VERSIONS.get(read_exactly(blob, 6, 2)[0])
    if width is None:
        return UNKNOWN
    length = int.from_bytes(read_exactly(blob, 8, width), "little")
    if length > _HEADER_LIMIT:
        return UNKNOWN if 8 + width + length <= blob.size else torn(_cut(blob.size, length))
    text = read_exactly(blob, 8 + width, length)
    if not text.lstrip().startswith(b"{"):
        raise UnsoundError("has a NumPy header that describes nothing")
    found = _HEADER.fullmatch(text)
    if not found:
        return UNKNOWN
    expected = int(found[2] or 1) * _WIDE.get(found[1].decode(), 1)
    for size in found[3].replace(b",", b" ").split():
        expected *= int(size)
    expected += 8 + width + length
    if blob.size < expected:
        return torn(_cut(blob.size, expected))
    return WHOLE if blob.size == expected else UNKNOWN


def _cut(size: int, expected: int) -> str:
    return f"was cut at {size:,} bytes: its NumPy header says {expected:,}"
