"""S3's multipart uploads: begun, filled, listed, ended; and copies that the server makes itself."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from ckptctl.stores._again import garbled, gone
from ckptctl.stores._fsspec import nanoseconds
from ckptctl.stores._moving import Unfinished
from ckptctl.stores._s3_requests import Answer, S3Requests

_SUM = "x-amz-checksum-crc32c"
_ASKING = {"x-amz-checksum-algorithm": "CRC32C", "x-amz-checksum-type": "FULL_OBJECT"}
_UNKNOWN_WORDS = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented", "400", "501"})
_DIFFERS = frozenset({"BadDigest", "XAmzContentChecksumMismatch"})
_GONE = frozenset({"NoSuchUpload"})
_TRIES = 3  # of what arrived as something else


class Part(NamedTuple):
    """One part that the server has."""

    size: int
    etag: str
    crc: str = ""  # CRC32C in base64; "" where the server was not asked to check it
    proven: bool = False  # the server has seen that it is what was sent


class S3Uploads:
    """The uploads of one bucket."""

    def __init__(self, requests: S3Requests) -> None:
        self.requests = requests
        self._checks: bool | None = None  # whether the server checks what it is told; None: unknown

    def begin(self, key: str) -> str:
        """Begin an upload; return its id.  One with checksums, where the server knows these."""
        doing = "writing to"
        found = self.requests.ask(
            doing, "POST", key, {"uploads": ""}, headers=_ASKING, accept=_UNKNOWN_WORDS
        )
        if found.code:
            self._checks = False
            found = self.requests.ask(doing, "POST", key, {"uploads": ""})
        return found.text("UploadId") or _garbled(self.requests, doing, key)

    def checks(self, key: str, upload: str, number: int) -> bool:
        """Whether the server refuses a part that is not what its checksum says: it is sent one.

        It is asked once, by the last part that an upload can have: what is not listed in its end is
        no part of it.
        """
        if self._checks is None:
            found = self.requests.ask(
                "writing to", "PUT", key, {"partNumber": number, "uploadId": upload}, b"?",
                {_SUM: _crc(b"!")}, accept=_DIFFERS | _UNKNOWN_WORDS,
            )  # fmt: skip
            self._checks = found.code in _DIFFERS
        return self._checks

    def send(self, key: str, upload: str, number: int, body: bytes, until: threading.Event) -> Part:
        """Send a part, with what shows that it came as it was sent.  Raises OSError."""
        summed = bool(self._checks)
        crc, md5 = (_crc(body), b"") if summed else ("", _md5(body))
        headers = {_SUM: crc} if summed else {"Content-MD5": b64encode(md5).decode()}
        for tried in range(_TRIES):
            accept = _GONE | (_DIFFERS if tried < _TRIES - 1 else frozenset())
            found = self.requests.ask(
                "writing to", "PUT", key, {"partNumber": number, "uploadId": upload}, body, headers,
                accept=accept, until=until,
            )  # fmt: skip
            if found.code in _GONE:
                raise gone(self.requests.where, key)
            if not found.code:
                break
        etag = found.headers.get("etag", "").strip('"')
        if not etag:
            _garbled(self.requests, "writing to", key)
        return Part(len(body), etag, crc, summed or etag == md5.hex())

    def parts(self, key: str, upload: str) -> dict[int, Part] | None:
        """Return the parts that are there, by number; None where there is no such upload."""
        parts: dict[int, Part] = {}
        after = 0
        while True:
            query = {"uploadId": upload, "part-number-marker": after}
            found = self.requests.ask(
                "looking at an upload in", "GET", key, query, accept=_GONE | _UNKNOWN_WORDS
            )
            if found.code:
                return None
            for text in _elements(found, "Part"):
                number, size = (int(text.text(name) or 0) for name in ("PartNumber", "Size"))
                parts[number] = Part(
                    size, text.text("ETag").strip('"'), text.text("ChecksumCRC32C")
                )
            last = max(parts, default=0)
            if found.text("IsTruncated") != "true" or last <= after:
                return parts
            after = last

    def end(
        self, key: str, upload: str, parts: Mapping[int, Part], until: threading.Event
    ) -> str | None:
        """Make an object of the parts; return its ETag, None where there is no such upload (any more)."""
        summed = all(part.crc for part in parts.values())
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{part.etag}&quot;</ETag>"
            + (f"<ChecksumCRC32C>{part.crc}</ChecksumCRC32C>" if summed else "")
            + "</Part>"
            for number, part in sorted(parts.items())
        )
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</CompleteMultipartUpload>'
        headers = {"Content-Type": "application/xml"}
        if summed:
            headers["x-amz-checksum-type"] = _ASKING["x-amz-checksum-type"]
        found = self.requests.ask(
            "writing to", "POST", key, {"uploadId": upload}, body.encode(), headers,
            accept=_GONE, until=until,
        )  # fmt: skip
        return None if found.code else found.text("ETag").strip('"')

    def abort(self, key: str, upload: str) -> None:
        """Remove the parts of an upload; nothing where it is gone."""
        self.requests.ask(
            "removing an upload from", "DELETE", key, {"uploadId": upload}, accept=_GONE
        )

    def pending(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads below a prefix; their paths are full keys."""
        more: dict[str, object] = {}
        while True:
            query = {"uploads": "", "prefix": prefix, "encoding-type": "url", **more}
            found = self.requests.ask("listing the uploads in", "GET", "", query)
            if "<ListMultipartUploadsResult" not in found.body.decode(errors="replace"):
                _garbled(self.requests, "listing the uploads in", "")
            for one in _elements(found, "Upload"):
                began = nanoseconds(one.text("Initiated") or 0)
                yield Unfinished(_key(found, one.text("Key")), one.text("UploadId"), began)
            after = found.text("NextKeyMarker"), found.text("NextUploadIdMarker")
            if found.text("IsTruncated") != "true" or not after[0]:
                return
            more = {"key-marker": _key(found, after[0]), "upload-id-marker": after[1]}

    def copy(self, key: str, etag: str, source: S3Requests, target: str) -> Answer:
        """Let the server copy an object of this very version; return what it says of it.

        The answer holds the code of what keeps it from doing so.
        """
        return self.requests.ask(
            "copying within", "PUT", target, headers=_source(source, key, etag), accept=REFUSED
        )

    def copy_part(
        self,
        key: str,
        etag: str,
        source: S3Requests,
        target: str,
        part: tuple[str, int],
        span: tuple[int, int],
    ) -> Answer:
        """Let the server make a part (upload and number) of some bytes of an object; see `copy`."""
        headers = _source(source, key, etag)
        headers["x-amz-copy-source-range"] = f"bytes={span[0]}-{span[1] - 1}"
        query = {"partNumber": part[1], "uploadId": part[0]}
        return self.requests.ask(
            "copying within", "PUT", target, query, headers=headers, accept=REFUSED
        )


CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "412", "404"})
"""What a server says where there is no such version to copy."""

REFUSED = CHANGED | _UNKNOWN_WORDS | {"AccessDenied", "403", "NoSuchBucket", "EntityTooLarge"}
"""What it says where it cannot copy, so that the bytes have to be read and written."""


def _source(source: S3Requests, key: str, etag: str) -> dict[str, str]:
    return {
        "x-amz-copy-source": f"/{source.reach.bucket}/{quote(key, safe='/~')}",
        "x-amz-copy-source-if-match": f'"{etag}"',
    }


def _key(found: Answer, text: str) -> str:
    """Return a key of a listing, which not every server encodes although it was asked to."""
    from urllib.parse import unquote  # noqa: PLC0415 - few ask

    return unquote(text) if found.text("EncodingType") == "url" else text


def _elements(found: Answer, name: str) -> Iterable[Answer]:
    import re  # noqa: PLC0415 - only who resumes needs it

    pattern = rb"<%b>.*?</%b>" % (name.encode(), name.encode())
    return [Answer(0, {}, one) for one in re.findall(pattern, found.body, re.DOTALL)]


def _crc(body: bytes) -> str:
    import google_crc32c  # noqa: PLC0415 - only who uploads needs it

    value = int(google_crc32c.value(body))
    return b64encode(value.to_bytes(4)).decode()


def _md5(body: bytes) -> bytes:
    import hashlib  # noqa: PLC0415 - the same

    return hashlib.md5(body, usedforsecurity=False).digest()


def _garbled(requests: S3Requests, doing: str, key: str) -> str:
    raise garbled(doing, requests.where, key)
