"""Write small files at a destination whole, and read them back."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from ckptctl.coming import FOLDER
from ckptctl.reading import SIDECAR_LIMIT, VanishedError
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Piece
from ckptctl.transfer.delivery import Quay
from ckptctl.transfer.notes import Notes, Sent, stage_name
from ckptctl.transfer.sending import Sender


def write_sidecars(pieces: Iterable[Piece], sender: Sender, quay: Quay) -> dict[str, Sent]:
    """Write sidecars beside a checkpoint, over what is there: they may change without it."""
    sent = {}
    for piece in pieces:
        if piece.entry.size > SIDECAR_LIMIT:
            sent[piece.target] = _sent(piece, sender, quay)
            continue
        content = sender.source.read(piece.path, SIDECAR_LIMIT)
        sent[piece.target] = written(quay, piece.target, content, piece.mtime_ns)
        sender.told(len(content))
    return sent


def _sent(piece: Piece, sender: Sender, quay: Quay) -> Sent:
    """Write a sidecar that is too large to be one, block by block."""
    staged = f"{stage_name(piece.target)}.one"
    notes = Notes(quay.state, piece.target, quay.clock(), file=f"{staged}.json")
    try:
        if not (isinstance(quay.state, LocalStore) and isinstance(quay.run, LocalStore)):
            return sender.send_one(piece, quay.run, piece.target, notes)
        quay.state.make_folder(FOLDER)
        parent_of(quay.run, piece.target)
        digest = sender.send_one(piece, quay.state, staged, notes).digest
        entry = quay.state.set_time(staged, piece.mtime_ns)
        quay.state.rename_over(staged, quay.run, piece.target)
        return Sent(entry, digest)
    finally:
        notes.forget()


def written(quay: Quay, path: str, content: bytes, mtime_ns: int = 0) -> Sent:
    """Write a file of the run whole, with a time where that can be, and read it back.

    Nothing else is ever seen in the run's directory.  Raises OSError.
    """
    import blake3  # noqa: PLC0415 - only who copies needs it

    run, state = quay.run, quay.state
    parent_of(run, path)
    if isinstance(state, LocalStore) and isinstance(run, LocalStore):
        staged = f"{stage_name(path)}.one"
        state.make_folder(FOLDER)
        state.replace(staged, content)
        if mtime_ns:
            state.set_time(staged, mtime_ns)
        state.rename_over(staged, run, path)
    else:
        run.replace(path, content)
    entry = run.stat(path)
    if entry is None:
        raise VanishedError(errno.ENOENT, "it was removed just after it was written", path)
    if run.read(path, len(content)) != content:
        raise OSError(errno.EIO, "what was written there is not what is there", path)
    return Sent(entry, blake3.blake3(content).hexdigest())


def parent_of(store: Store, path: str) -> None:
    """Make the directory that a file is to lie in."""
    above = path.rpartition("/")[0]
    if above:
        store.make_folder(above)
