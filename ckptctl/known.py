"""Which formats there are, and in which order they are asked."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import overload

from ckptctl.formats import DIRECTORIES
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats.own import OwnLayouts
from ckptctl.listing import Folder
from ckptctl.model import Layout


class Formats(Sequence[Format]):
    """Every format in the order in which they are asked: own layouts, frameworks, generic ones.

    They are imported when they are first needed: a directory that holds files alone needs half.
    """

    def __init__(self, layouts: Sequence[Layout] = ()) -> None:
        self._own: list[Format] = [OwnLayouts(tuple(layouts))] if layouts else []

    @functools.cached_property
    def of_files(self) -> list[Format]:
        """Those that know more than directories."""
        return self._own + _sorted(FORMATS.some(DIRECTORIES))

    @functools.cached_property
    def _all(self) -> list[Format]:
        return self._own + _sorted(FORMATS)

    @overload
    def __getitem__(self, at: int) -> Format: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Format]: ...
    def __getitem__(self, at: int | slice) -> Format | Sequence[Format]:
        """Return one format, or some."""
        return self._all[at]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    @functools.cached_property
    def by_name(self) -> Mapping[str, Format]:
        """The formats by the names that checkpoints carry."""
        return _ByName(self)

    def concerning(self, folder: Folder) -> Sequence[Format]:
        """Return those that may claim something in a directory."""
        return self if folder.folders else self.of_files


class _ByName(dict[str, Format]):
    """Formats by name: one of those for files, where it is, needs none of the others."""

    def __init__(self, formats: Formats) -> None:
        super().__init__({name: kind for kind in formats.of_files for name in kind.names()})
        self._formats = formats

    def __missing__(self, name: str) -> Format:
        self.update({name: kind for kind in self._formats for name in kind.names()})
        if name not in self:
            raise KeyError(name)
        return self[name]


def _sorted(kinds: Iterable[type[Format]]) -> list[Format]:
    return sorted((kind() for kind in kinds), key=lambda f: (f.generic, f.vague, f.name))


def known_formats(layouts: Sequence[Layout] = ()) -> Formats:
    """Return every format, own layouts among them."""
    return Formats(layouts)
