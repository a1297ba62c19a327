"""Hand in what one caller has of a checkpoint: sent, proven and noted, with no name to be found by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ckptctl.errors import CkptctlError
from ckptctl.listing import Entry, Version
from ckptctl.lock import Lock
from ckptctl.parts.counting import SAVE_NS
from ckptctl.parts.meeting import Meeting, folder_of, staged_at, staged_below
from ckptctl.parts.opened import Opened
from ckptctl.parts.part import Caller, Kept, Part
from ckptctl.parts.sharing import left_over, shares, sight_of
from ckptctl.parts.standing import Standing, standing
from ckptctl.parts.union import Lies, lying
from ckptctl.stores._base import Store
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.delivery import giving_up
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.notes import SENT, Notes, Sent
from ckptctl.transfer.sending import Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a caller has of one checkpoint."""

    key: str
    cargo: Cargo
    hidden: bool = False  # an older copy has its name there: nothing of it may be written over


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What hands in the parts of one caller, of one run."""

    meeting: Meeting
    run: Store  # the destination's
    caller: Caller
    sender: Sender
    by: str
    looked_ns: int
    trackers: Mapping[str, str]
    pointing: Mapping[str, str]
    share_only: bool = False  # others bring theirs, or somebody does in their name

    def hand_in(self, offer: Offer) -> Part:
        """Send what is not there yet, of files that others see as well only a share; note it.

        Raises what `Sender.send` does; what was sent stays for the next call, unless the source is
        another by now (VanishedError) or damaged (DroppedError), or the destination is full.
        """
        cargo, key = offer.cargo, offer.key
        old = self.meeting.part(key, self.caller)
        pieces = {piece.target: piece for piece in self._sent_of(cargo)}
        files = self._still(old, pieces) if old else {}
        part = replace(self._empty(offer), sees=sight_of(cargo), files=files)
        self.meeting.note(part)
        folder = folder_of(key)
        notes = Notes(
            self.meeting.state,
            key,
            self.meeting.clock(),
            file=f"{folder}/{self.caller.number}{SENT}",
        )
        share = shares({t: p.entry.size for t, p in pieces.items()}, self.caller.of)
        with giving_up(lambda: self._drop(key, notes)):
            # What others have brought already is left out, first of the own share and then of
            # all: by then those who came at the same time have told what they see.
            mine = [p for t, p in pieces.items() if share[t] == self.caller.number]
            files |= self._send(self._unclaimed(mine, share, part), offer, notes, files)
            if not self.share_only:
                rest = self._unclaimed(pieces.values(), share, part)
                files |= self._send(rest, offer, notes, files)
            self.sender.refuse_changed(cargo)
        part = replace(part, files={**files, **_twins(cargo, files)}, done=True)
        self._remove_old(old, part)
        self.meeting.note(part)
        notes.forget()
        return part

    def was_named(self, offer: Offer) -> bool:
        """Whether all that this caller has handed in has its name: a call died before it could prove that."""
        old = self.meeting.part(offer.key, self.caller)
        if old is None or not old.done or not old.files:
            return False
        found = (self._lying(old, path, kept) for path, kept in old.files.items())
        return all(lies is not None and lies.store is self.run for lies in found)

    def standing(self, offer: Offer, there: Destination, opened: Opened | None = None) -> Standing:
        """Return how what is here stands to what is there; see `parts.standing`.  Raises as reading does."""

        def digest(piece: Piece) -> str:
            return self.sender.digest(self.sender.source, piece.path, piece.entry)

        return standing(offer.key, offer.cargo, there, digest, opened)

    def alone(self, key: str) -> bool:
        """Whether nobody else has a part there: they never had, or all of it was published."""
        return self.meeting.parts(key, self.caller.of).keys() <= {self.caller.number}

    def has_nothing(self, of: Part) -> None:
        """Note that of a checkpoint that others have parts of nothing is here.  Raises OSError.

        What an earlier call has handed in stays: this node may have lost its disk since.  Unless it
        is of an earlier save than what others have: then it is for nothing, and goes.
        """
        old = self.meeting.part(of.key, self.caller)
        if old is not None and (old.files or not old.done):
            parts = self.meeting.parts(of.key, self.caller.of).values()
            newest = max(part.changed_ns for part in parts)
            # Of a call that died nothing tells when what it was about to send was written.
            written = old.changed_ns if old.done else old.looked_ns
            if newest - written <= SAVE_NS:
                return
        empty = Part(
            key=of.key,
            name=of.name,
            roots=of.roots,
            caller=self.caller,
            by=self.by,
            looked_ns=self.looked_ns,
            done=True,
            trackers=self.trackers,
            pointing=self.pointing,
        )
        self._remove_old(old, empty)
        self.meeting.note(empty)

    def _empty(self, offer: Offer) -> Part:
        cargo = offer.cargo
        return Part(
            key=offer.key,
            name=cargo.checkpoint.name,
            roots=cargo.roots,
            caller=self.caller,
            by=self.by,
            looked_ns=self.looked_ns,
            links=cargo.links,
            link_times=cargo.link_times,
            dirs=cargo.dirs,
            trackers=self.trackers,
            pointing=self.pointing,
        )

    def _sent_of(self, cargo: Cargo) -> Iterable[Piece]:
        """Return the files that have to go over: on a disk a second name is made there."""
        if self.run.able.rename:
            return [piece for piece in cargo.pieces if piece.twin is None]
        return [piece._replace(twin=None) for piece in cargo.pieces]

    def _hidden(self, offer: Offer, path: str) -> bool:
        """Whether a file must not have its name before all parts are there."""
        cargo = offer.cargo
        return (
            self.run.able.rename
            or offer.hidden
            or path in cargo.late
            or path in cargo.checkpoint.sidecars
        )

    def _still(self, old: Part, pieces: Mapping[str, Piece]) -> dict[str, Kept]:
        """Return what an earlier call has handed in that is still what is here, and still there."""
        found = {}
        for path, kept in old.files.items():
            piece = pieces.get(path)
            if piece is None or (kept.bytes, kept.mtime_ns, kept.inode) != _seen(piece):
                continue
            if self._lying(old, path, kept) is not None:
                found[path] = kept
        return found

    def _lying(self, part: Part, path: str, kept: Kept) -> Lies | None:
        return lying(self.meeting.state, self.run, (part.key, part.caller.number, path), kept)

    def _unclaimed(
        self, pieces: Iterable[Piece], share: Mapping[str, int], part: Part
    ) -> list[Piece]:
        """Return the files that nobody else is known to bring, or to have brought."""
        every = self.meeting.parts(part.key, self.caller.of).values()
        others = [one for one in every if one.sees == part.sees and one.caller != self.caller]
        alive = [one.caller.number for one in others if self.meeting.alive(one.caller)]
        return left_over(pieces, share, others, alive)

    def _send(
        self, pieces: Iterable[Piece], offer: Offer, notes: Notes, have: Collection[str]
    ) -> dict[str, Kept]:
        pieces = [piece for piece in pieces if piece.target not in have]
        hidden = {piece.target for piece in pieces if self._hidden(offer, piece.target)}

        def at(path: str) -> str:
            return staged_at(offer.key, self.caller.number, path)

        below = [piece for piece in pieces if piece.target in hidden]
        sent = self.sender.send(below, self.meeting.state, at, notes)
        named = [piece for piece in pieces if piece.target not in hidden]
        sent |= self.sender.send(named, self.run, str, notes)
        return {p.target: _kept(p, sent[p.target], staged=p.target in hidden) for p in pieces}

    def _remove_old(self, old: Part | None, new: Part) -> None:
        """Remove what an earlier call has handed in of an older save, and this one has not."""
        gone = {} if old is None else old.files
        gone = {p: kept for p, kept in gone.items() if p not in new.files and kept.twin is None}
        if old is None or not gone:
            return
        theirs = self._of_others(new.key)
        for path, kept in gone.items():
            lies = self._lying(old, path, kept)
            named = kept.staged and lies is not None and lies.store is self.run  # all of it has
            sent_twice = lies is not None and lies.store is self.run and path in theirs
            if lies is not None and not named and not sent_twice:
                lies.store.remove_files({lies.at: lies.entry})

    def _drop(self, key: str, notes: Notes) -> None:
        """Take back what was sent of a checkpoint that is another one by now.

        In a bucket some of it has its name already, and another may be publishing that very name, which
        both have sent: so it goes under the run's lock.  Where somebody holds that, it stays for the next call;
        where all was published meanwhile, it is no longer this caller's.
        """
        if self.run.able.rename:
            self._forget(key, notes)
            return
        lock = Lock(self.meeting.state, self.meeting.clock)
        with suppress(CkptctlError):
            lock.acquire()
            try:
                if self.meeting.part(key, self.caller) is None:
                    return
                theirs = self._of_others(key)
                own = [path for path in notes.paths() if path not in theirs]
                self._take_back({path: notes.version(path) for path in own})
                self._forget(key, notes)
            finally:
                lock.release()

    def _of_others(self, key: str) -> set[str]:
        """Return the files that others have handed in: in a bucket one name is that of all who have it."""
        parts = self.meeting.parts(key, self.caller.of).values()
        return {path for part in parts if part.caller != self.caller for path in part.files}

    def _take_back(self, sent: Mapping[str, Version | None]) -> None:
        """Remove what has its name in the run in the version in which it was sent."""
        seen = {path: (self.run.stat(path), version) for path, version in sent.items()}
        ours: dict[str, Entry] = {
            path: entry
            for path, (entry, version) in seen.items()
            if entry and entry.version == version
        }
        self.run.remove_files(ours)

    def _forget(self, key: str, notes: Notes) -> None:
        """Remove what waits for its name, and what says that it was sent."""
        state, number = self.meeting.state, self.caller.number
        state.remove_tree(staged_below(key, number))
        state.remove_file(f"{folder_of(key)}/{number}.json")
        notes.forget()


def _seen(piece: Piece) -> tuple[int, int, int]:
    return piece.entry.size, piece.mtime_ns, piece.entry.inode


def _kept(piece: Piece, sent: Sent, *, staged: bool) -> Kept:
    return Kept(
        bytes=piece.entry.size,
        mtime_ns=piece.mtime_ns,
        digest=sent.digest,
        inode=piece.entry.inode,
        links=piece.entry.links,
        there=sent.entry.version,
        staged=staged,
    )


def _twins(cargo: Cargo, files: Mapping[str, Kept]) -> dict[str, Kept]:
    """Return the second names of files that were sent once."""
    return {
        piece.target: replace(files[piece.twin], twin=piece.twin)
        for piece in cargo.pieces
        if piece.twin is not None and piece.twin in files and piece.target not in files
    }
