"""Where all of a copy lies in a bucket before what has its name is taken away.

Nothing can be renamed there, so what replaces another one is sent among our own records first; from
there the server copies it into place.  So at each moment all of the one or the other is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ckptctl.stores._base import Store
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.delivery import Quay
from ckptctl.transfer.notes import STORED, Notes
from ckptctl.transfer.sending import Sender


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The place of one checkpoint."""

    quay: Quay
    cargo: Cargo

    @property
    def _folder(self) -> str:
        return self.quay.staging(self.cargo.member)

    def _notes(self) -> Notes:
        file = f"{self._folder}/{STORED}"
        return Notes(self.quay.state, self.cargo.member, self.quay.clock(), file=file)

    def used(self) -> bool:
        """Whether an interrupted call has stored anything.  Raises OSError."""
        return self._notes().existed

    def store(self, sender: Sender) -> Cargo:
        """Send all of it there, and look at the source for the last time; return it as it lies there.

        Raises as a delivery does.
        """
        notes, state = self._notes(), self.quay.state
        pieces = [piece._replace(twin=None) for piece in self.cargo.pieces]
        tokens = {f"{self._folder}/files/{piece.target}": notes.token(piece) for piece in pieces}
        for upload in state.unfinished():
            if upload.path.startswith(f"{self._folder}/") and (
                upload.token != tokens.get(upload.path)
            ):
                state.drop(upload)
        sent = sender.send(pieces, state, lambda path: f"{self._folder}/files/{path}", notes)
        sender.refuse_changed(self.cargo)

        def lying() -> Iterator[Piece]:
            for piece in self.cargo.pieces:
                entry, digest = sent[piece.target]
                yield piece._replace(path=piece.target, entry=entry, digest=digest, twin=None)

        return replace(self.cargo, pieces=tuple(lying()))

    def sender(self, sender: Sender) -> Sender:
        """Return what sends from there, with the same patience; its bytes were counted before."""
        files: Store = self.quay.state.below(f"{self._folder}/files")
        jobs = sender.jobs, sender.small_jobs
        return Sender(files, sender.throttle, *jobs, sender.stop, lambda _: None)

    def clear(self) -> None:
        """Remove what lies there; what cannot be removed now is swept later."""
        self.quay.state.remove_tree(self._folder)
