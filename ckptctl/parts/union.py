"""All parts of one checkpoint as if they were a run: what is listed and read of them, wherever it lies."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptctl.listing import Entry, Folder
from ckptctl.parts.meeting import staged_at, whole_stage
from ckptctl.parts.part import Kept, Part
from ckptctl.reading import Blob, TooLargeError, VanishedError
from ckptctl.stores._base import Store


class UnlikeError(ValueError):
    """Two parts have another file under one name; the text says which."""


class Lies(NamedTuple):
    """Where a file lies now."""

    store: Store
    at: str
    entry: Entry  # as it is there
    kept: Kept


def united(parts: Mapping[int, Part]) -> dict[str, tuple[int, Kept]]:
    """Return the files of all parts, each with the number of a caller who brought it; pure.

    UnlikeError where two brought another one.
    """
    files: dict[str, tuple[int, Kept]] = {}
    for number, part in sorted(parts.items()):
        for path, kept in part.files.items():
            first = files.setdefault(path, (number, kept))
            if (first[1].bytes, first[1].digest) != (kept.bytes, kept.digest):
                raise UnlikeError(
                    f"{path} of part {first[0]} is another file than that of {number}"
                )
    return files


def lying(state: Store, run: Store, of: tuple[str, int, str], kept: Kept) -> Lies | None:
    """Return where a file of a part lies, by its key, caller and path; None where it is as it was nowhere.

    A call that died while it made all of them whole has moved it to where they come together, or
    has even given it its name on a disk.
    """
    key, number, path = of
    path = kept.twin or path
    size, _, third = kept.there
    if kept.staged:
        for at in (staged_at(key, number, path), f"{whole_stage(key)}/{path}"):
            entry = state.stat(at)
            # On a disk its time may have been set by a call that died just before the rename.
            if entry and (
                entry.version == kept.there or (entry.size, entry.inode) == (size, third)
            ):
                return Lies(state, at, entry, kept)
        if not run.able.rename:
            return None
    entry = run.stat(path)
    # Another's file may have an inode that was ours, but not its time as well.
    if entry and entry.version in {kept.there, (size, kept.mtime_ns, third)}:
        return Lies(run, path, entry, kept)
    return None


@dataclass(frozen=True, slots=True)
class Union:
    """Reads and lists it; paths are relative to the run, times and inodes those of the sources."""

    root: str
    files: Mapping[str, Lies]
    folder: Folder
    small: Mapping[str, bytes] = field(default_factory=dict)  # trackers, of which notes hold all

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file.  Raises VanishedError, TooLargeError or OSError."""
        if path in self.small:
            return self.small[path]
        lies = self._lies(path)
        if lies.kept.bytes > limit:
            raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", path)
        return lies.store.read(lies.at, limit)

    def open(self, path: str) -> AbstractContextManager[Blob]:
        """Open a file for reading at places.  Raises VanishedError or OSError."""
        if path in self.small:
            return nullcontext(_Noted(self.small[path]))
        lies = self._lies(path)
        return lies.store.open(lies.at)

    def blocks(self, path: str, entry: Entry, offset: int = 0) -> Iterator[memoryview]:
        """Yield the bytes of a file, as `Moving.blocks` does."""
        del entry
        lies = self._lies(path)
        yield from lies.store.blocks(lies.at, lies.entry, offset)

    def checksums(self, files: Mapping[str, Entry]) -> Mapping[str, Mapping[str, str]]:
        """Return nothing: each file was proven when it was handed in."""
        del files
        return {}

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return what lies below a path.  FileNotFoundError where nothing does."""
        del deep
        found = self.folder.inside(path) if path else self.folder
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no part has it", path)
        return found

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a file."""
        return self.folder.find(path)

    def link_time(self, path: str) -> int:
        """Return 0: what a link's time was is told by the parts."""
        del path
        return 0

    def _lies(self, path: str) -> Lies:
        if path not in self.files:
            raise VanishedError(errno.ENOENT, "no part has it", path)
        return self.files[path]


class _Noted:
    """What a tracker holds, opened as a file is."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to so many bytes from an offset."""
        return self._content[offset : offset + length]

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from an offset; return how many bytes it got."""
        piece = self.read(offset, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def folder_of_parts(parts: Mapping[int, Part], files: Mapping[str, tuple[int, Kept]]) -> Folder:
    """Return the listing of a run that holds just this; pure."""
    top = _Node()
    for part in parts.values():
        for path, ns in part.dirs.items():
            node = top.at(path)
            node.mtime_ns = max(node.mtime_ns, ns)
        for path, text in (*part.links.items(), *part.pointing.items()):
            above, _, name = path.rpartition("/")
            top.at(above).links[name] = text
        for path, text in part.trackers.items():
            above, _, name = path.rpartition("/")
            size = len(text.encode(errors="surrogateescape"))
            top.at(above).files[name] = Entry(size, part.looked_ns)
    for path, (number, kept) in files.items():
        above, _, name = path.rpartition("/")
        top.at(above).files[name] = Entry(
            kept.bytes, kept.mtime_ns, number + 1, kept.inode, kept.links
        )
    return top.frozen("")


@dataclass(slots=True)
class _Node:
    files: dict[str, Entry] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    below: dict[str, _Node] = field(default_factory=dict)
    mtime_ns: int = 0

    def at(self, path: str) -> _Node:
        node = self
        for name in path.split("/") if path else ():
            node = node.below.setdefault(name, _Node())
        return node

    def frozen(self, path: str) -> Folder:
        folders = {
            name: node.frozen(f"{path}/{name}".lstrip("/"))
            for name, node in sorted(self.below.items())
        }
        return Folder(path, self.files, folders, self.links, mtime_ns=self.mtime_ns)
