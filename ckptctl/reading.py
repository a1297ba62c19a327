"""How the code that knows formats reads a store, without knowing which store it is.

Paths are relative, parts joined by "/".  An `OSError` that is neither of the two below is an I/O
error or a lack of permission: what could not be read is then unknown, and nothing may be deleted
on the strength of it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

SIDECAR_LIMIT = 16 * 2**20
"""Bytes of the largest sidecar that is read."""

FRAMEWORK_LIMIT = 2**30
"""Bytes of the largest JSON of a framework's own that is read."""

TRACKER_LIMIT = 64 * 2**10
"""Bytes of the largest pointer file that is read."""


VALUES_LIMIT = 500_000
"""Values of the largest JSON that becomes one tree in memory: of some 100 bytes each."""

NOT_UNDERSTOOD = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""What is raised where JSON of our own is taken apart and is not what it should be."""


def digits_only(error: Exception) -> bool:
    """Whether what JSON's parser raised is that a number has thousands of digits: sound JSON, then."""
    return type(error) is ValueError  # bad JSON and bad encoding are classes of their own


def too_many_values(content: bytes) -> bool:
    """Whether a JSON text may spell more values than are kept in memory at once."""
    return len(content) > 2 * VALUES_LIMIT and sum(map(content.count, b",[{")) > VALUES_LIMIT


class VanishedError(OSError):
    """The file was listed and is gone: another process deleted or renamed it."""


class TooLargeError(OSError):
    """The file is larger than the limit; nothing of it was read."""


class Blob(Protocol):
    """An opened file that can be read at any place."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from `offset`; return how many bytes it got, 0 only at the end of the file."""


class Reader(Protocol):
    """Reads the files of one directory tree; never follows a link, never opens a FIFO."""

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file.  Raises VanishedError, TooLargeError or OSError."""

    def open(self, path: str) -> AbstractContextManager[Blob]:
        """Open a file for reading at places.  Raises VanishedError or OSError."""


class Below(NamedTuple):
    """A reader of a directory within another reader's tree."""

    reader: Reader
    path: str  # "" for the same tree

    def _at(self, path: str) -> str:
        return f"{self.path}/{path}" if self.path else path

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file of the directory."""
        return self.reader.read(self._at(path), limit)

    def open(self, path: str) -> AbstractContextManager[Blob]:
        """Open a file of the directory."""
        return self.reader.open(self._at(path))


class Finding(NamedTuple):
    """Something that is wrong with one file of a checkpoint."""

    file: str  # relative to the run
    code: str  # kebab-case, stable
    text: str
