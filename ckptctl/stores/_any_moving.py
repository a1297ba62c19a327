"""Large files into whatever fsspec knows: beside its name first, for it may show what is half written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

from ckptctl.listing import Entry
from ckptctl.stores._again import again, garbled
from ckptctl.stores._base import STATE_NAME
from ckptctl.stores._errors import translated
from ckptctl.stores._moving import Incoming, Unfinished
from ckptctl.stores._whole import SMALL, WholeIncoming


class _Written(Protocol):
    """What is asked of the keys."""

    where: str

    def put(self, key: str, content: bytes) -> None:
        """Write a file whole."""

    def head(self, key: str) -> Entry | None:
        """Return what is said of a file."""


class AnyIncoming:
    """A file that is written among our own records, and renamed in the end."""

    token = ""
    proven = False

    def __init__(self, fs: Any, keys: _Written, lead: str, key: str, size: int) -> None:  # noqa: ANN401 - fsspec has no types
        self.offset = 0
        self._fs, self._keys, self._key, self._size = fs, keys, key, size
        self._target = f"{lead}{key}"
        folder, slash, _ = self._target.rpartition("/")
        staging = f"{folder}{slash}{STATE_NAME}/staging"
        self._staged = f"{staging}/{os.urandom(8).hex()}"
        with translated("writing to", keys.where, key):
            fs.makedirs(staging, exist_ok=True)
            self._file: Any = fs.open(self._staged, "wb")

    def write(self, block: memoryview) -> None:
        """Add the next bytes."""
        with translated("writing to", self._keys.where, self._key):
            self._file.write(bytes(block))
        self.offset += len(block)

    def land(self) -> None:
        """Do nothing: it was written already."""

    def finish(self) -> Entry:
        """End the file and give it its name.  OSError (EIO) where it has not the size it should have."""
        if self.offset != self._size:
            self.abandon()
            raise OSError(errno.EIO, f"has {self.offset} bytes rather than {self._size}", self._key)
        with translated("writing to", self._keys.where, self._key):
            self._file.close()
            self._fs.mv(self._staged, self._target)
        entry = again(lambda: self._keys.head(self._key))
        if entry is None or entry.size != self._size:
            raise garbled("writing to", self._keys.where, self._key)
        return entry

    def leave(self) -> None:
        """Remove what was written: fsspec cannot go on with it."""
        with suppress(Exception):
            self._file.close()
        with suppress(Exception):
            self._fs.rm_file(self._staged)

    def abandon(self) -> None:
        """Remove what was written."""
        self.leave()


class AnyMoving:
    """What a file system of fsspec's does with large files."""

    def __init__(self, fs: Any, keys: _Written, lead: str) -> None:  # noqa: ANN401 - fsspec has no types
        self._fs, self._keys, self._lead = fs, keys, lead

    def incoming(self, key: str, size: int, token: str) -> Incoming:
        """Begin a file; in memory it is there all at once."""
        if size <= SMALL or self._keys.where.startswith("memory:"):
            return WholeIncoming(key, size, lambda content: self._put(key, content))
        return AnyIncoming(self._fs, self._keys, self._lead, key, size)

    def _put(self, key: str, content: bytes) -> tuple[Entry, bool]:
        self._keys.put(key, content)
        entry = again(lambda: self._keys.head(key))
        if entry is None or entry.size != len(content):
            raise garbled("writing to", self._keys.where, key)
        return entry, False

    def copied(self, key: str, entry: Entry, source: object, target: str) -> Entry | None:
        """Return None: fsspec's copies are mostly reads and writes, and name no version."""
        return None

    def pending(self, prefix: str) -> Iterable[Unfinished]:
        """Yield nothing: nobody goes on with what was begun."""
        return ()

    def drop(self, key: str, token: str) -> None:
        """Do nothing, for the same reason."""
