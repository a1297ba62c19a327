"""Large files into a bucket of GCS: resumable uploads of its JSON API, and copies that it makes itself.

The address of a session lets whoever has it write the object: without its host it is the token,
and it is never shown.
"""

from __future__ import annotations

import errno
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores._again import GarbledError, garbled, gone, lost, wait
from ckptctl.stores._errors import translated
from ckptctl.stores._fsspec import entry_of
from ckptctl.stores._gcs_session import NEEDED, Session
from ckptctl.stores._moving import Incoming, Unfinished
from ckptctl.stores._patience import LOST_SECONDS
from ckptctl.stores._whole import SMALL, WholeIncoming

if TYPE_CHECKING:
    from concurrent.futures import Future

CHUNK = 8 * 2**20
"""Bytes of one request; a multiple of 256 KiB, as GCS wants it."""

_ADDRESSES = "/upload/storage/v1/"
_LONGEST = 4


class _Written(Protocol):
    """What is asked of the keys."""

    where: str

    def put_told(self, key: str, content: bytes) -> Mapping[str, Any]:
        """Write an object; return what is said of it."""


class GcsIncoming:
    """An upload of which one chunk is under way while the next is filled."""

    def __init__(self, session: Session, key: str, size: int, where: str, begun: int) -> None:
        """`begun` is how many bytes the server has of an earlier process."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

        self._session, self._key, self._size, self._where = session, key, size, where
        self.token = session.address
        self.offset = begun
        self.proven = False
        self._whole = begun == 0  # whether all bytes went through here
        self._crc = 0
        self._buffer = bytearray()
        self._left = False
        self._pool = ThreadPoolExecutor(1)
        self._flying: Future[Mapping[str, Any] | None] | None = None

    def write(self, block: memoryview) -> None:
        """Add the next bytes.  OSError of those before."""
        while block:
            taken = block[: CHUNK - len(self._buffer)]
            self._buffer += taken
            self.offset += len(taken)
            block = block[len(taken) :]
            if len(self._buffer) == CHUNK and self.offset < self._size:
                self._send()

    def _send(self) -> Mapping[str, Any] | None:
        """Send what was gathered, once what was sent before is there; return what that said."""
        import google_crc32c  # noqa: PLC0415 - only who uploads needs it

        told = self._flying.result() if self._flying else None
        content = bytes(self._buffer)
        self._buffer.clear()
        self._crc = int(google_crc32c.extend(self._crc, content))
        self._flying = self._pool.submit(self._sent, self.offset - len(content), content)
        return told

    def _sent(self, begin: int, content: bytes) -> Mapping[str, Any] | None:
        """Send bytes until the server has them all; asked after each failure what it has."""
        began = time.monotonic()
        tried, end, ask = 0, begin + len(content), False
        there: int | Mapping[str, Any] = begin
        while True:
            try:
                if ask:
                    there, ask = self._session.there(), False
                if isinstance(there, Mapping):
                    return there
                if there >= end:
                    return None
                if there < begin:
                    raise gone(self._where, self._key)
                before = there
                there = self._session.send(there, content[there - begin :])
                if not isinstance(there, Mapping) and there <= before:
                    raise garbled("writing to", self._where, self._key)
            except OSError as error:
                if self._left or not lost(error) or time.monotonic() - began > LOST_SECONDS:
                    raise
                wait(min(tried, _LONGEST))
                tried += 1
                ask = True

    def land(self) -> None:
        """Wait for all but the last bytes, which make it an object.  OSError."""
        if self._flying is not None and self._buffer:
            self._flying.result()

    def finish(self) -> Entry:
        """Send the rest; return the entry.  OSError (EIO) where the object is not what was sent."""
        try:
            if self.offset != self._size:
                raise OSError(
                    errno.EIO, f"has {self.offset} bytes rather than {self._size}", self._key
                )
            if self._buffer:
                self._send()
            told = self._flying.result() if self._flying else self._session.there()
        finally:
            self.leave()
        if not isinstance(told, Mapping):
            raise GarbledError(
                errno.EPROTO, f"writing to {self._where}: it does not end", self._key
            )
        entry, same = checked(told, self._size, self._crc if self._whole else None)
        if same is False:
            raise OSError(
                errno.EIO,
                f"writing to {self._where}: what is there is not what was sent; copy it again",
                self._key,
            )
        self.proven = bool(same)
        return entry

    def leave(self) -> None:
        """Let go of it: what is under way comes to its end, but is not sent again."""
        self._left = True
        self._pool.shutdown()
        self._buffer.clear()

    def abandon(self) -> None:
        """End the session."""
        self.leave()
        self._session.cancel()


def checked(told: Mapping[str, Any], size: int, crc: int | None) -> tuple[Entry, bool | None]:
    """Return the entry of an object and whether it is what has this size and CRC32C; None: unknown."""
    entry = entry_of(told["size"], told["updated"], told["generation"])
    if entry.size != size:
        return entry, False
    if crc is None or not told.get("crc32c"):
        return entry, None
    return entry, told["crc32c"] == b64encode(crc.to_bytes(4)).decode()


class GcsMoving:
    """What a bucket of GCS does with large files."""

    def __init__(self, fs: Any, keys: _Written, bucket: str) -> None:  # noqa: ANN401 - gcsfs has no types
        self._fs, self._keys, self._bucket = fs, keys, bucket

    def incoming(self, key: str, size: int, token: str) -> Incoming:
        """Begin an object, or go on with the session of a token."""
        if size <= SMALL:
            return WholeIncoming(key, size, lambda content: self._put(key, content))
        where = self._keys.where
        if token.startswith(_ADDRESSES):
            session = Session(self._fs, where, key, size, token)
            try:
                there = session.there()
            except OSError as error:
                if lost(error):
                    raise
                there = {}
            if isinstance(there, int) and there < size:
                return GcsIncoming(session, key, size, where, there)
        made = Session(self._fs, where, key, size, self._begun(key, size))
        return GcsIncoming(made, key, size, where, 0)

    def _begun(self, key: str, size: int) -> str:
        with translated("writing to", self._keys.where, key):
            headers, _ = self._fs.call(
                "POST",
                f"{self._fs._location}{_ADDRESSES}b/{{}}/o",  # noqa: SLF001 - as gcsfs itself does
                self._bucket,
                uploadType="resumable",
                name=key,
                json={"name": key},
                headers={
                    "X-Upload-Content-Type": "application/octet-stream",
                    "X-Upload-Content-Length": str(size),
                },
            )
        parts = urlsplit(str(headers.get("Location", "")))
        if not parts.path.startswith(_ADDRESSES):
            raise garbled("writing to", self._keys.where, key)
        return f"{parts.path}?{parts.query}"

    def _put(self, key: str, content: bytes) -> tuple[Entry, bool]:
        import google_crc32c  # noqa: PLC0415 - only who uploads needs it

        told = self._keys.put_told(key, content)
        if not told.keys() >= NEEDED:
            raise garbled("writing to", self._keys.where, key)
        entry, same = checked(told, len(content), int(google_crc32c.value(content)))
        if same is False:
            text = (
                f"writing to {self._keys.where}: what is there is not what was sent; copy it again"
            )
            raise OSError(errno.EIO, text, key)
        return entry, bool(same)

    def copied(self, key: str, entry: Entry, source: object, target: str) -> Entry | None:
        """Let the server copy this very generation, in as many steps as it likes."""
        if not isinstance(source, GcsMoving) or not entry.etag:
            return None
        if str(source._fs._location) != str(self._fs._location):  # noqa: SLF001 - as gcsfs itself does
            return None
        more: dict[str, str] = {}
        while True:
            try:
                with translated("copying within", self._keys.where, key):
                    found = self._fs.call(
                        "POST",
                        "b/{}/o/{}/rewriteTo/b/{}/o/{}",
                        source._bucket,  # noqa: SLF001 - of another of these
                        key,
                        self._bucket,
                        target,
                        sourceGeneration=entry.etag,
                        json_out=True,
                        **more,
                    )
            except VanishedError:
                raise
            except OSError as error:
                if error.errno in {errno.EACCES, errno.ENOTSUP, errno.EINVAL}:
                    return None
                raise
            if found.get("done"):
                made, same = checked(found["resource"], entry.size, None)
                if same is False:
                    raise VanishedError(errno.ESTALE, "it has another size by now", key)
                return made
            more = {"rewriteToken": str(found["rewriteToken"])}

    def pending(self, prefix: str) -> Iterable[Unfinished]:
        """Yield nothing: GCS shows no sessions, and ends them by itself."""
        return ()

    def drop(self, key: str, token: str) -> None:
        """Do nothing, for the same reason."""
