"""S3 through obstore: synchronous calls only, which may run in threads.

obstore cannot spell every key (`a//b`, `..`, control characters, `dir/`): a listing that meets one
is made again through s3fs, and such keys are deleted through it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptctl.listing import Entry
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._again import again, garbled
from ckptctl.stores._base import Capabilities
from ckptctl.stores._errors import refused, seen_in, translated
from ckptctl.stores._keys import Keys, Page
from ckptctl.stores._meanings import PRECONDITION
from ckptctl.stores._obstore_listing import entry_in, level, listed
from ckptctl.stores._one_by_one import delete_each
from ckptctl.stores._past import NoPast, Past
from ckptctl.stores._s3_moving import S3Moving, uploads_through
from ckptctl.stores._sound import spelt

if TYPE_CHECKING:
    from ckptctl.stores._s3_requests import Reach

_THREADS = 16
_NO_RANGE = 416
_STREAMED = 2**20
"""Bytes of a block: larger ones are slower, and take memory."""


class ObstoreKeys:
    """A bucket through obstore."""

    able = Capabilities(match=True, checksum=True)

    def __init__(
        self,
        store: Any,  # noqa: ANN401 - obstore's class differs between its versions
        where: str,
        spare: Callable[[], Keys],
        reach: Callable[[], Reach],
    ) -> None:
        self._store = store
        self._uploads = uploads_through(reach)
        self.where = where
        self._spare = spare
        # Of each object that was written: None where the bucket never had versions.
        self._versions: set[str | None] = set()

    @property
    def moving(self) -> S3Moving:
        """How large files come in; not kept, so that nothing here refers to itself.

        What is in a cycle keeps its connections until Python looks for cycles, which is rarely.
        """
        return S3Moving(self, self._uploads)

    def pages(self, prefix: str, *, deep: bool) -> Iterator[Page]:
        """Yield all below a prefix from one listing; from one by s3fs where a key is odd."""
        from obstore.exceptions import InvalidPathError  # noqa: PLC0415 - only who needs a bucket waits for it

        if prefix and not spelt(prefix[:-1]):
            yield from self._spare().pages(prefix, deep=deep)
            return
        try:
            if deep:
                yield from listed(self._store, self.where, prefix, self.head)
            else:
                yield again(lambda: level(self._store, self.where, prefix))
        except InvalidPathError:
            yield Page(afresh=True)
            yield from self._spare().pages(prefix, deep=deep)

    def real(self, keys: Collection[str]) -> set[str]:
        """Return those that are objects by this very key: one HEAD each, many at once."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

        with ThreadPoolExecutor(_THREADS) as pool:
            heads = pool.map(self.head, keys)
            return {key for key, found in zip(keys, heads, strict=True) if found is not None}

    def head(self, key: str) -> Entry | None:
        """Return what is said of an object; None where there is none."""
        if not spelt(key):
            return self._spare().head(key)
        import obstore  # noqa: PLC0415

        try:
            with translated("looking at an object in", self.where, key):
                return self._seen(obstore.head(self._store, key), key)
        except VanishedError:
            return None

    def checksums(self, entries: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
        """Return what s3fs is told that whole objects hash to: obstore cannot ask for checksums."""
        return self._spare().checksums(entries)

    def whole(self, key: str, limit: int) -> bytes:
        """Return an object; its size is looked at before its bytes come."""
        if not spelt(key):
            return self._spare().whole(key, limit)
        entry, content = self._first(key, limit + 1, limit)
        if len(content) != entry.size:
            raise garbled("reading from", self.where, key)
        return content

    def _seen(self, meta: Mapping[str, Any], key: str) -> Entry:
        """Return what an answer says of one object."""
        entry = entry_in(meta)
        if not entry.etag and not entry.mtime_ns:  # S3 always says both
            raise garbled("reading from", self.where, key)
        return entry

    def start(self, key: str, length: int) -> tuple[Entry, bytes]:
        """Return what is said of an object, and its first bytes, by one request."""
        return self._first(key, length) if spelt(key) else self._spare().start(key, length)

    def _first(self, key: str, length: int, limit: int | None = None) -> tuple[Entry, bytes]:
        """Return what is said of an object, and its first bytes; TooLargeError before they come."""
        import obstore  # noqa: PLC0415

        with translated("reading from", self.where, key):
            try:
                found = obstore.get(self._store, key, options={"range": (0, length)})
            except Exception as error:
                seen = seen_in(error)
                if seen.status != _NO_RANGE and not seen.garbled:
                    raise
                entry = self._seen(obstore.head(self._store, key), key)
                if entry.size:  # else there is no range in it that could be asked for
                    raise
                return entry, b""
            entry = self._seen(found.meta, key)
            if limit is not None and entry.size > limit:
                raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", key)
            return entry, bytes(found.bytes())

    def part(self, key: str, offset: int, length: int, etag: str) -> bytes:
        """Return bytes of the version that was opened."""
        if not spelt(key):
            return self._spare().part(key, offset, length, etag)
        import obstore  # noqa: PLC0415

        options: Any = {"range": (offset, offset + length), "if_match": f'"{etag}"'}
        with translated("reading from", self.where, key):
            try:
                return bytes(obstore.get(self._store, key, options=options).bytes())
            except Exception as error:
                if seen_in(error).status == PRECONDITION:
                    raise VanishedError(errno.ESTALE, "it was saved anew meanwhile", key) from None
                raise

    def stream(self, key: str, offset: int, entry: Entry) -> Iterator[memoryview]:
        """Yield the bytes of this version from an offset on, as they come."""
        if not spelt(key):
            yield from self._spare().stream(key, offset, entry)
            return
        import obstore  # noqa: PLC0415

        options: Any = {"range": {"offset": offset}, "if_match": f'"{entry.etag}"'}
        with translated("reading from", self.where, key):
            try:
                found = obstore.get(self._store, key, options=options)
            except Exception as error:
                if seen_in(error).status == PRECONDITION:
                    raise VanishedError(errno.ESTALE, "it was saved anew meanwhile", key) from None
                raise
            if found.meta["size"] != entry.size:
                raise VanishedError(errno.ESTALE, "it has another size by now", key)
            coming = iter(found.stream(min_chunk_size=_STREAMED))
        while True:
            with translated("reading from", self.where, key):
                block = next(coming, None)
            if block is None:
                return
            yield memoryview(block)

    def put(self, key: str, content: bytes, *, new: bool = False, if_match: str = "") -> None:
        """Write an object whole by one request."""
        if not spelt(key):
            self._spare().put(key, content, new=new, if_match=if_match)
            return
        import obstore  # noqa: PLC0415

        mode: Any = "create" if new else {"e_tag": f'"{if_match}"'} if if_match else "overwrite"
        try:
            done = again(
                lambda: obstore.put(self._store, key, content, mode=mode, use_multipart=False),
                _is_lost,
            )
            self._versions |= {done.get("version")}
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            raise refused(error, self.where, key, new=new, if_match=if_match) from None

    def delete(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Delete by one request; where something of it fails, find out what is still there."""
        import obstore  # noqa: PLC0415

        odd = {key: etag for key, etag in keys.items() if not spelt(key)}
        left = self._spare().delete(odd) if odd else {}
        plain = [key for key in keys if spelt(key)]
        with translated("deleting from", self.where):
            try:
                if plain:
                    again(lambda: obstore.delete(self._store, plain), _is_lost)
            except Exception as error:
                if "DeleteFailed {" not in str(error):  # else it is about a single key
                    raise
                there = self.real(plain)
                # What a batch left is deleted once more, so that each key tells its own reason.
                again_each = [key for key in plain if key in there]
                left |= delete_each(
                    lambda key: obstore.delete(self._store, key), self.where, again_each
                )
        return left

    def past(self) -> Past:
        """Return who can be asked what is kept: s3fs, which is slow to start, where anything may be.

        A bucket with versions, or that once had them, tells that of each object that is written.
        """
        return NoPast("off") if self._versions == {None} else self._spare().past()

    def delete_markers(self, markers: Sequence[str]) -> None:
        """Delete the markers of empty directories, which obstore cannot spell."""
        if markers:
            self._spare().delete_markers(markers)


def _is_lost(error: Exception) -> bool:
    """Whether a connection broke after which obstore does not repeat by itself what changes something."""
    return seen_in(error).cut and " retries, max_retries" not in str(error)
