"""Whether one file is whole, told from its head and its tail; payloads are never read.

What begins like a known container is checked as one, whatever its name; a file that ends in
`.safetensors` must be one.  Anything else cannot be proven, and that is no fault of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptctl.containers._check import UNKNOWN, WHOLE, Check, Verdict, torn
from ckptctl.containers._hdf5 import check_hdf5
from ckptctl.containers._safetensors import check_safetensors
from ckptctl.containers._zip import check_zip
from ckptctl.model import Entry
from ckptctl.reading import Blob, Finding, Reader

__all__ = ["UNKNOWN", "WHOLE", "Check", "Verdict", "check", "prove_file", "torn"]

_HEAD = 4096
_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TORCH = (".pt", ".pth", ".pth.tar", ".ckpt", ".th")
"""What torch.save writes: never a file that begins with zero bytes."""


def prove_file(path: str, entry: Entry, reader: Reader) -> Iterator[Finding]:
    """Yield a finding if the file is surely not whole.

    Raises VanishedError where it is gone, and any other OSError where it cannot be read.
    """
    checked = check(path, entry, reader)
    if checked.verdict is Verdict.TORN:
        yield Finding(path, "torn", checked.text)


def check(path: str, entry: Entry, reader: Reader) -> Check:
    """Return whether a file is whole, torn, or cannot be proven to be either.

    `entry` is what the listing saw.  A few KiB at both ends are read, of a ZIP its directory, of
    safetensors the header.  Raises VanishedError where the file is gone, and any other OSError
    where it cannot be read.
    """
    name = path.lower()
    if name.endswith(".distcp"):  # blobs one after the other; that of a rank without any is empty
        return UNKNOWN
    if entry.size == 0:
        return torn("is empty")
    with reader.open(path) as blob:
        if blob.size < entry.size:
            return torn(f"shrank from {entry.size:,} to {blob.size:,} bytes since it was listed")
        head = blob.read(0, min(_HEAD, blob.size))
        if name.endswith(".safetensors"):
            return check_safetensors(blob)
        if head.startswith(_ZIP):
            return check_zip(blob)
        if head.startswith(_HDF5):
            return check_hdf5(head, blob.size)
        return _check_unknown(name, head, blob, entry)


def _check_unknown(name: str, head: bytes, blob: Blob, entry: Entry) -> Check:
    """Return what can be said of a file that begins like nothing known."""
    if blob.size < len(_ZIP) and _ZIP.startswith(head):
        return torn(f"was cut after {blob.size} bytes")
    if (
        name.endswith(_TORCH)
        and not any(head)
        and entry.inode  # a store without inodes does not tell what is on the medium
        and entry.allocated * 2 < blob.size
    ):
        return torn(
            f"begins with zeros, and of its {blob.size:,} bytes only {entry.allocated:,} are on the"
            " disk: a crash came before they were written"
        )
    return UNKNOWN
