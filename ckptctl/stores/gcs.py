"""Google Cloud Storage through gcsfs, by the calls of its JSON API.

A version is its generation: a create is "if the generation is 0", a replace "if it is this one".
Deletions are one request each, many at once: gcsfs's batch does not say which of its keys failed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ckptctl.listing import Entry
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._again import garbled
from ckptctl.stores._base import Capabilities, MistakenError, Opening, opener
from ckptctl.stores._checksums import checksums_of_gcs
from ckptctl.stores._download import by_parts
from ckptctl.stores._errors import host_of, refused, translated
from ckptctl.stores._fsspec import answers, entry_of
from ckptctl.stores._gcs_moving import GcsMoving
from ckptctl.stores._gcs_opening import endpoint_of, opened
from ckptctl.stores._keeping import Keeping
from ckptctl.stores._keys import Page, paged
from ckptctl.stores._objects import ObjectStore
from ckptctl.stores._one_by_one import why_left
from ckptctl.stores._options import typed
from ckptctl.stores._past import BRIEF_SECONDS, GCS_FIELDS, Past, Version, of_gcs
from ckptctl.stores._sound import refuse_unknown, sound_bucket
from ckptctl.stores.any import AnyKeys

_FIELDS = "name,size,updated,generation"
_CHECKSUMS = "generation,crc32c,md5Hash,contentEncoding"
_PAGE = 5000
_NO_CONTENT = frozenset({b"", b"{}", b"null"})
"""How servers confirm a deletion; Google's by nothing."""

_AT_ONCE = 32
_NAMES = frozenset({
    "project", "access", "token", "block_size", "consistency", "cache_timeout", "secure_serialize",
    "check_connection", "requests_timeout", "requester_pays", "session_kwargs", "timeout",
    "endpoint_url", "default_location", "version_aware", "anon", "batch_size", "retries",
})  # fmt: skip
"""The options that gcsfs 2026 reads (gcsfs/core.py), and `retries`; it ignores others without a word."""


class GcsKeys(AnyKeys):
    """A bucket through gcsfs."""

    able = Capabilities(match=True, checksum=True)

    def __init__(self, fs: Any, bucket: str, where: str) -> None:  # noqa: ANN401 - gcsfs has no types
        super().__init__(fs, where, f"{bucket}/")
        self._bucket = bucket

    @property
    def moving(self) -> GcsMoving:
        """How large files come in; not kept, so that nothing here refers to itself."""
        return GcsMoving(self._fs, self, self._bucket)

    def _call(self, method: str, path: str, *parts: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        return self._fs.call(method, path, self._bucket, *parts, **arguments)

    def pages(self, prefix: str, *, deep: bool) -> Iterator[Page]:
        """Yield all below a prefix from one listing, in pages of 5000."""
        more: dict[str, object] = {
            "maxResults": _PAGE,
            "fields": f"kind,items({_FIELDS}),prefixes,nextPageToken",
        }
        if prefix:
            more["prefix"] = prefix
        if not deep:
            more["delimiter"] = "/"

        def fetch(token: str) -> tuple[Page, str]:
            return self._list({**more, **({"pageToken": token} if token else {})})

        yield from paged(fetch, self.where)

    def _list(self, wanted: Mapping[str, object]) -> tuple[Page, str]:
        """Return one page and the token of the next, once it is one."""
        with translated("listing", self.where):
            found = self._call("GET", "b/{}/o", json_out=True, **wanted)
        if not isinstance(found, Mapping) or found.get("kind") != "storage#objects":
            raise garbled("listing", self.where)
        try:
            page = Page(
                [(item["name"], _entry(item)) for item in found.get("items", ())],
                [name.removesuffix("/") for name in found.get("prefixes", ())],
            )
            return page, str(found.get("nextPageToken") or "")
        except (AttributeError, KeyError, TypeError, ValueError):
            raise garbled("listing", self.where) from None

    def _entry(self, found: Any, key: str) -> Entry:  # noqa: ANN401 - JSON
        """Return what an answer says of one object."""
        if not isinstance(found, Mapping) or not found.keys() >= {"size", "updated", "generation"}:
            raise garbled("reading from", self.where, key)
        return _entry(found)

    def head(self, key: str) -> Entry | None:
        """Return what is said of an object; None where there is none."""
        try:
            with translated("looking at an object in", self.where, key):
                found = self._call("GET", "b/{}/o/{}", key, json_out=True, fields=_FIELDS)
                return self._entry(found, key)
        except VanishedError:
            return None

    def checksums(self, entries: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
        """Return what the metadata say that whole objects of these versions hash to."""

        async def ask(key: str) -> Any:  # noqa: ANN401 - JSON
            return await self._fs._call(  # noqa: SLF001 - many at once
                "GET", "b/{}/o/{}", self._bucket, key, json_out=True, fields=_CHECKSUMS
            )

        items = answers(self._fs, ask, list(entries))
        return {
            key: checksums_of_gcs(item)
            for key, item in items.items()
            if str(item["generation"]) == entries[key].etag
        }

    def whole(self, key: str, limit: int) -> bytes:
        """Return an object; its size is looked at before its bytes come."""
        entry, _ = self.start(key, 0)
        if entry.size > limit:
            raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", key)
        content = self.part(key, 0, entry.size, entry.etag) if entry.size else b""
        if len(content) != entry.size:
            raise garbled("reading from", self.where, key)
        return content

    def part(self, key: str, offset: int, length: int, etag: str) -> bytes:
        """Return bytes of the version that was opened."""
        wanted = {"Range": f"bytes={offset}-{offset + length - 1}"}
        with translated("reading from", self.where, key):
            _, content = self._call(
                "GET", "b/{}/o/{}", key, alt="media", generation=etag, headers=wanted
            )
        return bytes(content)

    def stream(self, key: str, offset: int, entry: Entry) -> Iterator[memoryview]:
        """Yield the bytes of this version from an offset on, by ranged requests."""
        return by_parts(
            lambda begin, length: self.part(key, begin, length, entry.etag), offset, entry.size
        )

    def put(self, key: str, content: bytes, *, new: bool = False, if_match: str = "") -> None:
        """Write an object whole by one request."""
        self.put_told(key, content, new=new, if_match=if_match)

    def put_told(
        self, key: str, content: bytes, *, new: bool = False, if_match: str = ""
    ) -> Mapping[str, Any]:
        """Write an object, name and content as two parts of one request; return what is said of it."""
        edge = f"==ckptctl{os.urandom(12).hex()}=="
        body = (
            f"--{edge}\nContent-Type: application/json; charset=UTF-8\n\n{json.dumps({'name': key})}\n"
            f"--{edge}\nContent-Type: application/octet-stream\n\n"
        ).encode() + b"%b\n--%b--" % (content, edge.encode())
        more = {"ifGenerationMatch": "0" if new else if_match} if new or if_match else {}
        try:
            found = self._call(
                "POST",
                f"{self._fs._location}/upload/storage/v1/b/{{}}/o",  # noqa: SLF001 - as gcsfs itself does
                uploadType="multipart",
                headers={"Content-Type": f'multipart/related; boundary="{edge}"'},
                data=body,
                json_out=True,
                **more,
            )
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            raise refused(error, self.where, key, new=new, if_match=if_match) from None
        if not isinstance(found, Mapping) or "generation" not in found:
            raise garbled("writing to", self.where)
        return found

    def delete(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Delete the generations that are meant, many at once, and see what became of each."""
        from fsspec.asyn import _run_coros_in_chunks, sync  # noqa: PLC0415 - only who deletes pays

        async def every() -> list[object]:
            calls = [
                self._fs._call(  # noqa: SLF001 - many at once
                    "DELETE",
                    "b/{}/o/{}",
                    self._bucket,
                    key,
                    **({"ifGenerationMatch": etag} if etag else {}),
                )
                for key, etag in keys.items()
            ]
            found: list[object] = await _run_coros_in_chunks(
                calls, batch_size=_AT_ONCE, return_exceptions=True
            )
            return found

        with translated("deleting from", self.where):
            answers = sync(self._fs.loop, every)
        return {
            key: reason
            for key, answer in zip(keys, answers, strict=True)
            if (reason := self._why(answer, key))
        }

    def delete_markers(self, markers: Sequence[str]) -> None:
        """Delete the markers of empty directories; one that cannot be deleted does no harm."""
        self.delete(dict.fromkeys(markers, ""))

    def past(self) -> Past:
        """Return itself."""
        return self

    def settings(self) -> Keeping:
        """Ask for the resource of the bucket, which takes the permission storage.buckets.get."""
        with translated("asking for the settings of", self.where):
            found = self._call(
                "GET", "b/{}", json_out=True, fields=GCS_FIELDS, timeout=BRIEF_SECONDS
            )
            return of_gcs(found)

    def noncurrent(self, prefix: str) -> Iterator[Sequence[Version]]:
        """Yield the noncurrent versions below a prefix, in pages of 5000 with what is current."""
        more = {"fields": f"items({_FIELDS},timeDeleted),nextPageToken"}
        while True:
            with translated("listing the versions in", self.where):
                found = self._call(
                    "GET", "b/{}/o", json_out=True, timeout=BRIEF_SECONDS, versions="true",
                    prefix=prefix, maxResults=_PAGE, **more,
                )  # fmt: skip
            yield [
                Version(item["name"], int(item.get("size") or 0), str(item["generation"]))
                for item in found.get("items", ())
                if item.get("timeDeleted")
            ]
            if not found.get("nextPageToken"):
                return
            more["pageToken"] = found["nextPageToken"]

    def _why(self, answer: object, key: str) -> str:
        def settle() -> None:
            if isinstance(answer, Exception):
                raise answer
            if not isinstance(answer, tuple) or bytes(answer[1]).strip() not in _NO_CONTENT:
                raise garbled("deleting from", self.where, key)

        return why_left(settle, self.where, key)


def _entry(item: Mapping[str, Any]) -> Entry:
    return entry_of(item["size"], item["updated"], item["generation"])


@opener("gs", "gcs")
def open_gcs(opening: Opening) -> ObjectStore:
    """Open a location of a bucket with application default credentials, or as the options say."""
    bucket, prefix = sound_bucket(opening.path, "gs")
    options = {key: value for key, value in typed(opening.options).items() if key != "engine"}
    if options.pop("anon", False):
        options["token"] = "anon"  # noqa: S105 - gcsfs's word for none
    refuse_unknown(options, _NAMES)
    if not str(options.get("retries", 1)).isdecimal():
        raise MistakenError(errno.EINVAL, "retries: say how often at most a request is made")
    where = f"gs://{bucket}"
    endpoint = endpoint_of(options.pop("endpoint_url", None))
    if endpoint:
        options["endpoint_url"] = endpoint
        where += f" at {host_of(endpoint)}"
    # Else aiohttp knows no HTTPS_PROXY.
    session = options.get("session_kwargs")
    options["session_kwargs"] = {
        "trust_env": True,
        **(session if isinstance(session, dict) else {}),
    }
    keys = opening.shared.get(where)
    if keys is None:
        keys = opening.shared[where] = GcsKeys(opened(options, endpoint, where), bucket, where)
    return ObjectStore(opening.url, keys, prefix, opening.max_keys)
