"""Whether one file is whole, told from its head, tail and indexes; payloads are never read.

What begins like a known container is checked as one, whatever its name; what ends in some suffixes
must be one.  Anything else cannot be proven, and that is no fault of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptctl.containers._check import (
    UNKNOWN,
    WHOLE,
    BeyondError,
    Check,
    Checker,
    CutError,
    Headed,
    UnsoundError,
    Verdict,
    torn,
)
from ckptctl.containers._gguf import check_gguf
from ckptctl.containers._hdf5 import check_hdf5
from ckptctl.containers._msgpack import (
    begins_with_text_key,
    check_msgpack,
    msgpack_object,
    msgpack_objects,
)
from ckptctl.containers._npy import check_npy
from ckptctl.containers._safetensors import check_safetensors
from ckptctl.containers._streams import check_gzip, check_lz4, check_tar_gzip, check_xz
from ckptctl.containers._tar import check_tar
from ckptctl.containers._zip import check_zip
from ckptctl.containers._zip_crc import Checksums, crc_errors
from ckptctl.listing import Entry
from ckptctl.reading import Finding, Reader

__all__ = [
    "UNKNOWN",
    "WHOLE",
    "BeyondError",
    "Check",
    "Checksums",
    "UnsoundError",
    "Verdict",
    "check",
    "crc_errors",
    "msgpack_object",
    "msgpack_objects",
    "prove_file",
    "torn",
]

_TORCH = (".pt", ".pth", ".pth.tar", ".ckpt", ".th")
"""What torch.save writes: never a file that begins with zero bytes."""


class _Kind(NamedTuple):
    """A container: how its files begin, or end their names, and what looks at them."""

    check: Checker
    magic: bytes = b""
    at: int = 0  # where the magic stands
    suffixes: tuple[str, ...] = ()  # with a magic: both must fit


_KINDS = (
    _Kind(check_safetensors, suffixes=(".safetensors",)),
    _Kind(check_msgpack, suffixes=(".msgpack",)),
    _Kind(check_zip, b"PK\x03\x04"),
    _Kind(check_hdf5, b"\x89HDF\r\n\x1a\n"),
    _Kind(check_gguf, b"GGUF"),
    _Kind(check_npy, b"\x93NUMPY"),
    _Kind(check_tar, b"ustar", at=257),
    _Kind(check_tar_gzip, b"\x1f\x8b", suffixes=(".tar.gz", ".tgz", ".nemo")),
    _Kind(check_gzip, b"\x1f\x8b"),
    _Kind(check_lz4, b"\x04\x22\x4d\x18"),
    _Kind(check_xz, b"\xfd7zXZ\x00"),
)
"""All that is known; the first that fits is asked."""


def prove_file(path: str, entry: Entry, reader: Reader) -> Iterator[Finding]:
    """Yield a finding if the file is surely not whole.

    Raises VanishedError where it is gone, and any other OSError where it cannot be read.
    """
    checked = check(path, entry, reader)
    if checked.verdict is Verdict.TORN:
        yield Finding(path, "torn", checked.text)


def check(path: str, entry: Entry, reader: Reader) -> Check:
    """Return whether a file is whole, torn, or cannot be proven to be either.

    `entry` is what the listing saw.  A few KiB at both ends are read, and what a container has as
    its index.  Raises VanishedError where the file is gone, and any other OSError where it cannot
    be read.
    """
    name = path.lower()
    if name.endswith(".distcp"):  # blobs one after the other; that of a rank without any is empty
        return UNKNOWN
    if entry.size == 0:
        return torn("is empty")
    with reader.open(path) as blob:
        if blob.size < entry.size:
            return torn(f"shrank from {entry.size:,} to {blob.size:,} bytes since it was listed")
        headed = Headed(blob)
        checker = _checker(name, headed.head)
        if checker is None:
            return _check_unknown(name, headed, entry)
        try:
            return checker(headed)
        except CutError:
            return torn(f"was cut at {blob.size:,} bytes: it says that more belongs to it")
        except UnsoundError as error:
            return torn(str(error))
        except BeyondError:
            return UNKNOWN


def _checker(name: str, head: bytes) -> Checker | None:
    """Return what looks at a file of a name, in lower case, and a head."""
    for kind in _KINDS:
        if head.startswith(kind.magic, kind.at) and name.endswith(kind.suffixes or ""):
            return kind.check
    bare = "." not in name.rpartition("/")[2]
    return check_msgpack if bare and begins_with_text_key(head) else None


def _check_unknown(name: str, blob: Headed, entry: Entry) -> Check:
    """Return what can be said of a file that begins like nothing known."""
    begins = (kind.magic for kind in _KINDS if not kind.at)
    if any(blob.size < len(magic) and magic.startswith(blob.head) for magic in begins):
        return torn(f"was cut after {blob.size} bytes")
    if (
        name.endswith(_TORCH)
        and not any(blob.head)
        and entry.inode  # a store without inodes does not tell what is on the medium
        and entry.allocated * 2 < blob.size
    ):
        return torn(
            f"begins with zeros, and of its {blob.size:,} bytes only {entry.allocated:,} are on the"
            " disk: a crash came before they were written"
        )
    return UNKNOWN
