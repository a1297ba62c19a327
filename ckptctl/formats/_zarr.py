"""Arrays that tensorstore writes as Zarr: a directory each, with `.zarray` and chunks beside it.

Source: zarr-specs, v2; jax, _src and experimental/array_serialization (compressor gzip, since 2024
zstd).  A chunk that holds nothing but zeros is not stored, so that one may well not be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from ckptctl.containers import prove_file
from ckptctl.formats._json_files import read_json
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint
from ckptctl.reading import Blob, Finding, Reader

ARRAY = ".zarray"
_ROOTS = (ARRAY, "zarr.json", "manifest.ocdbt")
_LIMIT = 2**20
_LARGEST = 2**63
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCKS = 1_000  # of one frame that are looked at; each holds up to 128 KiB, so larger ones are not judged


def is_tensorstore(inside: Folder) -> bool:
    """Whether arrays of tensorstore lie in a directory, at any depth."""
    return any(root in deep.files for _, deep in inside.tree() for root in _ROOTS)


def arrays_in(inside: Folder) -> frozenset[str]:
    """Return the paths of what describes the arrays below a directory."""
    return frozenset(
        f"{path}/{root}".lstrip("/")
        for path, deep in inside.tree()
        for root in _ROOTS
        if root in deep.files
    )


def missing_in(inside: Folder) -> str | None:
    """Return what arrays lack, by names and sizes: a description beside chunks, an empty file."""
    below = dict(inside.tree())
    for path, deep in below.items():
        above = below[path.rpartition("/")[0]]
        if path and "manifest.ocdbt" in above.files:
            continue  # its data files have names of random digits
        chunks = [name for name in deep.files if _is_chunk(name)]
        if chunks and not any(root in deep.files for root in _ROOTS):
            return f"no {ARRAY} beside {path}/{chunks[0]}".replace(" /", " ")
        for name in (*_ROOTS, *chunks):
            if name in deep.files and not deep.files[name].size:
                return f"{path}/{name} is empty".lstrip("/")
    return None


def prove_arrays(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield each description that cannot be understood, and each chunk that is cut off."""
    sizes: dict[str, int | None] = {}
    for path, entry in checkpoint.files.items():
        directory, _, file = path.rpartition("/")
        if file == ARRAY:
            said = _described(path, entry, reader)
            if isinstance(said, str):
                yield Finding(path, "metadata-unreadable", said)
            else:
                sizes[directory] = said
    for path, entry in checkpoint.files.items():
        directory, _, file = path.rpartition("/")
        if directory not in sizes or not _is_chunk(file):
            continue
        size = sizes[directory]
        if size is not None:
            if entry.size != size:
                text = f"has {entry.size:,} bytes, but {directory}/{ARRAY} says {size:,}"
                yield Finding(path, "data-truncated", text)
            continue
        yield from prove_file(path, entry, reader)
        with reader.open(path) as blob:
            if (wrong := zstd_fault(blob)) is not None:
                yield Finding(path, "data-truncated", wrong)


def zstd_fault(blob: Blob) -> str | None:
    """Return that a file which begins as a zstd frame ends within it; None where it does not.

    Source: RFC 8878, section 3.1.1: the head of a frame, then blocks that say their own length.
    """
    head = blob.read(0, 18)
    if not head.startswith(_ZSTD) or len(head) < 5:  # noqa: PLR2004 - the magic and what follows
        return None
    flags = head[4]
    single = flags >> 5 & 1
    at = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    last = 0
    for _ in range(_BLOCKS):
        if last or at + 3 > blob.size:
            break
        block = int.from_bytes(blob.read(at, 3), "little")
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)  # a block of kind 1 is one byte
        last = block & 1
    else:
        return None
    end = at + 4 * (flags >> 2 & 1)
    return None if last and end <= blob.size else f"was cut at {blob.size:,} bytes"


def _is_chunk(name: str) -> bool:
    """Whether a file is a chunk of an array by its name: its place in each dimension (`0.12.3`)."""
    return name.isascii() and name.replace(".", "0").isdecimal() and name[0] != "."


def _described(path: str, entry: Entry, reader: Reader) -> int | str | None:
    """Return the bytes of each chunk as `_chunk_size` does; else in words why nobody knows them."""
    said = read_json(reader, path, entry.size, _LIMIT)
    try:
        return said if isinstance(said, str) else _chunk_size(said)
    except ValueError as error:
        return f"cannot be understood: {error}"


def _chunk_size(said: Mapping[str, object]) -> int | None:
    """Return the bytes of each chunk of an array that is not compressed; None where it may be.

    ValueError where it describes no array.
    """
    chunks, kind = said.get("chunks"), said.get("dtype")
    if not isinstance(chunks, list) or not all(type(n) is int and n >= 0 for n in chunks):
        raise ValueError("it has no chunks")
    if said.get("compressor") or said.get("filters") or not isinstance(kind, str):
        return None
    bits = kind[2:] if len(kind) in {3, 4} else ""  # `<f4`; other types are not known here
    width = "2" if kind == "bfloat16" else bits
    size = int(width) * prod(chunks) if width.isascii() and width.isdecimal() else None
    if size is not None and size > _LARGEST:
        raise ValueError("its chunks are larger than any file")
    return size
