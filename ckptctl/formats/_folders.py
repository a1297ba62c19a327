"""Folders that hold tensor files and nothing by which a framework would know them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ckptctl import names
from ckptctl.formats._grid import Kin, Reach, gap, place
from ckptctl.model import Folder


class Part(NamedTuple):
    """A rank or shard file in a folder."""

    group: tuple[str, str]  # of one checkpoint: those whose names differ in rank or shard alone
    kin: Kin
    said: names.Name


def is_tensor(path: str) -> bool:
    """Whether a file holds tensors, by its name."""
    return path.lower().endswith(names.TENSOR_SUFFIXES)


def holds_tensors(folder: Folder) -> bool:
    """Whether a folder holds tensor files, at any depth."""
    return any(is_tensor(path) for path, _ in folder.walk())


def key_of(folder: Folder) -> str | None:
    """Return the key file of a folder: its index, else its model file, else the first file.

    Of several the one that is highest up, then the lowest rank or shard, then the first by name.
    None where it holds no file at all.
    """
    return min((path for path, _ in folder.walk()), key=_importance, default=None)


def _importance(path: str) -> tuple[object, ...]:
    parent, _, name = path.rpartition("/")
    depth = path.count("/")
    if name.endswith(".index.json"):
        return 0, depth, path
    if not is_tensor(name):
        return 3, depth, path
    said = names.parse(name, file=True)
    return 1 if "model" in name.lower() else 2, depth, parent, place(said), name


def parts_of(folder: Folder) -> Iterator[Part]:
    """Yield the rank and shard files of a folder, at any depth."""
    for parent, inside in folder.tree():
        for name in inside.files:
            if is_tensor(name) and names.has_rank_word(name):
                stem, suffix = names.split_suffix(name)
                said = names.parse(stem, file=True)
                if said.grid:
                    group = (parent, names.blank(stem, said.grid) + suffix)
                    family = f"{parent}/{names.family(stem, suffix, said.spans)}"
                    yield Part(group, (family, said.rank_words), said)


def missing_in(folder: Folder, parts: Iterable[Part], reaches: Mapping[Kin, Reach]) -> str | None:
    """Return in words what a folder lacks, by names and sizes."""
    groups: defaultdict[tuple[str, str], list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.group].append(part)
    for (_, name), grid in sorted(groups.items()):
        lost = gap([part.said for part in grid], reaches[grid[0].kin])
        if lost:
            return f"{name}: {lost}"
    for path, entry in folder.walk():
        # DCP leaves an empty file of a rank whose tensors another one saves.
        if not entry.size and is_tensor(path) and not path.endswith(".distcp"):
            return f"{path} is empty"
    return None
