"""Deliver a checkpoint to a disk: staged in the state directory, and renamed when it is whole.

A crash at any moment leaves either nothing under its name or all of it; of a group, which has no
single name, its key file comes last.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from ckptctl.model import NS
from ckptctl.reading import VanishedError
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.delivery import Quay, Room, giving_up
from ckptctl.transfer.notes import Notes, Sent
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.small import parent_of, write_sidecars, written

_COARSE_NS = 2 * NS
"""How far the times of a file system may be from those that it was told."""


@dataclass(frozen=True, slots=True)
class DiskDelivery:
    """Delivers to a directory of a mounted file system."""

    quay: Quay

    def deliver(
        self, cargo: Cargo, sender: Sender, *, over: bool, room: Room | None = None
    ) -> Mapping[str, Sent]:
        """Stage a checkpoint, prove it, and give it its name."""
        state, run = self.quay.state, self.quay.run
        assert isinstance(state, LocalStore)  # noqa: S101 - a directory's state lies on its file system
        assert isinstance(run, LocalStore)  # noqa: S101 - the same
        if os.fstat(state.fd).st_dev != os.fstat(run.fd).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), state.root)
        stage = self.quay.staging(cargo.member)
        at_once = len(list(_names(cargo))) == 1
        notes = self.quay.notes(cargo.member, at_once=at_once)
        if not notes.existed:
            state.remove_tree(stage)
        state.make_folder(stage)
        with (
            giving_up(lambda: self._forget(state, notes, stage)),
            closing(state.below(stage)) as staged,
        ):
            arrived = dict(_arrived(cargo, notes, run))
            named = frozenset(_named(cargo, arrived))
            left = left_of(cargo, arrived, named)
            sent = {**stage_all(left, sender, staged, notes), **arrived}
            sender.refuse_changed(cargo)
            self.quay.check()
            if room is not None:
                room()
            sent = {**sent, **write_sidecars(cargo.beside(), sender, self.quay)}
            for path in _names(cargo):
                if path not in named:
                    _publish(staged, run, path, over=over)
            made = cargo.made.keys() - left.made.keys()
            sent |= {path: written(self.quay, path, cargo.made[path]) for path in made}
        self._forget(state, notes, stage)
        return sent

    def _forget(self, state: LocalStore, notes: Notes, stage: str) -> None:
        with suppress(OSError):
            notes.forget()
        state.remove_tree(stage)


def stage_all(cargo: Cargo, sender: Sender, staged: LocalStore, notes: Notes) -> dict[str, Sent]:
    """Write all that is below its names into a staging directory, with links and times.

    What an interrupted call has staged besides is removed.  Raises what `Sender.send` does.
    """
    for path in sorted(cargo.dirs):
        staged.make_folder(path)
    first = [piece for piece in cargo.payload() if piece.twin is None]
    sent = sender.send(first, staged, lambda path: path, notes)
    _link(cargo, staged)
    for path, content in cargo.made.items():
        sent[path] = _made(staged, path, content)
    for piece in first:
        entry = staged.set_time(piece.target, piece.mtime_ns)
        sent[piece.target] = Sent(entry, sent[piece.target].digest)
    for path in sorted(cargo.dirs, reverse=True):
        staged.sync_folder(path)
        if cargo.dirs[path]:
            staged.set_time(path, cargo.dirs[path])
    staged.sync_folder("")
    if notes.existed:
        _tidy(cargo, staged)
    return sent


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


def _arrived(cargo: Cargo, notes: Notes, run: LocalStore) -> Iterator[tuple[str, Sent]]:
    """Yield the files that have their names there already: a crash came between two renames.

    What is told of a second name is the same inode.
    """
    found: dict[str, Sent] = {}
    for piece in cargo.payload():
        before, first = notes.sent(piece), found.get(piece.twin or "")
        inode, digest = (first.entry.inode, first.digest) if first else (0, "")
        if before is not None and isinstance(before[0][2], int):
            inode, digest = before[0][2], before[1]
        there = run.stat(piece.target) if inode else None
        if there is None or (there.inode, there.size) != (inode, piece.entry.size):
            continue
        if abs(there.mtime_ns - piece.mtime_ns) < _COARSE_NS:
            found[piece.target] = Sent(there, digest)
    yield from found.items()


def _named(cargo: Cargo, arrived: Mapping[str, Sent]) -> Iterator[str]:
    """Yield the names that need no rename any more: of directories of which every file is there."""
    roots = frozenset(cargo.roots)
    for name in _names(cargo):
        inside = (
            [p.target for p in cargo.payload() if p.target.startswith(f"{name}/")]
            if name in roots
            else ()
        )
        if name in arrived or (inside and all(path in arrived for path in inside)):
            yield name


def left_of(cargo: Cargo, arrived: Mapping[str, Sent], named: Collection[str]) -> Cargo:
    """Return what is still to be staged; a second name of what is there already is a file of its own."""
    inside = tuple(f"{name}/" for name in named)

    def stays(path: str) -> bool:
        return not f"{path}/".startswith(inside)

    pieces = (p for p in cargo.pieces if p.target not in arrived)
    return replace(
        cargo,
        pieces=tuple(p._replace(twin=None) if p.twin in arrived else p for p in pieces),
        links={path: text for path, text in cargo.links.items() if stays(path)},
        dirs={path: ns for path, ns in cargo.dirs.items() if stays(path)},
        made={path: content for path, content in cargo.made.items() if stays(path)},
    )


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
