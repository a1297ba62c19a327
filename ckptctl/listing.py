"""What a listing of a store saw: files, and directories with all that lies below; frozen, no I/O.

Times are nanoseconds since the Unix epoch, because file systems and object stores give no less;
sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Version = tuple[int, int, int | str]
"""Bytes, mtime in ns, inode or etag: a file saved anew under the same name has another."""


def version_of(value: object) -> Version:
    """Return a version as JSON holds it.  Raises ValueError, TypeError where it is none."""
    if not isinstance(value, list):
        raise TypeError("no version")
    size, mtime_ns, third = value
    return int(size), int(mtime_ns), third if isinstance(third, str) else int(third)


class Entry(NamedTuple):
    """One regular file, as the listing saw it."""

    size: int
    mtime_ns: int
    device: int = 0
    inode: int = 0  # 0: the store has no inodes, so no two names share bytes
    links: int = 1
    allocated: int = 0  # bytes on the medium
    etag: str = ""  # of an object store: another one after each save

    @property
    def version(self) -> Version:
        """What tells this file from another of its name."""
        return self.size, self.mtime_ns, self.etag or self.inode


@dataclass(frozen=True, slots=True)
class Folder:
    """One directory of a listing, with all that lies below it.

    `path` is relative to the location that was listed ("" for itself), parts joined by "/".
    A folder with an `error` could not be read: what it holds is unknown, not empty.
    """

    path: str
    files: Mapping[str, Entry] = field(default_factory=dict)
    folders: Mapping[str, Folder] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)  # symlink -> its text
    others: tuple[str, ...] = ()  # FIFOs, sockets, devices, odd keys: never opened, never touched
    mtime_ns: int = 0
    error: str | None = None
    forbidden: bool = False  # the error was a lack of permission
    noted: bool = (
        False  # in a bucket: ckptctl's own records of it lie in it, of which nothing is here
    )
    called: str = ""  # the name of a location itself, whose path is ""; "" where nobody said

    @property
    def name(self) -> str:
        """How the directory is called, as far as it is known: some layouts are known by that."""
        return self.path.rpartition("/")[2] or self.called

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield every regular file below, as a path relative to this folder, and its entry."""
        for name, entry in self.files.items():
            yield prefix + name, entry
        for name, folder in self.folders.items():
            yield from folder.walk(f"{prefix}{name}/")

    def paths(self, prefix: str = "") -> Iterator[str]:
        """Yield the path of every regular file below: of many that takes less than their entries."""
        for name in self.files:
            yield prefix + name
        for name, folder in self.folders.items():
            yield from folder.paths(f"{prefix}{name}/")

    def tree(self, prefix: str = "") -> Iterator[tuple[str, Folder]]:
        """Yield this folder and every one below, as a path relative to this one ("" first)."""
        yield prefix.rstrip("/"), self
        for name, folder in self.folders.items():
            yield from folder.tree(f"{prefix}{name}/")

    def errors(self) -> Iterator[tuple[str, str]]:
        """Yield the (relative path, reason) of each folder below that could not be read."""
        for path, folder in self.tree():
            if folder.error is not None:
                yield path, folder.error

    def inside(self, path: str) -> Folder | None:
        """Return the directory at a relative path, if there is one."""
        folder: Folder | None = self
        for part in path.split("/"):
            folder = folder.folders.get(part) if folder else None
        return folder

    def holds(self, path: str) -> bool:
        """Return whether a relative path is taken, be it by a link or by what is never opened."""
        above, _, name = path.rpartition("/")
        parent = self.inside(above) if above else self
        return parent is not None and (
            name in parent.files
            or name in parent.folders
            or name in parent.links
            or name in parent.others
        )

    def find(self, path: str) -> Entry | None:
        """Return the entry of the regular file at a relative path, if there is one."""
        parent, _, name = path.rpartition("/")
        folder = self.inside(parent) if parent else self
        return folder.files.get(name) if folder else None
