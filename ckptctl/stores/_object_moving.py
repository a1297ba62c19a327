"""How bytes come into a location of a bucket and out of it; see `_moving.py`."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Protocol

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores._again import again
from ckptctl.stores._download import downloaded
from ckptctl.stores._keys import ODD, Keys
from ckptctl.stores._moving import Giving, Incoming, Unfinished


class KeysMoving(Protocol):
    """What the keys of a bucket do with large files; paths are full keys.  See `Moving`."""

    def incoming(self, key: str, size: int, token: str) -> Incoming:
        """Begin an object, or go on with that of a token."""

    def copied(self, key: str, entry: Entry, source: object, target: str) -> Entry | None:
        """Let the server copy an object of other keys (`source` is how those move)."""

    def pending(self, prefix: str) -> Iterable[Unfinished]:
        """Yield the uploads below a prefix that were begun and not ended."""

    def drop(self, key: str, token: str) -> None:
        """Remove the parts of an upload; nothing where they are gone."""


class ObjectMoving:
    """All keys that begin with a prefix and "/"."""

    keys: Keys
    prefix: str

    def _key(self, path: str) -> str:
        """Return the full key of a path, which must not lead out of the location."""
        if not ODD.isdisjoint(path.split("/")):
            raise OSError(errno.EINVAL, "no path below its run", path)
        return f"{self.prefix}/{path}" if self.prefix else path

    def _prefix(self, path: str) -> str:
        """Return what all keys below a path begin with: never the twin of a longer name."""
        at = self._key(path) if path else self.prefix
        return f"{at}/" if at else ""

    def incoming(self, path: str, size: int, token: str = "") -> Incoming:
        """Begin an object, or go on with the upload of a token."""
        return self.keys.moving.incoming(self._key(path), size, token)

    def blocks(self, path: str, entry: Entry, offset: int = 0) -> Iterator[memoryview]:
        """Yield the bytes of an object.  VanishedError where it is another, or becomes one meanwhile."""
        key = self._key(path)
        # Where a version can be named the server looks; but it has none of no bytes.
        look = not (self.keys.able.match and entry.etag and entry.size > offset)
        if look:
            self._refuse_other(key, entry, path)
        yield from downloaded(self.keys, key, entry, offset)
        if look:
            self._refuse_other(key, entry, path)

    def _refuse_other(self, key: str, entry: Entry, path: str) -> None:
        now = again(lambda: self.keys.head(key))
        same = now is not None and (
            (now.size, now.etag) == (entry.size, entry.etag)
            if entry.etag
            else (now.size, now.mtime_ns) == (entry.size, entry.mtime_ns)
        )
        if not same:
            raise VanishedError(errno.ESTALE, "it was saved anew meanwhile, or is gone", path)

    def copied(self, path: str, entry: Entry, source: Giving, target: str) -> Entry | None:
        """Let the server copy an object; None where it cannot."""
        if not isinstance(source, ObjectMoving):
            return None
        return self.keys.moving.copied(
            source._key(path),  # noqa: SLF001 - of another of these
            entry,
            source.keys.moving,
            self._key(target),
        )

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the uploads below this location that were begun and not ended."""
        base = self._prefix("")
        for upload in self.keys.moving.pending(base):
            if upload.path.startswith(base):
                yield upload._replace(path=upload.path[len(base) :])

    def drop(self, upload: Unfinished) -> None:
        """Remove the parts of an upload."""
        self.keys.moving.drop(self._key(upload.path), upload.token)
