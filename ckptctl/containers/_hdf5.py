"""HDF5, as Keras writes it: the superblock says where the file ends.

Source: the HDF5 file format specification 3.0, "Disk Format: Level 0A"; HDF5's own H5Fsuper.c
refuses a file that is shorter than the end that it states.
"""

from __future__ import annotations

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, torn

_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_ADDRESSES = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}
"""Superblock version -> (where the size of an address stands, where the addresses begin)."""


def check_hdf5(head: bytes, size: int) -> Check:
    """Return whether a file of `size` bytes that begins with an HDF5 superblock ends where it says.

    One that is longer was not closed, or is written to: that is no proof either way.
    """
    if len(head) < 9 or (len(head) < 64 and head[8] in _ADDRESSES):  # noqa: PLR2004 - a superblock
        return torn(f"was cut after {size} bytes, within its HDF5 superblock")
    if head[8] not in _ADDRESSES:
        return UNKNOWN
    width_at, at = _ADDRESSES[head[8]]
    width = head[width_at]
    if width != 8:  # noqa: PLR2004 - the only one in use
        return UNKNOWN
    base, _, end = (int.from_bytes(head[at + 8 * i : at + 8 * i + 8], "little") for i in range(3))
    if base != 0 or end == _UNDEFINED:
        return UNKNOWN
    if size < end:
        return torn(f"was cut at {size:,} bytes: its HDF5 superblock says {end:,}")
    return WHOLE if size == end else UNKNOWN
