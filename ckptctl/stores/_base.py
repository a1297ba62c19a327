"""What a store is: an opened location that lists, reads, and - for `apply` alone - changes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ckptctl.model import Entry, Folder
from ckptctl.reading import Reader


class Removed(NamedTuple):
    """What a removal really did."""

    freed: int = 0  # allocated bytes of inodes whose last link went
    left: tuple[str, ...] = ()  # what could not be removed, and why

    def plus(self, other: Removed) -> Removed:
        """Return both together."""
        return Removed(self.freed + other.freed, self.left + other.left)


class Store(Reader, Protocol):
    """An opened location.  Paths are relative to it, parts joined by "/"; no link is followed.

    Every method raises OSError where the store refuses; VanishedError where the path is gone.
    """

    root: str  # the full path or URL that a user would write

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return the directory and all below it; folders that cannot be read carry an error.

        With `deep=False` only the directory itself is read, and its folders are empty.
        Raises OSError where `path` itself cannot be listed.
        """

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a regular file as it is now; None where there is none."""

    def remove_file(self, path: str) -> Removed:
        """Remove one file or link; nothing where it is gone already."""

    def remove_tree(self, path: str) -> Removed:
        """Remove a directory with all below it, as far as it can be removed."""
