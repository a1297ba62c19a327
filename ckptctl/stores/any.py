"""Any other URL that fsspec knows: memory, sftp, azure, hdfs, ...; also what GCS builds on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ckptctl.listing import Entry
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._any_moving import AnyMoving
from ckptctl.stores._base import Capabilities, MistakenError, Opening, opener
from ckptctl.stores._download import by_parts
from ckptctl.stores._errors import refused, translated
from ckptctl.stores._fsspec import entry_of, quiet
from ckptctl.stores._keys import Page
from ckptctl.stores._object_moving import KeysMoving
from ckptctl.stores._objects import ObjectStore
from ckptctl.stores._one_by_one import delete_each
from ckptctl.stores._options import typed
from ckptctl.stores._past import NoPast, Past

_ETAGS = ("ETag", "etag", "generation", "content_md5", "md5", "checksum")
_EMPTY_ONLY = frozenset({"memory", "sftp", "ssh", "ftp", "smb", "file", "local"})
"""Whose `rmdir` is known to refuse a directory that holds anything; pyarrow's deletes all in it."""
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")


class AnyKeys:
    """A file system of fsspec's, of which only names, sizes, times, reads and writes are used."""

    able = Capabilities()

    def __init__(self, fs: Any, where: str, lead: str) -> None:  # noqa: ANN401 - fsspec has no types
        """`lead` is "/" where the paths of this file system begin so."""
        self._fs = fs
        self.where = where
        self._lead = lead

    @property
    def moving(self) -> KeysMoving:
        """How large files come in; not kept, so that nothing here refers to itself."""
        return AnyMoving(self._fs, self, self._lead)

    def _path(self, key: str) -> str:
        return f"{self._lead}{key}"

    def _key(self, path: str) -> str:
        return path.removeprefix(self._lead) if self._lead else path

    def pages(self, prefix: str, *, deep: bool) -> Iterator[Page]:
        """Yield all below a prefix: flat where the store can, else directory by directory."""
        at = prefix.removesuffix("/")
        if deep and _lists_flat(self._fs):
            with translated("listing", self.where):
                found = self._fs.find(self._path(at), detail=True)
            yield self._page(info for info in found.values() if self._key(info["name"]) != at)
            return
        waiting = [at]
        while waiting:
            folder = waiting.pop()
            with translated("listing", self.where):
                try:
                    listed = self._fs.ls(self._path(folder), detail=True)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # it went meanwhile, or it is what the caller asks for: see `listing`
            below = [info for info in listed if self._key(info["name"].rstrip("/")) != folder]
            yield self._page(below)
            if deep:
                waiting += [
                    self._key(info["name"].rstrip("/"))
                    for info in below
                    if info["type"] == "directory"
                ]

    def _page(self, infos: Any) -> Page:  # noqa: ANN401 - the same
        objects, prefixes, others = [], [], []
        for info in infos:
            key = self._key(info["name"])
            if info["type"] == "directory":
                prefixes.append(key.rstrip("/"))
            elif info["type"] == "file" and not info.get("islink"):
                objects.append((key, _entry(info)))
            else:
                others.append(key)
        return Page(objects, prefixes, (), others)

    def real(self, keys: Collection[str]) -> set[str]:
        """Return all: here keys are as they are."""
        return set(keys)

    def head(self, key: str) -> Entry | None:
        """Return what is said of a file; None where there is none."""
        try:
            with translated("looking at a file in", self.where, key):
                info = self._fs.info(self._path(key))
        except VanishedError:
            return None
        return _entry(info) if info["type"] == "file" else None

    def checksums(self, entries: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
        """Return nothing: fsspec's `checksum` is mostly made of names and times."""
        return {}

    def whole(self, key: str, limit: int) -> bytes:
        """Return a file, or as much of it as shows that it is too large."""
        with translated("reading from", self.where, key):
            content = bytes(self._fs.cat_file(self._path(key), start=0, end=limit + 1))
        if len(content) > limit:
            raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", key)
        return content

    def start(self, key: str, length: int) -> tuple[Entry, bytes]:
        """Return what is said of a file; its bytes are another request."""
        entry = self.head(key)
        if entry is None:
            raise VanishedError(errno.ENOENT, "it is gone", key)
        return entry, b""

    def part(self, key: str, offset: int, length: int, etag: str) -> bytes:
        """Return bytes of the file as it is now."""
        with translated("reading from", self.where, key):
            return bytes(self._fs.cat_file(self._path(key), start=offset, end=offset + length))

    def stream(self, key: str, offset: int, entry: Entry) -> Iterator[memoryview]:
        """Yield the bytes of the file as it is now, by ranged reads."""
        return by_parts(lambda begin, length: self.part(key, begin, length, ""), offset, entry.size)

    def put(self, key: str, content: bytes, *, new: bool = False, if_match: str = "") -> None:
        """Write a file whole; what a version must match is more than fsspec can say."""
        if if_match:
            raise OSError(errno.ENOTSUP, f"{self.where} cannot replace one version only", key)
        path = self._path(key)
        try:
            if self._lead and "/" in key:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, content, mode="create" if new else "overwrite")
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            raise refused(error, self.where, key, new=new, if_match="") from None

    def delete(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Delete files one by one, several at once."""
        return delete_each(lambda key: self._fs.rm_file(self._path(key)), self.where, list(keys))

    def delete_markers(self, markers: Sequence[str]) -> None:
        """Remove empty directories, where this store has directories; one that stays does no harm."""
        if _EMPTY_ONLY.isdisjoint(_protocols(self._fs)):
            return
        for marker in markers:
            with suppress(Exception):
                self._fs.rmdir(self._path(marker.rstrip("/")))

    def past(self) -> Past:
        """Return that memory keeps nothing, and that of others nobody knows."""
        return NoPast("off" if self.where.startswith("memory:") else "unknown")


def _protocols(fs: Any) -> tuple[str, ...]:  # noqa: ANN401 - the same
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


@contextmanager
def _meant(scheme: str) -> Iterator[None]:
    """Say where an address alone does not open a file system: its constructor wants more."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, ImportError) as error:
        if isinstance(error, ImportError):
            text = f"{scheme}:// cannot be opened; install what it needs: {error}"
            raise MistakenError(errno.EPROTONOSUPPORT, text) from None
        raise MistakenError(
            errno.EPROTONOSUPPORT,
            f"{scheme}:// cannot be opened by an address alone; give what fsspec's file system of that name needs by --storage-option",
        ) from None


def _lists_flat(fs: Any) -> bool:  # noqa: ANN401 - the same
    """Whether a file system has a flat listing of its own, rather than fsspec's walk.

    That walk leaves out a directory that cannot be listed, without a word.
    """
    from fsspec import AbstractFileSystem  # noqa: PLC0415 - only who needs it pays
    from fsspec.asyn import AsyncFileSystem  # noqa: PLC0415 - the same

    own = getattr(type(fs), "_find", None) or type(fs).find
    return own not in {AbstractFileSystem.find, AsyncFileSystem._find}  # noqa: SLF001 - see above


def _entry(info: Mapping[str, Any]) -> Entry:
    when = next((info[name] for name in _TIMES if info.get(name)), 0)
    return entry_of(info.get("size"), when, next((info[n] for n in _ETAGS if info.get(n)), ""))


@opener("*")
def open_any(opening: Opening) -> ObjectStore:
    """Open any URL by fsspec, which needs the package of its scheme."""
    import fsspec  # noqa: PLC0415 - only who needs it pays

    scheme = opening.url.partition("://")[0]
    if scheme in {"http", "https"}:  # a page of links is no listing that a deletion may rest on
        raise MistakenError(
            errno.EPROTONOSUPPORT,
            "a web address has no listing to rely on; name the bucket: s3://BUCKET/PATH or gs://BUCKET/PATH, with endpoint_url",
        )
    quiet("fsspec", scheme)
    options = {key: value for key, value in typed(opening.options).items() if key != "engine"}
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        need = str(error) if isinstance(error, ImportError) else "fsspec does not know it"
        raise MistakenError(
            errno.EPROTONOSUPPORT, f"{scheme}:// cannot be opened; {need}"
        ) from None
    where = f"{scheme}://{opening.path.partition('/')[0].rpartition('@')[2]}"
    make: Callable[..., Any] = kind
    with translated("opening", where), _meant(scheme):
        given = kind._get_kwargs_from_urls(opening.url)  # noqa: SLF001 - fsspec's own way to host and user
        more = {} if kind.cachable is False else {"skip_instance_cache": scheme != "memory"}
        fs = opening.shared.get(f"{scheme} {given}")
        if fs is None:
            fs = make(**{**given, **more, **options, "use_listings_cache": False})
            opening.shared[f"{scheme} {given}"] = fs
        path = str(kind._strip_protocol(opening.url))  # noqa: SLF001 - the same
    lead = "/" if path.startswith("/") else ""
    return ObjectStore(opening.url, AnyKeys(fs, where, lead), path.strip("/"), opening.max_keys)
