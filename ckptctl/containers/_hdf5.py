"""HDF5, as Keras writes it: the superblock says where the file ends.

Source: the HDF5 file format specification 3.0, "Disk Format: Level 0A"; HDF5's own H5Fsuper.c
refuses a file that is shorter than the end that it states, and one whose superblock does not hash
to the checksum in it (H5checksum.c, `H5_checksum_lookup3`, which is Jenkins' lookup3).
"""

from __future__ import annotations

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, UnsoundError, torn
from ckptctl.reading import Blob

_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_ADDRESSES = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}
"""Superblock version -> (where the size of an address stands, where the addresses begin)."""

_KNOWN_TO_COME = 8  # versions that may be written some day; what is above is garbage
_WIDTHS = frozenset({2, 4, 8, 16, 32})
_CHECKED = 44  # bytes of a superblock of version 2 or 3, with addresses of 8, before its checksum
_FLAGS_AT = 11
_OPEN_FOR_WRITING = 1
_SUPERBLOCK = 64  # bytes that hold one of any version, as far as it is looked at
_MASK = 0xFFFFFFFF


def check_hdf5(blob: Blob) -> Check:
    """Return whether a file that begins with an HDF5 superblock ends where it says.

    One that is longer was not closed, or is written to: that is no proof either way.
    """
    size = blob.size
    head = blob.read(0, min(_SUPERBLOCK, size))
    if len(head) < 9 or (len(head) < _SUPERBLOCK and head[8] in _ADDRESSES):  # noqa: PLR2004 - a superblock
        return torn(f"was cut after {size} bytes, within its HDF5 superblock")
    version = head[8]
    if version not in _ADDRESSES:
        if version > _KNOWN_TO_COME:
            raise UnsoundError(f"has an HDF5 superblock of version {version}, which there is not")
        return UNKNOWN
    width_at, at = _ADDRESSES[version]
    width = head[width_at]
    if width not in _WIDTHS or head[width_at + 1] not in _WIDTHS:
        raise UnsoundError("has an HDF5 superblock that makes no sense")
    if width != 8:  # noqa: PLR2004 - the only one in use
        return UNKNOWN
    if version in {2, 3} and _lookup3(head[:_CHECKED]) != head[_CHECKED : _CHECKED + 4]:
        raise UnsoundError("has an HDF5 superblock that does not hash to its checksum")
    if version == 3 and head[_FLAGS_AT] & _OPEN_FOR_WRITING:  # noqa: PLR2004 - as the specification
        raise UnsoundError("was not closed: its HDF5 superblock says that it is being written")
    base, _, end = (int.from_bytes(head[at + 8 * i : at + 8 * i + 8], "little") for i in range(3))
    if base != 0 or end == _UNDEFINED:
        return UNKNOWN
    if size < end:
        return torn(f"was cut at {size:,} bytes: its HDF5 superblock says {end:,}")
    return WHOLE if size == end else UNKNOWN


def _lookup3(data: bytes) -> bytes:
    """Return Bob Jenkins' lookup3 (`hashlittle`, initial value 0), in four little-endian bytes."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    while len(words) > 3:  # noqa: PLR2004 - as the algorithm
        a, b, c = (a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK
        del words[:3]
        for turn in (4, 6, 8, 16, 19, 4):
            a = ((a - c) & _MASK) ^ _rotate(c, turn)
            c = (c + b) & _MASK
            a, b, c = b, c, a
    a, b, c = (x + y & _MASK for x, y in zip((a, b, c), [*words, 0, 0, 0], strict=False))
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, turn)) & _MASK
        a, b, c = b, c, a
    return b.to_bytes(4, "little")


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & _MASK
