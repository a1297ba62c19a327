"""Deliver a checkpoint to a bucket: payload first, the key file last, so that no half looks whole."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.delivery import NoRoomError, Quay, Room
from ckptctl.transfer.notes import Notes, Sent
from ckptctl.transfer.sending import DroppedError, Sender
from ckptctl.transfer.small import write_sidecars, written
from ckptctl.transfer.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class BucketDelivery:
    """Delivers to a prefix of a bucket."""

    quay: Quay

    def deliver(
        self, cargo: Cargo, sender: Sender, *, over: bool, room: Room | None = None
    ) -> Mapping[str, Sent]:
        """Send payload, sidecars, then what makes it a checkpoint."""
        _refuse_undecodable(cargo)
        notes = self.quay.notes(cargo.member)
        old = self._older(cargo) if over and len(cargo.pieces) > 1 else {}
        stored = Warehouse(self.quay, cargo)
        if room is not None or old or (notes.existed and stored.used()):
            return self._replace(stored, sender, notes, old, room)
        notes.flush()  # from now on what lies there is known to be ours
        self._drop_dead(cargo, notes)
        try:
            return self._send(cargo, sender, notes)
        except (DroppedError, VanishedError):
            self._take_back(cargo, notes)
            raise

    def _replace(
        self,
        stored: Warehouse,
        sender: Sender,
        notes: Notes,
        old: Mapping[str, Entry],
        room: Room | None,
    ) -> dict[str, Sent]:
        """Let a copy take the place of another one once all of it is there."""
        try:
            cargo = stored.store(sender)
            self.quay.check()
            if room is not None:
                room()
            for path, entry in old.items():
                notes.replaced(path, entry)
            notes.flush()  # from now on what lies there is known to be ours, or to go
            self._take_away(cargo, old)
            self._drop_dead(cargo, notes)
            carrier = stored.sender(sender)
            try:
                sent = self._send(cargo, carrier, notes)
            finally:
                sender.told(carrier.bytes_sent)
        except (DroppedError, NoRoomError, VanishedError):
            stored.clear()
            raise
        stored.clear()
        return sent

    def _send(self, cargo: Cargo, sender: Sender, notes: Notes) -> dict[str, Sent]:
        run = self.quay.run
        # An object has one name: a second one is a copy, and the manifest says that it is none.
        payload = {piece.target: piece._replace(twin=None) for piece in cargo.payload()}
        early = [payload[path] for path in cargo.early if path in payload]
        rest = [p for path, p in payload.items() if path not in {*cargo.early, *cargo.late}]
        sent = sender.send(early, run, str, notes)
        sent |= sender.send(rest, run, str, notes)
        sent |= write_sidecars(cargo.beside(), sender, self.quay)
        if notes.existed:
            self._tidy(cargo, notes)
        sender.refuse_changed(cargo)
        self.quay.check()
        for path in cargo.late:
            # Its upload may take hours, and the source is looked at once more when that is over.
            last = partial(sender.refuse_changed, cargo) if path == cargo.late[-1] else None
            if path in payload:
                sent |= sender.send([payload[path]], run, str, notes, last)
            elif path in cargo.made:
                if last is not None:
                    last()
                sent[path] = written(self.quay, path, cargo.made[path])
        return sent

    def _tidy(self, cargo: Cargo, notes: Notes) -> None:
        """Remove what an interrupted call sent of an older save: it would be taken for part of this one.

        OSError where something lies there that nobody noted: it is left alone, and so no key file comes.
        """
        run = self.quay.run
        ours = {*(piece.target for piece in cargo.pieces), *cargo.made}
        found: dict[str, Entry] = {}
        for root in cargo.roots:
            with suppress(FileNotFoundError):
                found |= {f"{root}/{path}": entry for path, entry in run.listing(root).walk()}
        for path in notes.paths():
            if path not in found and path not in ours and (entry := run.stat(path)) is not None:
                found[path] = entry
        odd = {path: entry for path, entry in found.items() if path not in ours}
        old = {path: entry for path, entry in odd.items() if notes.version(path) == entry.version}
        if strange := sorted(odd.keys() - old.keys()):
            text = "lies where a copy is to come, and is not of it: move it away"
            raise OSError(errno.EEXIST, text, strange[0])
        if left := run.remove_files(old).left:
            raise OSError(errno.EACCES, left[0], cargo.member)

    def _older(self, cargo: Cargo) -> dict[str, Entry]:
        """Return what an older copy of a directory or group has, its key file and what is not in the new one.

        A single object is replaced in one step.
        """
        run, key = self.quay.run, cargo.late[-1]
        there = run.stat(key)
        old = {} if there is None else {key: there}
        ours = {piece.target for piece in cargo.pieces}
        for root in cargo.roots:
            with suppress(FileNotFoundError):
                found = ((f"{root}/{path}", e) for path, e in run.listing(root).walk())
                old |= {path: entry for path, entry in found if path not in ours}
        return old

    def _take_away(self, cargo: Cargo, old: Mapping[str, Entry]) -> None:
        """Make an older copy visibly incomplete before it is written over.  Raises OSError."""
        key = cargo.late[-1]
        for some in (
            {p: e for p, e in old.items() if p == key},
            {p: e for p, e in old.items() if p != key},
        ):
            if some and (left := self.quay.run.remove_files(some).left):
                raise OSError(errno.EACCES, left[0], cargo.member)

    def _drop_dead(self, cargo: Cargo, notes: Notes) -> None:
        """Remove the parts of uploads of these very files that nobody will go on with."""
        tokens = {piece.target: notes.token(piece) for piece in cargo.pieces}
        for upload in self.quay.run.unfinished():
            if upload.path in tokens and upload.token != tokens[upload.path]:
                self.quay.run.drop(upload)

    def _take_back(self, cargo: Cargo, notes: Notes) -> None:
        """Remove what was sent of a checkpoint that is another one by now: it is still invisible."""
        run = self.quay.run
        for upload in run.unfinished():
            if upload.path in {piece.target for piece in cargo.pieces}:
                run.drop(upload)
        mine: dict[str, Entry] = {}
        for path in notes.paths():
            entry, seen = run.stat(path), notes.version(path)
            if entry is not None and seen is not None and entry.version == seen:
                mine[path] = entry
        if not run.remove_files(mine).left:
            notes.forget()

    def settle(self, cargo: Cargo) -> None:
        """Forget how it came here: it is whole, and its manifest is written."""
        with suppress(OSError):
            self.quay.notes(cargo.member).forget()


def _refuse_undecodable(cargo: Cargo) -> None:
    """Refuse names that are not UTF-8, as those of objects are.  OSError."""
    for piece in cargo.pieces:
        try:
            piece.target.encode()
        except UnicodeEncodeError:
            text = "its name is not UTF-8, as a bucket wants it: rename it"
            raise OSError(errno.EILSEQ, text, piece.target) from None
