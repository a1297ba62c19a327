"""A checkpoint of parts as it will look among those that are at the destination; pure but for small files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from ckptctl.group import look
from ckptctl.known import Formats
from ckptctl.listing import Folder
from ckptctl.parts.union import Union
from ckptctl.parts.whole import HalfError, Whole
from ckptctl.reading import Blob, Reader


@dataclass(frozen=True, slots=True)
class Amid:
    """Reads what the parts bring, and all else at the destination."""

    union: Union
    there: Reader

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file.  Raises VanishedError, TooLargeError or OSError."""
        return self._of(path).read(path, limit)

    def open(self, path: str) -> AbstractContextManager[Blob]:
        """Open a file for reading at places.  Raises VanishedError or OSError."""
        return self._of(path).open(path)

    def _of(self, path: str) -> Reader:
        return self.union if path in self.union.small or path in self.union.files else self.there


def refuse_lost(
    whole: Whole, there: Folder, made: Iterable[Whole], reader: Reader, formats: Formats
) -> None:
    """Refuse a checkpoint that lacks what others of its family at the destination have: HalfError.

    A node that lost its disk says that it has nothing.  Where no name tells how many ranks there
    are, only the others do: what `list` would not call complete must not get its name.
    """
    folder = there
    for one in (*made, whole):
        folder = _over(folder, one.union.folder)
    for item in look(folder, Amid(whole.union, reader), formats, there.called).items:
        if item.path == whole.checkpoint.member and item.claim.missing is not None:
            raise HalfError(item.claim.missing)


def _over(below: Folder, upper: Folder) -> Folder:
    """Return one listing with another laid over it."""
    folders = dict(below.folders)
    for name, folder in upper.folders.items():
        folders[name] = _over(folders[name], folder) if name in folders else folder
    return replace(
        below,
        files={**below.files, **upper.files},
        folders=folders,
        links={**below.links, **upper.links},
    )
