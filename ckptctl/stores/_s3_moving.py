"""Large files in and out of a bucket of S3, whichever engine does the rest."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores._again import again, garbled
from ckptctl.stores._moving import Incoming, Unfinished
from ckptctl.stores._upload import S3Incoming, part_size
from ckptctl.stores._whole import SMALL, WholeIncoming

if TYPE_CHECKING:
    from ckptctl.stores._keys import Keys
    from ckptctl.stores._s3_requests import Reach
    from ckptctl.stores._s3_uploads import S3Uploads

COPIED = 128 * 2**20
"""Bytes that a server is to copy while somebody waits for its answer."""

_COPIES_AT_ONCE = 4


def uploads_through(reach: Callable[[], Reach]) -> Callable[[], S3Uploads]:
    """Return what gives the uploads of a bucket, made once: a listing needs none.

    It raises OSError where there are no credentials.
    """

    @cache
    def made() -> S3Uploads:
        from ckptctl.stores._s3_requests import S3Requests  # noqa: PLC0415 - a listing needs none
        from ckptctl.stores._s3_uploads import S3Uploads as Made  # noqa: PLC0415 - the same

        return Made(S3Requests(reach()))

    return made


class S3Moving:
    """What the keys of a bucket do with large files."""

    def __init__(self, keys: Keys, uploads: Callable[[], S3Uploads]) -> None:
        """`uploads` are for the requests that the library of `keys` does not know."""
        self._keys = keys
        self._uploads = uploads

    @property
    def uploads(self) -> S3Uploads:
        """The uploads of the bucket.  Raises OSError where there are no credentials."""
        return self._uploads()

    def incoming(self, key: str, size: int, token: str) -> Incoming:
        """Begin an object, or go on with the upload that a token names."""
        if size <= SMALL:
            return WholeIncoming(key, size, lambda content: self._put(key, content))
        return S3Incoming(
            self.uploads, key, size, token, lambda key: again(lambda: self._keys.head(key))
        )

    def _put(self, key: str, content: bytes) -> tuple[Entry, bool]:
        again(lambda: self._keys.put(key, content))
        entry = again(lambda: self._keys.head(key))
        if entry is None or entry.size != len(content):
            text = f"writing to {self._keys.where}: it was saved anew meanwhile; look at it again"
            raise OSError(errno.ESTALE, text, key)
        return entry, entry.etag == hashlib.md5(content, usedforsecurity=False).hexdigest()

    def pending(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads below a prefix that were begun and not ended; paths are keys."""
        return self.uploads.pending(prefix)

    def drop(self, key: str, token: str) -> None:
        """Remove the parts of an upload."""
        self.uploads.abort(key, token)

    def copied(self, key: str, entry: Entry, source: object, target: str) -> Entry | None:
        """Let the server copy an object of a bucket that it has as well; None where it cannot."""
        if not isinstance(source, S3Moving) or not entry.etag:
            return None
        ours, theirs = self.uploads.requests, source.uploads.requests
        if ours.reach.server != theirs.reach.server:
            return None
        told = (
            self._copied_whole(key, entry, source, target)
            if entry.size <= COPIED
            else self._copied_in_parts(key, entry, source, target)
        )
        if told is None:
            return None
        made = again(lambda: self._keys.head(target))
        if made is None or (made.size, made.etag) != (entry.size, told):
            text = f"copying within {self._keys.where}: it was saved anew meanwhile"
            raise OSError(errno.ESTALE, text, target)
        return made

    def _copied_whole(self, key: str, entry: Entry, source: S3Moving, target: str) -> str | None:
        from ckptctl.stores._s3_uploads import CHANGED  # noqa: PLC0415 - see above

        found = self.uploads.copy(key, entry.etag, source.uploads.requests, target)
        if found.code:
            _refuse_changed(found.code in CHANGED, key)
            return None
        return found.text("ETag").strip('"') or _garbled(self._keys.where, target)

    def _copied_in_parts(self, key: str, entry: Entry, source: S3Moving, target: str) -> str | None:
        import threading  # noqa: PLC0415 - few copies are that large
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - the same

        from ckptctl.stores._s3_uploads import CHANGED, Part  # noqa: PLC0415 - see above

        step = max(COPIED, part_size(entry.size))
        upload = self.uploads.begin(target)
        refused: list[str] = []

        def one(begin: int) -> Part | None:
            if refused:
                return None
            span = begin, min(begin + step, entry.size)
            found = self.uploads.copy_part(
                key, entry.etag, source.uploads.requests, target, (upload, begin // step + 1), span
            )
            if found.code:
                refused.append(found.code)
                return None
            crc = found.text("ChecksumCRC32C")
            return Part(span[1] - begin, found.text("ETag").strip('"'), crc)

        done = False
        try:
            with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
                parts = list(pool.map(one, range(0, entry.size, step)))
            there = {number: part for number, part in enumerate(parts, 1) if part is not None}
            if refused:
                _refuse_changed(not CHANGED.isdisjoint(refused), key)
                return None
            told = self.uploads.end(target, upload, there, threading.Event())
            done = True
            return told or _garbled(self._keys.where, target)
        finally:
            if not done:
                self.uploads.abort(target, upload)


def _refuse_changed(changed: bool, key: str) -> None:  # noqa: FBT001 - its name says it
    if changed:
        raise VanishedError(errno.ESTALE, "it was saved anew meanwhile, or is gone", key)


def _garbled(where: str, key: str) -> str:
    raise garbled("copying within", where, key)
