"""ZIP, as torch.save, Keras and numpy write it: the directory at its end must be there and fit.

Checksums are not looked at: torch may write files without valid ones (pytorch,
torch/serialization.py `set_crc32_options`).  Nothing is ever decompressed.
"""

from __future__ import annotations

from array import array

from ckptctl.containers._check import WHOLE, Check, UnsoundError
from ckptctl.containers._zip_directory import find_directory, records_of
from ckptctl.reading import Blob

_SORT_LIMIT = 1 << 19  # records; of more only the sum of their sizes is looked at


def check_zip(blob: Blob) -> Check:
    """Return whether a file that begins like a ZIP has its directory and all that this names."""
    where = find_directory(blob)
    starts, ends = array("Q"), array("Q")
    total = 0
    for record in records_of(blob, where):
        total += record.least_end - record.offset
        if len(starts) < _SORT_LIMIT:
            starts.append(record.offset)
            ends.append(record.least_end)
    if total > where.offset or (where.records <= _SORT_LIMIT and _overlap(starts, ends)):
        raise UnsoundError("has a ZIP directory that names the same bytes twice")
    return WHOLE


def _overlap(starts: array[int], ends: array[int]) -> bool:
    """Whether two of the spans share a byte: each must end before the next in order begins.

    Sorted on their own, starts and ends of spans that share none still belong together.
    """
    return any(end > start for end, start in zip(sorted(ends), sorted(starts)[1:], strict=False))
