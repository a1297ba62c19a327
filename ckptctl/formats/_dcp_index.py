"""What DCP's `.metadata` says of its data files, told from pickle opcodes; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptctl.containers import prove_file
from ckptctl.formats._few import few
from ckptctl.formats._pickle_scan import Scan, TooLongError
from ckptctl.model import Checkpoint
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

INDEX_LIMIT = 64 * 2**20
"""Bytes of the largest `.metadata` that is scanned, and no more than some seconds are spent on it; of a larger one nothing is said."""

_INDEX = later(r"(?:__[0-9]+)?\.metadata")
_FILES_LIMIT = 1 << 17


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
    (filesystem.py `_StorageInfo`).  ValueError where the index is cut off or no pickle,
    TooLongError where it is so long that it is not read to its end.
    """
    needed: dict[str, int] = {}
    key: object = None
    path: str | None = None
    offset = 0
    scan = Scan(index, ("relative_path", "offset", "length"))
    for last in scan:
        if key == "relative_path" and isinstance(last, str):
            path, offset = last, 0
            scan.wanted.add(last)
        elif key == "offset" and isinstance(last, int):
            offset = last
        elif key == "length" and isinstance(last, int) and path is not None:
            needed[path] = max(needed.get(path, 0), offset + last)
            path = None
            if len(scan.wanted) > _FILES_LIMIT:
                raise TooLongError
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
    except TooLongError:
        return
    yield from few(_unfit(index, directory, needed, checkpoint))


def _unfit(
    index: str, directory: str, needed: Mapping[str, int], checkpoint: Checkpoint
) -> Iterator[Finding]:
    for name, size in sorted(needed.items()):
        if any(part in {"", ".", ".."} for part in name.split("/")):
            yield Finding(index, "index-escapes", f"names {name!r}, which is no file beside it")
            continue
        path = f"{directory}/{name}" if directory else name
        entry = checkpoint.files.get(path)
        if entry is None:
            yield Finding(path, "data-missing", f"is named by {index}, but is not there")
        elif entry.size < max(size, 1):
            text = f"has {entry.size} bytes, but {index} names {size} in it"
            yield Finding(path, "data-truncated", text)
