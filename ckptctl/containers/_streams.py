"""Compressed streams, as Composer writes them: what their heads and tails tell, which is not much.

Only a start that makes no sense, or an end that is none, is told; what lies between cannot be known
without reading it all.  Source: RFC 1952 (gzip); lz4_Frame_format.md; xz-file-format.txt.
"""

from __future__ import annotations

import zlib

from ckptctl.containers._check import (
    HEAD,
    UNKNOWN,
    Check,
    CutError,
    UnsoundError,
    read_exactly,
    torn,
)
from ckptctl.containers._tar import BLOCK, size_of
from ckptctl.reading import Blob

_GZIP_LEAST = 18
_LZ4_LEAST = 11
_LZ4_CHECKSUM = 0x04
_LZ4_SIZE = 0x08
_XZ_LEAST = 32
_XZ_FOOTER = b"YZ"


def check_gzip(blob: Blob) -> Check:
    """Return whether a gzip file begins like one; that it ends like one cannot be told."""
    _begin(blob)
    return UNKNOWN


def check_tar_gzip(blob: Blob) -> Check:
    """Return whether a gzipped tar begins and ends like one.

    A gzip file ends in the size of its content, and a tar is whole blocks: of all cut files one in
    512 has such an end.
    """
    begin = _begin(blob)
    if len(begin) == BLOCK:
        size_of(begin)
        if int.from_bytes(read_exactly(blob, blob.size - 4, 4), "little") % BLOCK:
            return torn(f"was cut at {blob.size:,} bytes: a gzipped tar does not end so")
    return UNKNOWN


def check_lz4(blob: Blob) -> Check:
    """Return whether an lz4 frame ends in its end mark."""
    (flags,) = read_exactly(blob, 4, 1)
    after = 4 if flags & _LZ4_CHECKSUM else 0
    if blob.size < _LZ4_LEAST + after + (8 if flags & _LZ4_SIZE else 0):
        raise CutError
    if any(read_exactly(blob, blob.size - after - 4, 4)):
        return torn(f"was cut at {blob.size:,} bytes: its lz4 end mark is missing")
    return UNKNOWN


def check_xz(blob: Blob) -> Check:
    """Return whether an xz file ends in a footer; zeros may follow it."""
    if blob.size < _XZ_LEAST:
        raise CutError
    tail = blob.read(max(0, blob.size - HEAD), HEAD).rstrip(b"\0")
    if tail and not tail.endswith(_XZ_FOOTER):
        return torn(f"was cut at {blob.size:,} bytes: its xz footer is missing")
    return UNKNOWN


def _begin(blob: Blob) -> bytes:
    """Return the first block of what a gzip file holds, less where its head has less."""
    if blob.size < _GZIP_LEAST:
        raise CutError
    stream = zlib.decompressobj(wbits=31)
    head = blob.read(0, HEAD)
    try:
        begin = stream.decompress(head, BLOCK)
    except zlib.error as error:
        raise UnsoundError(f"is no gzip: {error}") from error
    if len(head) == blob.size and len(begin) < BLOCK and not stream.eof:
        raise CutError
    return begin
