"""What a store is: an opened location that lists, reads, and - for `apply` alone - changes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ckptctl.model import Entry, Folder
from ckptctl.reading import Reader

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
"""What it is to have no space, inodes, quota or descriptors left for a file of our own."""

Stop = Callable[[], bool]
"""Asked between small steps: whether to leave the rest for later."""


def never() -> bool:
    """Never stop."""
    return False


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

    def identity(self, path: str) -> tuple[int, int] | None:
        """Return (device, inode) of whatever has this name now; None where nothing has."""

    def create(self, path: str, content: bytes) -> None:
        """Write a file that must not exist yet.  Raises FileExistsError where it does."""

    def replace(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all, over another of its name; it is durable afterwards."""

    def append(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Add to the end of a file, made where there is none; if `durable`, it is so afterwards."""

    def make_folder(self, path: str) -> None:
        """Make a directory and its parents; nothing where it is there already."""

    def rename_to(self, path: str, other: Store, target: str) -> None:
        """Move one name into another store by one rename, over nothing that is there.

        Raises FileExistsError where the target exists, OSError (EXDEV) where it is elsewhere.
        """

    def remove_file(self, path: str) -> Removed:
        """Remove one file or link; nothing where it is gone already."""

    def remove_tree(self, path: str, stop: Stop = never) -> Removed:
        """Remove a directory with all below it, as far as it can be removed or until `stop()`."""
