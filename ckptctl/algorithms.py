"""Checksums that servers hold of whole objects, and what follows from them: pure.

By name, in hexadecimal: `crc32`, `crc32c`, `crc64nvme`, `md5`, `sha1`, `sha256`, ...; and ETAG, which
may be an MD5 and may be anything else: one that agrees proves as much, one that does not proves
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

ETAG = "etag"
"""Of an object that was uploaded in one piece, mostly the MD5 of its bytes."""

_QUICKEST = ("crc32c", "crc32", "sha1", "sha256", "sha512", "md5", ETAG)
"""What can be computed here; the first costs next to nothing, MD5 some two seconds a GB."""


class Hasher(Protocol):
    """What takes in blocks of bytes and tells what they hash to."""

    def update(self, block: memoryview, /) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """Return what all of them hash to, in hexadecimal."""


class _Crc:
    """A checksum of 32 bits."""

    def __init__(self, extend: Callable[[int, memoryview], int]) -> None:
        self._extend = extend
        self._value = 0

    def update(self, block: memoryview, /) -> None:
        """Take in the next bytes."""
        self._value = self._extend(self._value, block)

    def hexdigest(self) -> str:
        """Return the checksum as servers write it, the highest byte first."""
        return f"{self._value:08x}"


def hasher(name: str) -> Hasher:
    """Return what computes an algorithm that `quickest` or a framework has named."""
    import hashlib  # noqa: PLC0415 - only who reads bytes needs these
    import zlib  # noqa: PLC0415

    if name == "crc32":
        return _Crc(lambda value, block: zlib.crc32(block, value))
    if name == "crc32c":
        import google_crc32c  # noqa: PLC0415 - only who reads from a bucket needs it

        return _Crc(lambda value, block: int(google_crc32c.extend(value, bytes(block))))
    return hashlib.new(name, usedforsecurity=False)


def quickest(held: Mapping[str, str]) -> frozenset[str]:
    """Return the algorithm that shows fastest whether bytes are those a server holds; none where none can."""
    name = next((name for name in _QUICKEST if name in held), None)
    return frozenset({"md5" if name == ETAG else name} if name else ())


def agrees(held: Mapping[str, str], digests: Mapping[str, str]) -> bool | None:
    """Whether what a server holds is what hashes to these digests; None where nothing tells."""
    told = [
        value == digests[name] for name, value in held.items() if name in digests and name != ETAG
    ]
    if told:
        return all(told)
    return True if ETAG in held and held[ETAG] == digests.get("md5") else None


def worth_noting(held: Mapping[str, str], digests: Mapping[str, str]) -> Mapping[str, str] | None:
    """Return what to note beside our own digest of bytes that were read, to know them again.

    What was computed of them and, where that cannot be, the server's word.  None where it says nothing.
    """
    word = {name: value for name, value in held.items() if name not in _QUICKEST}
    return dict(sorted({**word, **digests}.items())) if held else None
