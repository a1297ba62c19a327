"""What servers say that whole objects hash to, in hexadecimal; what covers parts is left out.

S3: `x-amz-checksum-*` of a HEAD that asks for them, with `x-amz-checksum-type`; a value of parts
ends in "-N", as does the ETag of what was uploaded in parts.  An ETag is no MD5 where the bytes are
encrypted with a key of KMS's or the customer's ("Checking object integrity" in the S3 user guide).
GCS: `crc32c` of each object, `md5Hash` of what was not composed (its JSON API, "Objects").
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from string import hexdigits
from typing import Any

from ckptctl.algorithms import ETAG

_LEAD = "Checksum"
_MD5_LENGTH = 32
_AS_STORED = frozenset({"", "identity", "aws-chunked"})
"""Encodings of content that leave bytes alone; others may be undone on the way to a reader."""


def checksums_of_s3(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums in an answer of HeadObject."""
    if not _AS_STORED.issuperset(_encodings(answer.get("ContentEncoding"))):
        return {}
    etag = str(answer.get("ETag", "")).strip('"').lower()
    parts = "-" in etag
    # Servers that tell no type keep one only of what was uploaded in one piece.
    whole = answer.get("ChecksumType", "COMPOSITE" if parts else "FULL_OBJECT") == "FULL_OBJECT"
    found = {
        key.removeprefix(_LEAD).lower(): value
        for key, text in answer.items()
        if whole and key.startswith(_LEAD) and key != "ChecksumType" and (value := _hex(text))
    }
    kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    md5 = len(etag) == _MD5_LENGTH and set(hexdigits).issuperset(etag)
    if md5 and not kms and not answer.get("SSECustomerAlgorithm"):
        found[ETAG] = etag
    return found


def checksums_of_gcs(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums in an object's metadata."""
    if not _AS_STORED.issuperset(_encodings(item.get("contentEncoding"))):
        return {}
    told = {"crc32c": _hex(item.get("crc32c")), "md5": _hex(item.get("md5Hash"))}
    return {name: value for name, value in told.items() if value}


def _encodings(text: object) -> list[str]:
    return [part.strip().lower() for part in str(text or "").split(",")]


def _hex(text: object) -> str:
    """Return base64 as hexadecimal; nothing where it is none, as a value of parts."""
    try:
        return b64decode(str(text or ""), validate=True).hex()
    except ValueError:
        return ""
