"""How the bytes of large files come into a store and out of it: what copying needs beyond `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from ckptctl.listing import Entry


class Incoming(Protocol):
    """A file that is being written into a store, block by block; nobody sees it before `finish`.

    Every method raises OSError where the store refuses; what was written then is kept or lost, as
    with `leave`.  It is used by one thread at a time.
    """

    offset: int  # bytes that are there of an earlier process: the first block goes after these
    token: str  # by which another process goes on; it may change after each `write`; "" for nothing

    def write(self, block: memoryview) -> None:
        """Add the next bytes, of any number; the caller may reuse the buffer at once."""

    def land(self) -> None:
        """Wait until what was written is there, as far as the store can hold it back: `finish` is short then."""

    def finish(self) -> Entry:
        """End the file, which is durable and seen from then on; return its entry as it is there.

        OSError (EIO) where the store itself finds that what it holds is not what was written.
        """

    @property
    def proven(self) -> bool:
        """Whether the server itself has checked each byte that was written; else it is to be read back."""

    def leave(self) -> None:
        """Let go of it; what was written stays for another process, as far as `token` tells."""

    def abandon(self) -> None:
        """Remove what was written."""


class Unfinished(NamedTuple):
    """An upload that was begun and never ended; its parts take room that nobody sees."""

    path: str
    token: str
    began_ns: int


class Giving(Protocol):
    """What gives the bytes of large files.  Raises OSError, VanishedError where a file is another."""

    def blocks(self, path: str, entry: Entry, offset: int = 0) -> Iterator[memoryview]:
        """Yield the bytes of a file from an offset on; each block is valid until the next is asked for.

        They are all of the version that `entry` tells: VanishedError where it is another by now, and
        where it ends early or late.  Some MiB a block; what comes next is fetched meanwhile.
        """


class Moving(Giving, Protocol):
    """What a store can do with large files.  All raise OSError, VanishedError where a file is another."""

    def incoming(self, path: str, size: int, token: str = "") -> Incoming:
        """Begin a file of so many bytes, or go on with that of a token.

        A token that the store does not know any more begins it anew (`offset` is 0).
        """

    def copied(self, path: str, entry: Entry, source: Giving, target: str) -> Entry | None:
        """Let the store itself make a copy of a file of `source`, over what is there; return its entry.

        None, and nothing done, where it cannot: then the bytes have to be read and written.
        """

    def unfinished(self) -> Iterable[Unfinished]:
        """Yield the uploads below this location that were begun and not ended."""

    def drop(self, upload: Unfinished) -> None:
        """Remove the parts of an upload that nobody will go on with; nothing where they are gone."""
