"""One resumable upload of GCS's JSON API: its requests, and what the server says of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ckptctl.reading import VanishedError
from ckptctl.stores._again import garbled, gone
from ckptctl.stores._errors import translated

_GOES_ON = 308
NEEDED = frozenset({"size", "updated", "generation"})
"""What an answer says of an object, whatever else."""


class Session:
    """One resumable upload, as the server knows it."""

    def __init__(self, fs: Any, where: str, key: str, size: int, address: str) -> None:  # noqa: ANN401 - gcsfs has no types
        self._fs, self._where, self._key, self._size = fs, where, key, size
        self.address = address

    def there(self) -> int | Mapping[str, Any]:
        """Return how many bytes the server has, or what it says of the object where that is done."""
        return self._told(*self._ask("PUT", f"*/{self._size}", b""))

    def send(self, begin: int, content: bytes) -> int | Mapping[str, Any]:
        """Send the next bytes; return the same as `there`."""
        end = begin + len(content)
        size = self._size if end == self._size else "*"
        return self._told(*self._ask("PUT", f"{begin}-{end - 1}/{size}", content))

    def cancel(self) -> None:
        """End it without an object."""
        self._ask("DELETE", "", b"")

    def _ask(self, method: str, span: str, content: bytes) -> tuple[int, Mapping[str, str], bytes]:
        from fsspec.asyn import sync  # noqa: PLC0415 - only who uploads needs it

        try:
            with translated("writing to", self._where, self._key):
                status, headers, _, body = sync(
                    self._fs.loop,
                    self._fs.request_once,
                    method,
                    f"{self._fs._location}{self.address}",  # noqa: SLF001 - as gcsfs itself does
                    headers={"Content-Range": f"bytes {span}"} if span else {},
                    data=io.BytesIO(content),  # of bytes aiohttp warns that they are large
                )
        except VanishedError:
            raise gone(self._where, self._key) from None
        return int(status), headers, bytes(body)

    def _told(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> int | Mapping[str, Any]:
        import json  # noqa: PLC0415 - the same

        if status == _GOES_ON:
            last = headers.get("Range", "").rpartition("-")[2]
            return int(last) + 1 if last.isdecimal() else 0
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, Mapping) or not found.keys() >= NEEDED:
            raise garbled("writing to", self._where, self._key)
        return found
