"""Deliver a checkpoint to a disk: staged in the state directory, and renamed when it is whole.

A crash at any moment leaves either nothing under its name or all of it; of a group, which has no
single name, its key file comes last.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from ckptctl.reading import VanishedError
from ckptctl.stores._base import FULL
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.delivery import Quay
from ckptctl.transfer.notes import Notes, Sent, stage_name
from ckptctl.transfer.sending import DroppedError, Sender
from ckptctl.transfer.small import parent_of, write_sidecars


@dataclass(frozen=True, slots=True)
class DiskDelivery:
    """Delivers to a directory of a mounted file system."""

    quay: Quay

    def deliver(self, cargo: Cargo, sender: Sender, *, over: bool) -> Mapping[str, Sent]:
        """Stage a checkpoint, prove it, and give it its name."""
        state, run = self.quay.state, self.quay.run
        assert isinstance(state, LocalStore)  # noqa: S101 - a directory's state lies on its file system
        assert isinstance(run, LocalStore)  # noqa: S101 - the same
        if os.fstat(state.fd).st_dev != os.fstat(run.fd).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), state.root)
        stage = stage_name(cargo.member)
        at_once = len(list(_names(cargo))) == 1
        notes = Notes(state, cargo.member, self.quay.clock(), at_once=at_once)
        if not notes.existed:
            state.remove_tree(stage)
        state.make_folder(stage)
        try:
            with closing(state.below(stage)) as staged:
                sent = self._stage(cargo, sender, staged, run, notes)
                if notes.existed:
                    _tidy(cargo, staged)
                sender.refuse_changed(cargo)
                self.quay.check()
                sent = {**sent, **write_sidecars(cargo, sender, self.quay)}
                for path in _names(cargo):
                    _publish(staged, run, path, over=over)
        except (DroppedError, VanishedError):
            self._forget(state, notes, stage)
            raise
        except OSError as error:
            if error.errno in FULL:  # what was staged would keep others from making room
                self._forget(state, notes, stage)
            raise
        self._forget(state, notes, stage)
        return sent

    def _stage(
        self, cargo: Cargo, sender: Sender, staged: LocalStore, run: LocalStore, notes: Notes
    ) -> dict[str, Sent]:
        """Write all that is below its names into the staging directory, with links and times."""
        for path in sorted(cargo.dirs):
            staged.make_folder(path)
        first = [piece for piece in cargo.payload() if piece.twin is None]
        moved = {p.target: s for p in first if (s := _arrived(p, notes, run)) is not None}
        left = [piece for piece in first if piece.target not in moved]
        sent = sender.send(left, staged, lambda path: path, notes)
        _link(cargo, staged)
        for path, content in cargo.made.items():
            sent[path] = _made(staged, path, content)
        for piece in left:
            entry = staged.set_time(piece.target, piece.mtime_ns)
            sent[piece.target] = Sent(entry, sent[piece.target].digest)
        for path in sorted(cargo.dirs, reverse=True):
            staged.sync_folder(path)
            if cargo.dirs[path]:
                staged.set_time(path, cargo.dirs[path])
        staged.sync_folder("")
        return {**sent, **moved}

    def _forget(self, state: LocalStore, notes: Notes, stage: str) -> None:
        with suppress(OSError):
            notes.forget()
        state.remove_tree(stage)


def _link(cargo: Cargo, staged: LocalStore) -> None:
    """Make second names and symbolic links, anew where an interrupted call made them."""
    for piece in cargo.payload():
        if piece.twin is not None:
            staged.remove_file(piece.target)
            staged.make_twin(piece.target, piece.twin)
    for path, text in cargo.links.items():
        parent_of(staged, path)
        staged.remove_file(path)
        staged.make_link(path, text)
        if cargo.link_times.get(path):
            staged.set_time(path, cargo.link_times[path])


def _tidy(cargo: Cargo, staged: LocalStore) -> None:
    """Remove what an interrupted call staged of an older save: it would get a name with the rest."""
    ours = {*(piece.target for piece in cargo.payload()), *cargo.made, *cargo.links}
    for path, folder in staged.listing().tree():
        at = f"{path}/" if path else ""
        for name in (*folder.files, *folder.links):
            if f"{at}{name}" not in ours:
                staged.remove_file(f"{at}{name}")
        if path and not any(one == path or one.startswith(at) for one in (*ours, *cargo.dirs)):
            staged.remove_tree(path)
    for path, mtime_ns in sorted(cargo.dirs.items(), reverse=True):
        if mtime_ns:
            staged.set_time(path, mtime_ns)


def _arrived(piece: Piece, notes: Notes, run: LocalStore) -> Sent | None:
    """Return a file of a group that has its name there already: a crash came between two renames."""
    if (before := notes.sent(piece)) is None:
        return None
    there = run.stat(piece.target)
    if there is None or there.version[2] != before[0][2]:
        return None
    return Sent(there, before[1])


def _names(cargo: Cargo) -> Iterator[str]:
    """Yield what is to be renamed, in order: what makes it a checkpoint comes last."""
    yield from reversed(cargo.roots)
    inside = tuple(f"{root}/" for root in cargo.roots)
    loose = [p.target for p in cargo.payload() if not p.target.startswith(inside)] if inside else [
        p.target for p in cargo.payload()
    ]  # fmt: skip
    made = [path for path in cargo.made if not inside or not path.startswith(inside)]
    late = {path: number for number, path in enumerate(cargo.late)}
    yield from sorted((*loose, *made), key=lambda path: late.get(path, -1))


def _publish(staged: LocalStore, run: LocalStore, path: str, *, over: bool) -> None:
    """Give a file or directory its name; in the place of an older one in one step, where it may."""
    if staged.identity(path) is None and run.identity(path) is not None:
        return  # it has its name already
    parent_of(run, path)
    if over and run.identity(path) is not None:
        staged.exchange(path, run, path)
    else:
        staged.rename_to(path, run, path)
    run.sync_folder(path.rpartition("/")[0])


def _made(staged: LocalStore, path: str, content: bytes) -> Sent:
    """Stage a small file of our own."""
    import blake3  # noqa: PLC0415 - only who copies needs it

    parent_of(staged, path)
    staged.replace(path, content)
    entry = staged.stat(path)
    if entry is None:
        raise VanishedError(errno.ENOENT, "it was removed just after it was written", path)
    return Sent(entry, blake3.blake3(content).hexdigest())
