"""Bring to a disk what is missing of a checkpoint, beside files of it that are there already: a node's own part.

What is there then is noted first, as some files of it (`partial.py`): it looks whole when its manifest says so.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from ckptctl.listing import Folder
from ckptctl.partial import Seen, forget_partial, note_partial
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.delivery import Quay, giving_up, timed
from ckptctl.transfer.notes import Notes, Sent, stage_name
from ckptctl.transfer.pairing import There, stale_sidecars
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.small import parent_of, write_sidecars
from ckptctl.transfer.to_disk import left_of, stage_all


@dataclass(frozen=True, slots=True)
class Joining:
    """Joins what is there with the rest; `noting` is the state in which every call looks."""

    quay: Quay
    noting: Store

    def joined(
        self, cargo: Cargo, there: There, sender: Sender
    ) -> tuple[Cargo, Mapping[str, Sent]] | None:
        """Bring what is missing; return all as it is there then, None where a file there is another one.

        Nothing that is there is written over.  Raises what `Delivery.deliver` does.
        """
        present = self._same(cargo, there.folder, sender)
        if present is None:
            return None
        run, state = self.quay.run, self.quay.state
        assert isinstance(run, LocalStore)  # noqa: S101 - whoever joins has asked
        assert isinstance(state, LocalStore)  # noqa: S101 - a directory's state lies on its disk
        if os.fstat(state.fd).st_dev != os.fstat(run.fd).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), state.root)
        stage = stage_name(f"{cargo.member} joined")
        notes = Notes(state, cargo.member, self.quay.clock(), file=f"{stage}.json")
        if not notes.existed:
            state.remove_tree(stage)
        state.make_folder(stage)

        def forget() -> None:
            notes.forget()
            state.remove_tree(stage)

        with giving_up(forget), closing(state.below(stage)) as staged:
            left = left_of(cargo, present, ())
            sent = {**present, **stage_all(left, sender, staged, notes)}
            sender.refuse_changed(cargo)
            self.quay.check()
            files = [piece.target for piece in cargo.payload()] + list(cargo.made)
            note_partial(self.noting, cargo.member, dict(_seen(files, cargo, sent)))
            sent |= self._beside(cargo, there, sender)
            self._named(cargo, present, there.folder, staged, run)
        forget()
        return timed(cargo, sent), sent

    def settle(self, cargo: Cargo) -> None:
        """Let it be seen as whole, now that its manifest says so.  Raises OSError."""
        forget_partial(self.noting, cargo.member)

    def _same(self, cargo: Cargo, folder: Folder, sender: Sender) -> dict[str, Sent] | None:
        """Return the files that are there, all read; None where one is not the same."""
        present = {}
        for piece in cargo.payload():
            if (entry := folder.find(piece.target)) is None:
                continue
            digest = sender.digest(self.quay.run, piece.target, entry)
            wanted = piece.digest or sender.digest(sender.source, piece.path, piece.entry)
            if digest != wanted:
                return None
            present[piece.target] = Sent(entry, digest)
        for path, content in cargo.made.items():
            if (entry := folder.find(path)) is None:
                continue
            if self.quay.run.read(path, len(content)) != content:
                return None
            present[path] = Sent(entry, sender.digest(self.quay.run, path, entry))
        return present

    def _beside(self, cargo: Cargo, there: There, sender: Sender) -> dict[str, Sent]:
        """Write the sidecars that are missing or older; return all of them as they are there."""
        sent = write_sidecars(stale_sidecars(cargo, there), sender, self.quay)
        for piece in cargo.beside():
            entry = there.folder.find(piece.target)
            if piece.target not in sent and entry is not None:
                digest = sender.digest(self.quay.run, piece.target, entry)
                sent[piece.target] = Sent(entry, digest)
        return sent

    def _named(
        self, cargo: Cargo, present: Mapping[str, Sent], folder: Folder,
        staged: LocalStore, run: LocalStore,
    ) -> None:  # fmt: skip
        """Give each missing file its name, over nothing that came meanwhile; the key file's last."""
        for path in sorted(cargo.dirs):
            run.make_folder(path)
        late = {path: number for number, path in enumerate(cargo.late)}
        files = [piece.target for piece in cargo.payload()] + list(cargo.made)
        links = [path for path in cargo.links if not folder.holds(path)]
        above = set()
        for path in (*links, *sorted(files, key=lambda path: late.get(path, -1))):
            if path not in present:
                parent_of(run, path)
                staged.rename_to(path, run, path)
                above.add(path.rpartition("/")[0])
                if path in late:  # what it commits is durable before it is
                    _sync(run, above)
        _sync(run, above)
        for path, mtime_ns in sorted(cargo.dirs.items(), reverse=True):
            if mtime_ns:
                run.set_time(path, mtime_ns)


def _sync(run: LocalStore, folders: set[str]) -> None:
    for path in sorted(folders, reverse=True):
        run.sync_folder(path)


def _seen(files: list[str], cargo: Cargo, sent: Mapping[str, Sent]) -> Iterator[tuple[str, Seen]]:
    twins = {piece.target: piece.twin for piece in cargo.payload() if piece.twin}
    for path in files:
        entry = (sent.get(path) or sent[twins[path]]).entry
        yield path, (entry.size, entry.mtime_ns)
