"""Write small files at a destination whole, and read them back."""

from __future__ import annotations

import errno

from ckptctl.reading import FRAMEWORK_LIMIT, VanishedError
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.notes import Sent
from ckptctl.transfer.sending import Sender


def write_sidecars(cargo: Cargo, sender: Sender, run: Store) -> dict[str, Sent]:
    """Write the sidecars beside a checkpoint, over older ones: they may change without it."""
    sent = {}
    for piece in cargo.beside():
        content = sender.source.read(piece.path, FRAMEWORK_LIMIT)
        sent[piece.target] = written(run, piece.target, content, piece.mtime_ns)
        sender.told(len(content))
    return sent


def written(store: Store, path: str, content: bytes, mtime_ns: int = 0) -> Sent:
    """Write a file whole, with a time where that can be, and read it back.  Raises OSError."""
    import blake3  # noqa: PLC0415 - only who copies needs it

    parent_of(store, path)
    store.replace(path, content)
    if mtime_ns and isinstance(store, LocalStore):
        store.set_time(path, mtime_ns)
    entry = store.stat(path)
    if entry is None:
        raise VanishedError(errno.ENOENT, "it was removed just after it was written", path)
    if store.read(path, len(content)) != content:
        raise OSError(errno.EIO, "what was written there is not what is there", path)
    return Sent(entry, blake3.blake3(content).hexdigest())


def parent_of(store: Store, path: str) -> None:
    """Make the directory that a file is to lie in."""
    above = path.rpartition("/")[0]
    if above:
        store.make_folder(above)
