"""What a store is: an opened location that lists, reads, and - for `apply` alone - changes."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ckptctl.listing import Entry, Folder
from ckptctl.reading import Reader
from ckptctl.registry import Registry
from ckptctl.stores._moving import Moving

if TYPE_CHECKING:
    from ckptctl.stores._keeping import Keeping  # which only buckets need

STATE_NAME = ".ckptctl"
"""The directory or prefix of ckptctl's own records; never listed."""

DEEPEST = 100
"""Levels below a location that are looked into: no framework nests so deep, but runaway scripts do."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
"""What it is to have no space, inodes, quota or descriptors left for a file of our own."""

Stop = Callable[[], bool]
"""Asked between small steps: whether to leave the rest for later."""


def never() -> bool:
    """Never stop."""
    return False


class NothingBelowError(FileNotFoundError):
    """A bucket was read, and no key in it begins with what was asked for."""


class MistakenError(OSError):
    """An address or option makes no sense, so that nothing was asked of anybody."""


class ChangedError(OSError):
    """What was to be replaced is no longer what the caller saw; nothing was written."""


class IgnoredConditionError(OSError):
    """The store writes over what is there although it was told not to: no lock can be had on it."""


class TooManyKeysError(OSError):
    """There are more keys below a location than the caller allows; the listing was given up."""


class Removed(NamedTuple):
    """What a removal really did."""

    freed: int = 0  # allocated bytes of inodes whose last link went; of objects, their sizes
    left: tuple[str, ...] = ()  # what could not be removed, and why

    def plus(self, other: Removed) -> Removed:
        """Return both together."""
        return Removed(self.freed + other.freed, self.left + other.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do beyond listing, reading, writing whole files and removing them."""

    rename: bool = False  # a name, of a directory too, moves in one step
    match: bool = False  # `replace` can be told which version it is to replace
    checksum: bool = False  # the server itself knows a checksum of what it holds
    links: bool = False  # symlinks and hard links
    append: bool = False
    folders: bool = False  # directories are there by themselves, empty ones too
    identity: bool = False  # names can be told apart by what has them (inodes)


class Store(Reader, Moving, Protocol):
    """An opened location.  Paths are relative to it, parts joined by "/"; no link is followed.

    Every method raises OSError where the store refuses; VanishedError where the path is gone.
    """

    root: str  # the full path or URL that a user would write

    @property
    def able(self) -> Capabilities:
        """What this store can do."""

    def below(self, path: str) -> Store:
        """Open what lies below a path as a store of its own.  Raises OSError."""

    def close(self) -> None:
        """Let go of what is held open."""

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return the directory and all below it; folders that cannot be read carry an error.

        With `deep=False` only the directory itself is read, and its folders are empty.
        Raises OSError where `path` itself cannot be listed.
        """

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a regular file as it is now; None where there is none."""

    def checksums(self, files: Mapping[str, Entry]) -> Mapping[str, Mapping[str, str]]:
        """Return what the server itself says that whole files hash to: see ckptctl/algorithms.py.

        By path, only of those that are what their entries say; nothing where it cannot be asked.
        """

    def identity(self, path: str) -> tuple[int, int] | None:
        """Return (device, inode) of whatever has this name now; None where nothing has.

        Of an object it is a pair that is another one after each save; of a prefix, always the same.
        """

    def create(self, path: str, content: bytes) -> None:
        """Write a file that must not exist yet.  Raises FileExistsError where it does.

        IgnoredConditionError where the store cannot promise that.
        """

    def replace(self, path: str, content: bytes, *, if_match: str = "") -> None:
        """Write a file whole or not at all, over another of its name; it is durable afterwards.

        With an `etag` in `if_match` only over that version, else ChangedError.
        """

    def append(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Add to the end of a file, made where there is none; if `durable`, it is so afterwards."""

    def make_folder(self, path: str) -> None:
        """Make a directory and its parents; nothing where it is there already, or needs no making."""

    def rename_to(self, path: str, other: Store, target: str) -> None:
        """Move one name into another store by one rename, over nothing that is there.

        Raises FileExistsError where the target exists, OSError (EXDEV) where it is elsewhere.
        """

    def remove_file(self, path: str) -> Removed:
        """Remove one file or link; nothing where it is gone already."""

    def remove_files(self, files: Mapping[str, Entry], stop: Stop = never) -> Removed:
        """Remove many files, in no order, as far as they can be removed or until `stop()`.

        On S3 what was saved under one of these names meanwhile goes too: look first.
        """

    def remove_tree(self, path: str, stop: Stop = never) -> Removed:
        """Remove a directory with all below it, as far as it can be removed or until `stop()`."""

    def keeping(self, deleted: Mapping[str, Entry] | None = None) -> Keeping:
        """Ask what the store keeps of what is deleted, and what is left of files that were.

        Never raises OSError: what cannot be known is unknown.
        """


class KeepsNothing:
    """What a store is that has no memory for what is deleted."""

    def keeping(self, deleted: Mapping[str, Entry] | None = None) -> Keeping:
        """Return that nothing is kept."""
        from ckptctl.stores import _keeping  # noqa: PLC0415 - few ask

        return _keeping.Keeping()


class Opening(NamedTuple):
    """What is to be opened."""

    url: str  # as the user wrote it, without "/" at its end
    path: str  # what follows "://"
    options: Mapping[str, object]  # under fsspec's names
    max_keys: int  # a listing with more is given up
    shared: dict[str, Any]  # by bucket: credentials, region and connections, found out before


STORES: Registry[Callable[[Opening], Store]] = Registry("ckptctl.stores")
"""What opens each scheme; "*" opens any other."""

Opener = TypeVar("Opener", bound=Callable[[Opening], Store])


def opener(*schemes: str) -> Callable[[Opener], Opener]:
    """Return a decorator that registers a function for the schemes that it opens."""

    def register(function: Opener) -> Opener:
        for scheme in schemes:
            STORES.add(scheme)(function)
        return function

    return register
