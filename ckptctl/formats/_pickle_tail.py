"""Plain pickles, as Paddle writes them: one that does not end with STOP was cut off; none is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from ckptctl.model import Checkpoint
from ckptctl.reading import Finding, Reader

_PROTO = 0x80
_STOP = b"."


def prove_pickles(
    checkpoint: Checkpoint, reader: Reader, endings: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield a finding for each file of such an ending that is empty or a pickle without its end.

    What begins like none is not judged.  Source: CPython, Lib/pickle.py `dump`.
    """
    for path, entry in checkpoint.files.items():
        if not path.endswith(endings) or path in checkpoint.sidecars:
            continue
        with reader.open(path) as blob:
            head, tail = blob.read(0, 1), blob.read(max(0, blob.size - 1), 1)
        if not head:
            yield Finding(path, "torn", "is empty")
        elif head[0] == _PROTO and tail != _STOP:
            yield Finding(path, "torn", f"was cut at {entry.size:,} bytes: its end is not there")
