"""What is sound in an address, an option and a credential, before a library gets it.

obstore panics at some of it, which prints lines of its own; others fail long after, or ignore it.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from string import ascii_letters, digits
from urllib.parse import urlsplit

from ckptctl.stores._base import MistakenError
from ckptctl.stores._keys import ODD

_BUCKET = frozenset(f"{ascii_letters}{digits}.-_:")
"""What the names of buckets and the ARNs of access points are made of."""


def sound_bucket(path: str, scheme: str) -> tuple[str, str]:
    """Return bucket and key of what follows "://".  MistakenError where no bucket is named so."""
    bucket, _, key = path.partition("/")
    if not bucket:
        raise MistakenError(
            errno.EINVAL, f"the bucket's name is empty; write {scheme}://BUCKET/PATH"
        )
    if not _BUCKET.issuperset(bucket):
        raise MistakenError(errno.EINVAL, "no bucket has such a name; check it for a typo")
    return bucket, key


def sound_path(path: str) -> str:
    """Return a path within a bucket.  MistakenError where not all commands could spell it."""
    if path and not ODD.isdisjoint(path.split("/")):
        raise MistakenError(errno.EINVAL, "its path holds //, . or ..; name one without")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise MistakenError(
            errno.EINVAL, "its path is no UTF-8, which all keys are; check it"
        ) from None
    return path


def spelt(key: str) -> bool:
    """Whether obstore can spell a key."""
    return ODD.isdisjoint(key.split("/")) and key.isprintable()


def refuse_unknown(options: Mapping[str, object], known: Collection[str], more: str = "") -> None:
    """Refuse an option that nobody reads.  MistakenError that names those that there are."""
    for name in options:
        if name not in known:
            raise MistakenError(
                errno.EINVAL,
                f"there is no storage option {name!r} here; use {', '.join(sorted(known))}{more}",
            )


def sound_endpoint(endpoint: str, scheme: str = "https") -> str:
    """Return the address of a server, with a scheme where it names none.

    MistakenError where it is none: obstore panics at a space, others fail long after.
    """
    whole = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
    try:
        parts = urlsplit(whole)
        sound = parts.scheme.lower() in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not whole.isprintable() or " " in whole:
        raise MistakenError(
            errno.EINVAL,
            "the endpoint is no server's address; write http(s)://HOST[:PORT], without spaces",
        )
    return whole.rstrip("/")


def sound_region(region: str | None) -> str | None:
    """Return a region.  MistakenError where it is none: obstore panics at a line break."""
    if region and not (region.isascii() and region.replace("-", "").isalnum()):
        raise MistakenError(
            errno.EINVAL, "no region has such a name; check AWS_REGION and ~/.aws/config"
        )
    return region


def refuse_unsendable(**said: str | None) -> None:
    """Refuse what no header can carry, which is often a line break at its end.  PermissionError."""
    for what, value in said.items():
        if value and not (value.isascii() and value.isprintable() and value.strip() == value):
            raise OSError(
                errno.EACCES,
                f"the credentials' {what} has a line break, space or other strange character; check where it comes from (AWS_*, ~/.aws, --storage-option)",
            )
