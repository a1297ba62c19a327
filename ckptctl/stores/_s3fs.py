"""S3 through s3fs: the second engine, and the one for keys that obstore cannot spell.

The calls are S3's own by s3fs's session, so that nothing is cached, and each error of a batch is seen.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptctl.listing import Entry
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._again import garbled
from ckptctl.stores._base import Capabilities
from ckptctl.stores._checksums import checksums_of_s3
from ckptctl.stores._download import by_parts
from ckptctl.stores._errors import host_of, refusal, refused, seen_in, translated
from ckptctl.stores._fsspec import answers, entry_of, quiet
from ckptctl.stores._keeping import Keeping
from ckptctl.stores._keys import BATCH, Page, paged
from ckptctl.stores._meanings import PRECONDITION
from ckptctl.stores._options import S3_NAMES, S3Options
from ckptctl.stores._past import BRIEF_SECONDS, Past, Version, of_s3
from ckptctl.stores._patience import PATIENCE
from ckptctl.stores._s3_moving import S3Moving, uploads_through

if TYPE_CHECKING:
    from ckptctl.stores._s3_requests import Reach


class S3fsKeys:
    """A bucket through s3fs."""

    able = Capabilities(match=True, checksum=True)

    def __init__(
        self,
        bucket: str,
        found: S3Options,
        options: Mapping[str, object],
        reach: Callable[[], Reach],
    ) -> None:
        import s3fs  # noqa: PLC0415 - takes most of a second

        quiet("s3fs", "fsspec", "aiobotocore", "botocore")
        self.where = f"s3://{bucket}" + (f" at {host_of(found.endpoint)}" if found.endpoint else "")
        self._bucket = bucket
        self._uploads = uploads_through(reach)
        client = dict(found.client)
        if found.region:
            client["region_name"] = found.region
        if found.verify is not True:
            client["verify"] = found.verify
        more = {name: value for name, value in options.items() if name not in S3_NAMES}
        if found.profile:
            more["profile"] = found.profile
        retries = dict(PATIENCE["retries"])
        if found.attempts:
            retries["total_max_attempts"] = found.attempts
        with translated("opening", self.where):
            self._fs: Any = s3fs.S3FileSystem(
                anon=found.anon,
                key=found.key,
                secret=found.secret,
                token=found.token,
                endpoint_url=found.endpoint,
                requester_pays=found.requester_pays,
                client_kwargs=client,
                config_kwargs={**PATIENCE, **found.config, "retries": retries},
                skip_instance_cache=True,
                use_listings_cache=False,
                **more,
            )
        self._fs.retries = 1  # botocore repeats what is refused, `again` what is garbled

    def past(self) -> Past:
        """Return itself."""
        return self

    def settings(self) -> Keeping:
        """Ask for versioning and, since there is none without it, only then for Object Lock."""
        with translated("asking for the versioning of", self.where):
            versioning = self._call("get_bucket_versioning", timeout=BRIEF_SECONDS)
        lock: Mapping[str, Any] | None = {}
        if versioning.get("Status") == "Enabled":
            try:
                with translated("asking for the Object Lock of", self.where):
                    found = self._call("get_object_lock_configuration", timeout=BRIEF_SECONDS)
                lock = found.get("ObjectLockConfiguration", {})
            except FileNotFoundError:
                pass  # which is how S3 says that there is none
            except OSError:
                lock = None
        return of_s3(versioning, lock)

    def noncurrent(self, prefix: str) -> Iterator[Sequence[Version]]:
        """Yield the noncurrent versions below a prefix, in pages of 1000 with what is current."""
        more: dict[str, str] = {}
        while True:
            with translated("listing the versions in", self.where):
                found = self._call(
                    "list_object_versions",
                    Prefix=prefix,
                    MaxKeys=BATCH,
                    timeout=BRIEF_SECONDS,
                    **more,
                )
            yield [
                Version(item["Key"], item.get("Size", 0), item.get("ETag", "").strip('"'))
                for item in found.get("Versions", ())
                if not item.get("IsLatest")
            ]
            names = ("KeyMarker", "VersionIdMarker")
            more = {name: found[f"Next{name}"] for name in names if found.get(f"Next{name}")}
            if not found.get("IsTruncated") or not more:
                return

    def _call(self, method: str, **arguments: object) -> Any:  # noqa: ANN401 - S3's answers have no types
        return self._fs.call_s3(method, Bucket=self._bucket, **self._fs.req_kw, **arguments)

    @property
    def moving(self) -> S3Moving:
        """How large files come in; not kept, so that nothing here refers to itself.

        What is in a cycle keeps its connections until Python looks for cycles, which is rarely.
        """
        return S3Moving(self, self._uploads)

    def pages(self, prefix: str, *, deep: bool) -> Iterator[Page]:
        """Yield all below a prefix from one listing, in pages of 1000."""
        more: dict[str, str] = {} if deep else {"Delimiter": "/"}

        def fetch(token: str) -> tuple[Page, str]:
            after = {"ContinuationToken": token} if token else {}
            return self._list(Prefix=prefix, **more, **after)

        yield from paged(fetch, self.where)

    def _list(self, **arguments: str) -> tuple[Page, str]:
        """Return one page, once it has all that it says it has, and the token of the next."""
        with translated("listing", self.where):
            found: dict[str, Any] = self._call("list_objects_v2", **arguments)
        count = len(found.get("Contents", ())) + len(found.get("CommonPrefixes", ()))
        if "Name" not in found or count < found.get("KeyCount", 0):
            raise garbled("listing", self.where)
        try:
            page = Page(
                [(item["Key"], _entry(item)) for item in found.get("Contents", ())],
                [item["Prefix"].removesuffix("/") for item in found.get("CommonPrefixes", ())],
            )
            return page, found["NextContinuationToken"] if found.get("IsTruncated") else ""
        except (KeyError, ValueError):
            raise garbled("listing", self.where) from None

    def real(self, keys: Collection[str]) -> set[str]:
        """Return all: here keys are as they are."""
        return set(keys)

    def head(self, key: str) -> Entry | None:
        """Return what is said of an object; None where there is none."""
        try:
            with translated("looking at an object in", self.where, key):
                return self._entry(self._call("head_object", Key=key), key)
        except VanishedError:
            return None

    def checksums(self, entries: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
        """Return what a HEAD says that whole objects of these versions hash to."""

        async def ask(key: str) -> Any:  # noqa: ANN401 - S3's answers have no types
            return await self._fs._call_s3(  # noqa: SLF001 - many at once
                "head_object",
                Bucket=self._bucket,
                Key=key,
                ChecksumMode="ENABLED",
                **self._fs.req_kw,
            )

        heads = answers(self._fs, ask, list(entries))
        return {
            key: checksums_of_s3(head)
            for key, head in heads.items()
            if (_entry(head).etag, _entry(head).size) == (entries[key].etag, entries[key].size)
        }

    def whole(self, key: str, limit: int) -> bytes:
        """Return an object, or as much of it as shows that it is too large."""
        found, content = self._get(key, Range=f"bytes=0-{limit}")
        entry = self._entry(found, key)
        if entry.size > limit:
            raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", key)
        if len(content) != entry.size:
            raise garbled("reading from", self.where, key)
        return content

    def start(self, key: str, length: int) -> tuple[Entry, bytes]:
        """Return what is said of an object, and its first bytes, by one request."""
        found, content = self._get(key, Range=f"bytes=0-{length - 1}")
        return self._entry(found, key), content

    def part(self, key: str, offset: int, length: int, etag: str) -> bytes:
        """Return bytes of the version that was opened."""
        return self._get(key, Range=f"bytes={offset}-{offset + length - 1}", IfMatch=f'"{etag}"')[1]

    def stream(self, key: str, offset: int, entry: Entry) -> Iterator[memoryview]:
        """Yield the bytes of this version from an offset on, by ranged requests."""
        return by_parts(
            lambda begin, length: self.part(key, begin, length, entry.etag), offset, entry.size
        )

    def _entry(self, found: Mapping[str, Any], key: str) -> Entry:
        """Return what an answer says of one object."""
        if "LastModified" not in found:
            raise garbled("reading from", self.where, key)
        return _entry(found)._replace(size=_size(found), allocated=_size(found))

    def _get(self, key: str, **arguments: str) -> tuple[dict[str, Any], bytes]:
        """Return an answer with its body."""
        from fsspec.asyn import sync  # noqa: PLC0415 - see above

        async def fetch() -> tuple[dict[str, Any], bytes]:
            found = await self._fs._call_s3(  # noqa: SLF001 - the public one cannot read the body
                "get_object", Bucket=self._bucket, Key=key, **self._fs.req_kw, **arguments
            )
            async with found["Body"] as body:
                try:
                    return found, await body.read()
                except Exception as error:
                    if seen_in(error).slow:
                        raise
                    raise garbled("reading from", self.where, key) from None

        with translated("reading from", self.where, key):
            try:
                found: tuple[dict[str, Any], bytes] = sync(self._fs.loop, fetch)
            except Exception as error:
                seen = seen_in(error)
                if seen.status == PRECONDITION:
                    raise VanishedError(
                        errno.ESTALE, "it was saved anew while it was read", key
                    ) from None
                if seen.code == "InvalidRange":  # an empty object has no range
                    return self._call("head_object", Key=key), b""
                raise
        return found

    def put(self, key: str, content: bytes, *, new: bool = False, if_match: str = "") -> None:
        """Write an object whole by one request."""
        more = {"IfNoneMatch": "*"} if new else {"IfMatch": f'"{if_match}"'} if if_match else {}
        try:
            found = self._call("put_object", Key=key, Body=content, **more)
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            raise refused(error, self.where, key, new=new, if_match=if_match) from None
        if "ETag" not in found:
            raise garbled("writing to", self.where)

    def delete(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Delete by one request; return the errors that the answer holds."""
        with translated("deleting from", self.where):
            objects = {"Objects": [{"Key": key} for key in keys], "Quiet": False}
            found = self._call("delete_objects", Delete=objects)
        gone = {item["Key"] for item in found.get("Deleted", ())}
        failed = {item["Key"]: item for item in found.get("Errors", ())}
        return {
            key: refusal(failed[key].get("Code", ""), failed[key].get("Message", ""), self.where)
            if key in failed
            else "the answer does not confirm it"
            for key in keys
            if key not in gone and failed.get(key, {}).get("Code") != "NoSuchKey"
        }

    def delete_markers(self, markers: Sequence[str]) -> None:
        """Delete the markers of empty directories; one that cannot be deleted does no harm."""
        for first in range(0, len(markers), BATCH):
            self.delete(dict.fromkeys(markers[first : first + BATCH], ""))


def _size(found: Mapping[str, Any]) -> int:
    """Return the size of the whole object of which an answer may hold a part."""
    whole = str(found.get("ContentRange", "")).rpartition("/")[2]
    return int(whole) if whole.isdecimal() else int(found.get("ContentLength", 0))


def _entry(item: Mapping[str, Any]) -> Entry:
    """Return what is said of an object; KeyError, ValueError where a listing does not say it."""
    size = item["Size"] if "Key" in item else item.get("ContentLength", 0)
    return entry_of(size, item["LastModified"], item.get("ETag", ""))
