"""Folders that hold tensor files and nothing by which a framework would know them."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ckptctl import names
from ckptctl.formats._grid import Kin, Reach, gap, place, reaches_of
from ckptctl.listing import Folder


class Part(NamedTuple):
    """A rank or shard file in a folder."""

    group: str  # of one checkpoint: those whose paths differ in rank or shard alone
    kin: Kin
    said: names.Name


@functools.lru_cache(maxsize=1 << 14)  # the folders of a run hold the same names
def is_tensor(path: str) -> bool:
    """Whether a file holds tensors, by its name."""
    return path.lower().endswith(names.TENSOR_SUFFIXES)


def holds_tensors(folder: Folder) -> bool:
    """Whether a folder holds tensor files, at any depth."""
    return any(is_tensor(path) for path in folder.paths())


def key_of(folder: Folder) -> str | None:
    """Return the key file of a folder: its index, else its model file, else the first file.

    Of several the one that is highest up, then the lowest rank or shard, then the first by name.
    None where it holds no file at all.
    """
    best: tuple[int, int, str] | None = None
    alike: list[str] = []
    for path in folder.paths():
        parent, _, name = path.rpartition("/")
        rank = _importance(name), path.count("/"), parent
        if best is None or rank < best:
            best, alike = rank, []
        if rank == best:
            alike.append(name)
    if best is None:
        return None
    name = min(alike, key=_order)
    return f"{best[2]}/{name}" if best[2] else name


@functools.lru_cache(maxsize=1 << 14)  # the folders of a run hold the same names
def _order(name: str) -> tuple[object, ...]:
    """Return by what files of one kind are ordered: rank and shard, then the name."""
    said = names.parse(name, file=True) if names.has_rank_word(name) else names.Name()
    return place(said), name


@functools.lru_cache(maxsize=1 << 14)
def _importance(name: str) -> int:
    if name.endswith(".index.json"):
        return 0
    if is_tensor(name):
        return 1 if "model" in name.lower() else 2
    return 3


def parts_of(folder: Folder) -> Iterator[Part]:
    """Yield the rank and shard files of a folder; the rank may be that of a folder below."""
    for path in folder.paths():
        if is_tensor(path) and (part := _part(path)) is not None:
            yield part


@functools.lru_cache(maxsize=1 << 14)
def _part(path: str) -> Part | None:
    if not names.has_rank_word(path):
        return None
    stem, suffix = names.split_suffix(path)
    said = names.parse(stem, file=True)
    if not said.grid:
        return None
    kin = names.family(stem, suffix, said.spans), said.rank_words
    return Part(names.blank(stem, said.grid) + suffix, kin, said)


def missing_alone(folder: Folder) -> str | None:
    """Return in words what a folder lacks by its own names and sizes, whatever others have."""
    parts = list(parts_of(folder))
    return missing_in(folder, parts, reaches_of((part.kin, part.said) for part in parts))


def missing_in(folder: Folder, parts: Iterable[Part], reaches: Mapping[Kin, Reach]) -> str | None:
    """Return in words what a folder lacks, by names and sizes."""
    groups: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.group].append(part)
    for name, grid in sorted(groups.items()):
        lost = gap([part.said for part in grid], reaches[grid[0].kin])
        if lost:
            return f"{name}: {lost}"
    return empty_in(folder)


def empty_in(folder: Folder) -> str | None:
    """Return in words that a tensor file of a folder is empty, if one is."""
    for path, entry in folder.walk():
        # DCP leaves an empty file of a rank whose tensors another one saves.
        if not entry.size and is_tensor(path) and not path.endswith(".distcp"):
            return f"{path} is empty"
    return None
