"""Deliver some files of a checkpoint to a disk: which ones is noted first, so that they never look whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl import globs
from ckptctl.listing import Folder
from ckptctl.partial import Seen, note_partial, partial_in
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.delivery import giving_up
from ckptctl.transfer.notes import Notes, stage_name
from ckptctl.transfer.pairing import is_begin
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.small import parent_of


class TakenError(ValueError):
    """Another file, or another checkpoint, is there; the text says which."""


def matching(cargo: Cargo, patterns: Sequence[str]) -> tuple[Piece, ...]:
    """Return the files of a checkpoint that one of the globs matches, by their paths in it; pure.

    A glob without a `/` matches a file's name in any directory of it.
    """
    return tuple(
        piece._replace(twin=None)
        for piece in cargo.payload()
        if any(globs.matches(glob, _seen_by(glob, cargo, piece)) for glob in patterns)
    )


def _seen_by(glob: str, cargo: Cargo, piece: Piece) -> str:
    if "/" not in glob:
        return piece.target.rpartition("/")[2]
    root = next((r for r in cargo.roots if piece.target.startswith(f"{r}/")), None)
    return piece.target if root is None else piece.target[len(root) + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesDelivery:
    """Delivers to a run that is locked."""

    run: LocalStore
    state: LocalStore
    noting: Store  # the state in which every call looks: that it is a part is noted there
    folder: Folder  # the run's, as it is now
    clock: Callable[[], int]
    check: Callable[[], None]  # proves that the lock is still ours.  LockedError

    def deliver(self, cargo: Cargo, pieces: Sequence[Piece], sender: Sender) -> bool:
        """Copy these files of it that are not there; return whether any was not.

        Raises TakenError, Stopped and OSError; what was sent stays for the next call, unless the
        source is another by now (VanishedError) or damaged (DroppedError).
        """
        noted = partial_in(self.state) | partial_in(self.noting)
        present = dict(self._present(cargo))
        left = [piece for piece in pieces if not self._is_there(piece, sender)]
        if not left:
            return False
        others = present.items() - noted.items()
        if others and not is_begin(cargo, self.folder):
            raise TakenError(f"{min(others)[0]} is there, and not all that is there is of this one")
        of_it = {piece.target: piece for piece in cargo.payload()}
        for path, _ in sorted(others):
            self._is_there(of_it[path], sender)
        if os.fstat(self.state.fd).st_dev != os.fstat(self.run.fd).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), self.state.root)
        meant = {piece.target: (piece.entry.size, piece.mtime_ns) for piece in left}
        self._send(cargo, left, sender, {**present, **meant})
        return True

    def _present(self, cargo: Cargo) -> Iterator[tuple[str, Seen]]:
        """Yield what is there of it."""
        paths = {piece.target for piece in cargo.payload()}
        for root in cargo.roots:
            inside = self.folder.inside(root)
            paths |= {f"{root}/{path}" for path, _ in inside.walk()} if inside else set()
        for path in sorted(paths):
            if (entry := self.folder.find(path)) is not None:
                yield path, (entry.size, entry.mtime_ns)

    def _is_there(self, piece: Piece, sender: Sender) -> bool:
        entry = self.folder.find(piece.target)
        if entry is None:
            if self.folder.holds(piece.target):
                raise TakenError(f"{piece.target} is there, and no regular file")
            return False
        if entry.size == piece.entry.size:
            if entry.mtime_ns == piece.mtime_ns:
                return True
            here = piece.digest or sender.digest(sender.source, piece.path, piece.entry)
            if here == sender.digest(self.run, piece.target, entry):
                return True
        raise TakenError(f"{piece.target} is there, and another file")

    def _send(
        self, cargo: Cargo, left: Sequence[Piece], sender: Sender, all_of_it: Mapping[str, Seen]
    ) -> None:
        stage = stage_name(f"{cargo.member} in part")
        notes = Notes(self.state, cargo.member, self.clock(), file=f"{stage}.json")
        self.state.make_folder(stage)
        with (
            giving_up(lambda: self._forget(notes, stage)),
            closing(self.state.below(stage)) as staged,
        ):
            sender.send(left, staged, lambda path: path, notes)
            for piece in left:
                staged.set_time(piece.target, piece.mtime_ns)
            sender.refuse_changed(replace(cargo, pieces=tuple(left)))
            self.check()
            note_partial(self.noting, cargo.member, all_of_it)
            for piece in left:
                parent_of(self.run, piece.target)
                staged.rename_to(piece.target, self.run, piece.target)
                self.run.sync_folder(piece.target.rpartition("/")[0])
        self._forget(notes, stage)

    def _forget(self, notes: Notes, stage: str) -> None:
        notes.forget()
        self.state.remove_tree(stage)
