"""The files of a checkpoint by their paths within its run: copied where they are few, else seen."""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterator, Mapping, Sequence
from itertools import chain

from ckptctl.listing import Entry, Folder

MANY = 2_000
"""Files of one checkpoint that are not copied into a dict of their own: 150 bytes each."""


class Gathered(Mapping[str, Entry]):
    """The files of some directories and some single ones besides, but for some of them."""

    __slots__ = ("_folders", "_len", "_more", "_out")

    def __init__(
        self,
        folders: Mapping[str, Folder],
        more: Mapping[str, Entry],
        out: Collection[str] = (),
    ) -> None:
        """`folders` are by their paths, and `more` lie in none of them; `out` are left out."""
        self._folders = folders
        self._more = more
        self._out: Collection[str] = ()
        self._out = frozenset(path for path in out if path in self)
        self._len = sum(map(_count, folders.values())) + len(more) - len(self._out)

    def plus(self, files: Mapping[str, Entry]) -> Gathered:
        """Return these and further single files."""
        return Gathered(self._folders, {**self._more, **files}, self._out)

    def less(self, paths: Collection[str]) -> Gathered:
        """Return these but for some."""
        return Gathered(self._folders, self._more, {*self._out, *paths})

    def __getitem__(self, path: str) -> Entry:
        entry = None if path in self._out else self._more.get(path) or self._below(path)
        if entry is None:
            raise KeyError(path)
        return entry

    def _below(self, path: str) -> Entry | None:
        found = (
            folder.find(path[len(root) + 1 :])
            for root, folder in self._folders.items()
            if path.startswith(f"{root}/")
        )
        return next(found, None)

    def __iter__(self) -> Iterator[str]:
        below = (folder.paths(f"{root}/") for root, folder in self._folders.items())
        paths = chain(*below, self._more)
        return (path for path in paths if path not in self._out) if self._out else paths

    def __len__(self) -> int:
        return self._len

    def items(self) -> ItemsView[str, Entry]:
        """Return a view that goes through each folder once."""
        return _Items(self)

    def walk(self) -> Iterator[tuple[str, Entry]]:
        """Yield each path with its entry."""
        below = (folder.walk(f"{root}/") for root, folder in self._folders.items())
        items = chain(*below, self._more.items())
        return (item for item in items if item[0] not in self._out) if self._out else items


class _Items(ItemsView[str, Entry]):
    _mapping: Gathered

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return self._mapping.walk()


def gathered(folder: Folder, members: Sequence[str]) -> Mapping[str, Entry]:
    """Return all files of some members of a folder: directories and single files."""
    folders = {name: inside for name in members if (inside := folder.inside(name)) is not None}
    single = {name: folder.files[name] for name in members if name not in folders}
    if sum(map(_count, folders.values())) > MANY:
        return Gathered(folders, single)
    for name, inside in folders.items():
        single.update(inside.walk(f"{name}/"))
    return single


def plus(files: Mapping[str, Entry], more: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """Return what was gathered and further single files."""
    return files.plus(more) if isinstance(files, Gathered) else {**files, **more}


def less(files: Mapping[str, Entry], paths: Collection[str]) -> Mapping[str, Entry]:
    """Return what was gathered but for some."""
    if isinstance(files, Gathered):
        return files.less(paths)
    return {path: entry for path, entry in files.items() if path not in paths}


def _count(folder: Folder) -> int:
    return sum(len(inside.files) for _, inside in folder.tree())
