"""A reader that remembers small files by their version, for who looks at a bucket again and again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ckptctl.listing import Folder, Version
from ckptctl.reading import Blob, Reader

_MOST = 64 << 20
"""Bytes that are remembered at most."""


@dataclass(slots=True)
class Memory:
    """What was read of a location, by path, with the version that the listing before it showed."""

    contents: dict[str, tuple[Version, bytes]] = field(default_factory=dict)
    size: int = 0

    def keep(self, path: str, version: Version, content: bytes) -> None:
        """Remember a file, unless there is too much already."""
        if self.size + len(content) <= _MOST:
            self.contents[path] = version, content
            self.size += len(content)


@dataclass(frozen=True, slots=True)
class Recalling:
    """Reads as `reader` does, but for files that `folder`, just listed, shows as they were read."""

    reader: Reader
    folder: Folder  # the run
    memory: Memory

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file, from memory where it is still that version."""
        below = path.removeprefix(f"{self.folder.path}/") if self.folder.path else path
        entry = self.folder.find(below)
        if entry is None or not entry.etag:
            return self.reader.read(path, limit)
        known = self.memory.contents.get(path)
        if known is not None and known[0] == entry.version and len(known[1]) <= limit:
            return known[1]
        content = self.reader.read(path, limit)
        self.memory.keep(path, entry.version, content)
        return content

    def open(self, path: str) -> AbstractContextManager[Blob]:
        """Open a file, which is not remembered."""
        return self.reader.open(path)
