"""A directory of torch.distributed.checkpoint (DCP): its data files and what commits them.

Several frameworks save through it.  Source: pytorch, torch/distributed/checkpoint/filesystem.py
`_FileSystemWriter.write_data` and `finish`: every rank writes `__R_F.distcp`, then the coordinator
writes `.metadata.tmp` and renames it; without collectives each rank commits by `__R.metadata`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from ckptctl.listing import Entry
from ckptctl.patterns import later

METADATA = ".metadata"
_DATA = later(r"__([0-9]+)_[0-9]+\.distcp")
_LOCAL = later(r"__([0-9]+)\.metadata")
_STAGED = later(r"(?:__[0-9]+)?\.metadata\.tmp")


class Commit(NamedTuple):
    """What the names, sizes and times of one DCP directory say; names are relative to it."""

    missing: str | None  # in words; None where all that names can tell is there
    marker: str | None  # of several, the one that is furthest behind the files that it covers
    key: str  # the marker (of several, the lowest rank's), else the lowest data file
    uncovered: tuple[str, ...] = ()  # what the marker does not cover
    ranks: frozenset[str] = frozenset()  # markers that each rank seen must have of its own


def holds_data(files: Collection[str]) -> bool:
    """Whether a directory holds data files of DCP."""
    # Every directory is asked: the ending is seen twenty times as fast as the whole pattern.
    return any(name.endswith(".distcp") and _DATA.fullmatch(name) for name in files)


def data_ranks(files: Iterable[str]) -> set[int]:
    """Return the ranks that wrote data files of a directory, empty ones too."""
    return {int(found[1]) for name in files if (found := _DATA.fullmatch(name))}


def is_dcp_file(name: str) -> bool:
    """Whether a file is DCP's own: its marker commits it."""
    return any(kind.fullmatch(name) for kind in (_DATA, _LOCAL, _STAGED)) or name == METADATA


def _data(files: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the rank and the name of each data file: there may be a million, so none is kept."""
    return ((int(found[1]), name) for name in files if (found := _DATA.fullmatch(name)))


def read_commit(files: Mapping[str, Entry]) -> Commit:
    """Return what commits the files of a directory, and what is missing.

    An empty data file is none that is missing: a rank whose tensors another one saves leaves one.
    """
    lowest = min(_data(files), default=None)
    local = {int(found[1]): name for name in files if (found := _LOCAL.fullmatch(name))}
    staged = min((name for name in files if _STAGED.fullmatch(name)), default=None)
    first = lowest[1] if lowest else min(files, default="")
    if METADATA in files:
        others = tuple(name for name in files if not is_dcp_file(name))
        commit = Commit(None, METADATA, METADATA, others)
    elif local:
        commit = _of_ranks(files, sorted(_data(files)), local)
    else:
        return Commit(f"no {METADATA}, which is written last", None, first)
    if staged:
        return commit._replace(missing=f"{staged} is there: a save is under way, or was cut off")
    if commit.missing is None and lowest is None:
        return commit._replace(missing="no .distcp file")
    if commit.missing is None and any(not files[m].size for m in (commit.key, *commit.ranks)):
        return commit._replace(missing="its commit marker is empty")
    return commit


def _of_ranks(
    files: Mapping[str, Entry], data: list[tuple[int, str]], local: Mapping[int, str]
) -> Commit:
    """Return the commit of a directory in which each rank has a marker of its own.

    How many ranks there were is in no name: up to the highest seen, all are expected.
    """
    key = local[min(local)]
    seen = {*local, *(rank for rank, _ in data)}
    ranks = frozenset(local.get(rank, f"__{rank}{METADATA}") for rank in seen)
    count = 1 + max(seen)
    absent = next(rank for rank in range(count + 1) if rank not in local)
    if absent < count:
        text = f"no __{absent}{METADATA}, by which rank {absent} commits"
        return Commit(text, None, key, ranks=ranks)

    written: dict[int, int] = {}
    for owner, name in data:
        written[owner] = max(written.get(owner, 0), files[name].mtime_ns)

    def lead(rank: int) -> int:
        return files[local[rank]].mtime_ns - written.get(rank, 0)

    behind = min(local, key=lead)
    own = {local[behind], *(name for owner, name in data if owner == behind)}
    uncovered = tuple(name for name in files if name not in own)
    return Commit(None, local[behind], key, uncovered, ranks)
