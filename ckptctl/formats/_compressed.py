"""Compressed files: one that does not begin (xz: end) like its kind is not whole.

More cannot be told without decompressing it all.  Source: RFC 1952 (gzip), RFC 8878 (zstd), the
file formats of bzip2, lz4 (frame), lzop and xz (footer).
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptctl.model import Checkpoint
from ckptctl.reading import Finding, Reader

_HEADS = {
    ".gz": b"\x1f\x8b",
    ".tgz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".lz4": b"\x04\x22\x4d\x18",
    ".lzo": b"\x89LZO",
    ".xz": b"\xfd7zXZ\0",
}
_TAILS = {".xz": b"YZ"}


def prove_compressed(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield a finding for each file of a checkpoint whose ending says that it is what it is not."""
    for path, entry in checkpoint.files.items():
        ending = "." + path.rpartition(".")[2]
        head, tail = _HEADS.get(ending), _TAILS.get(ending, b"")
        if head is None or path in checkpoint.sidecars:
            continue
        with reader.open(path) as blob:
            begins = blob.read(0, len(head)) == head
            ends = blob.read(max(0, blob.size - len(tail)), len(tail)) == tail
        if not begins:
            yield Finding(path, "torn", f"of {entry.size:,} bytes does not begin as {ending} does")
        elif not ends:
            yield Finding(path, "torn", f"was cut at {entry.size:,} bytes: its end is not there")
