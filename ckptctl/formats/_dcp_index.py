"""What DCP's `.metadata` says of its data files, told from pickle opcodes; nothing is unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ckptctl.containers import prove_file
from ckptctl.model import Checkpoint
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.reading import Finding, Reader

INDEX_LIMIT = 64 * 2**20
"""Bytes of the largest `.metadata` that is scanned, at some 5 MB/s; of a larger one nothing is said."""

_INDEX = re.compile(r"(?:__[0-9]+)?\.metadata")
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TEXTS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
_NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})


def prove_dcp(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield what is wrong with the tensor files of a checkpoint that DCP saved, at any depth.

    A `.distcp` is blobs one after the other, so no ZIP; that its bytes are all there is told by
    the index.  A data file that no index names is what an earlier run of more ranks left.
    """
    for path, entry in checkpoint.files.items():
        directory, _, name = path.rpartition("/")
        if path in checkpoint.sidecars:
            continue
        if _INDEX.fullmatch(name):
            if entry.size <= INDEX_LIMIT:
                yield from _prove_index(path, directory, checkpoint, reader)
        elif name.lower().endswith(TENSOR_SUFFIXES) and not name.endswith(".distcp"):
            yield from prove_file(path, entry, reader)


def files_needed(index: bytes) -> dict[str, int]:
    """Return the data files that an index names, each with the bytes that it must at least have.

    In the index each stored piece is a mapping of `relative_path`, `offset` and `length`
    (filesystem.py `_StorageInfo`).  ValueError where the index is cut off or no pickle.
    """
    import pickletools  # noqa: PLC0415 - a listing needs none

    memo: dict[int, object] = {}
    needed: dict[str, int] = {}
    last: object = None
    key: object = None
    path: str | None = None
    offset = 0
    for opcode, arg, _ in pickletools.genops(index):
        if opcode.name in _PUTS and isinstance(arg, int):
            memo[arg] = last
            continue
        if opcode.name == "MEMOIZE":
            memo[len(memo)] = last
            continue
        if opcode.name in _GETS and isinstance(arg, int):
            last = memo.get(arg)
        else:
            last = arg if opcode.name in _TEXTS or opcode.name in _NUMBERS else None
        if key == "relative_path" and isinstance(last, str):
            path, offset = last, 0
        elif key == "offset" and isinstance(last, int):
            offset = last
        elif key == "length" and isinstance(last, int) and path is not None:
            needed[path] = max(needed.get(path, 0), offset + last)
            path = None
        key = last
    return needed


def _prove_index(
    index: str, directory: str, checkpoint: Checkpoint, reader: Reader
) -> Iterator[Finding]:
    """Yield each data file that an index names in vain, or that is shorter than it says."""
    try:
        needed = files_needed(reader.read(index, INDEX_LIMIT))
    except ValueError as error:
        yield Finding(index, "index-unreadable", f"is cut off or damaged: {error}")
        return
    for name, size in sorted(needed.items()):
        path = f"{directory}/{name}" if directory else name
        entry = checkpoint.files.get(path)
        if entry is None:
            yield Finding(path, "data-missing", f"is named by {index}, but is not there")
        elif entry.size < max(size, 1):
            text = f"has {entry.size} bytes, but {index} names {size} in it"
            yield Finding(path, "data-truncated", text)
