"""Copy the checkpoints of one run to a destination that is locked: one after the other, each whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from ckptctl.errors import LockedError, UnreadableError
from ckptctl.hashing import Stopped
from ckptctl.listing import Folder
from ckptctl.manifest import Manifest, ManifestError
from ckptctl.model import Checkpoint
from ckptctl.recording import Recorder
from ckptctl.remembering import said_of
from ckptctl.stores._base import Store
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.conflict import BY_FLAGS, conflict
from ckptctl.transfer.delivery import NoRoomError, Quay, Room, manifest_of, noted_of, timed
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.failing import failure
from ckptctl.transfer.joining import Joining
from ckptctl.transfer.notes import Sent, note_name
from ckptctl.transfer.outcome import Shipped, Status, copy_of
from ckptctl.transfer.pairing import Pair, There, is_begin, pair, stale_sidecars
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.small import write_sidecars, written
from ckptctl.transfer.to_bucket import BucketDelivery
from ckptctl.transfer.to_disk import DiskDelivery

_NOTHING = Folder("")

SetAside = Callable[[Checkpoint], str | None]
"""Takes an older checkpoint out of the way at the destination; returns why it cannot be, if so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One checkpoint, and how it stands to what is at the destination."""

    cargo: Cargo
    there: There
    pair: Pair

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint at the source."""
        return self.cargo.checkpoint


def task_of(cargo: Cargo, there: Destination | None, begun: frozenset[str]) -> Task:
    """Return what is to be done with one checkpoint; `begun` are the notes of what is on its way."""
    if there is None:
        return Task(cargo=cargo, there=There(folder=_NOTHING), pair=Pair.ABSENT)
    try:
        manifest = there.manifest(cargo.member)
    except ManifestError:
        manifest = None  # then the bytes are compared, and it is written anew
    known = There(
        folder=there.found.folder,
        checkpoint=there.by_member.get(cargo.member),
        manifest=manifest,
        begun=note_name(cargo.member) in begun,
    )
    return Task(cargo=cargo, there=known, pair=pair(cargo, known))


@dataclass(slots=True)
class Shipper:
    """Copies to one destination; `where` is its full path."""

    quay: Quay
    recorder: Recorder
    sender: Sender
    on_conflict: str  # stop, replace or both
    set_aside: SetAside
    seconds: Callable[[], float]
    log: Callable[[Shipped], None]
    way_out: Callable[[Checkpoint], str] = lambda _: BY_FLAGS
    begun: frozenset[str] = frozenset()
    noting: Callable[[], Store] | None = None
    """Opens the state in which every call looks; None: what lacks files there is a conflict."""
    wrote: bool = False  # what is there may be other than it was seen before
    noted: bool = False  # a manifest was written

    def ship(self, task: Task, destination: Destination) -> Shipped:
        """Copy one checkpoint, if need be; what went wrong is told, never raised.

        Raises Stopped, after which what was sent is noted for the next call, LockedError, and
        UnreadableError where the records there cannot be written.
        """
        began, sent_before = self.seconds(), self.sender.bytes_sent
        try:
            done = self._ship(task, destination)
        except (Stopped, LockedError):
            raise
        except UnreadableError:  # the records there: what this one became must not go untold
            text = "its manifest, or a note on it, could not be written: if its files came, the next call compares and notes them"
            self.log(self._told(task, Status.FAILED, text))
            raise
        except OSError as error:
            text, fault = failure(error, task.cargo.member)
            done = replace(self._told(task, Status.FAILED, text), fault=fault)
        done = replace(
            done,
            bytes_sent=self.sender.bytes_sent - sent_before,
            seconds=round(self.seconds() - began, 3),
        )
        self.log(done)
        return done

    def _ship(self, task: Task, destination: Destination) -> Shipped:
        cargo, how = task.cargo, task.pair
        if how is Pair.UNSURE:
            how = self._compared(task)
        if how is Pair.EQUAL:
            return self._brought_up_to_date(task)
        if how is not Pair.ABSENT and (joined := self._joined(task)) is not None:
            return joined
        if how is Pair.OTHER:
            return self._conflict(task, destination)
        return self._sent(task, cargo, over=how is Pair.OLDER)

    def _sent(self, task: Task, cargo: Cargo, *, over: bool, room: Room | None = None) -> Shipped:
        self.wrote = True
        on_disk = self.quay.run.able.rename
        delivery = (DiskDelivery if on_disk else BucketDelivery)(self.quay)
        sent = delivery.deliver(cargo, self.sender, over=over, room=room)
        self._keep(manifest_of(cargo, sent, said_of(cargo.checkpoint), self.quay))
        if isinstance(delivery, BucketDelivery):
            delivery.settle(cargo)
        return self._told(task, Status.DONE, None, cargo)

    def _joined(self, task: Task) -> Shipped | None:
        """Bring the rest of what is there, if that is some of this very checkpoint; else None."""
        cargo, there = task.cargo, task.there
        on_disk = self.quay.run.able.rename
        if self.noting is None or not on_disk or not is_begin(cargo, there.folder):
            return None
        with closing(self.noting()) as noting:
            joining = Joining(self.quay, noting)
            self.wrote = True
            joined = joining.joined(cargo, there, self.sender)
            if joined is None:
                return None
            self._keep(manifest_of(*joined, said_of(cargo.checkpoint), self.quay))
            joining.settle(cargo)
        return self._told(task, Status.DONE, None)

    def _conflict(self, task: Task, destination: Destination) -> Shipped:
        there, now_ns = task.there, self.quay.clock()
        text = conflict(there, self.on_conflict, now_ns, self.way_out(task.checkpoint))
        if text is not None:
            return self._told(task, Status.CONFLICT, text)
        if there.checkpoint is None or self.on_conflict == "both":
            return self._beside(task, destination)
        try:
            room = partial(self._make_room, there.checkpoint)
            return self._sent(task, task.cargo, over=False, room=room)
        except NoRoomError as error:
            text = f"another checkpoint has this name there; nothing of it was touched: {error}"
            return self._told(task, Status.CONFLICT, text)

    def _make_room(self, one: Checkpoint) -> None:
        if (why := self.set_aside(one)) is not None:
            raise NoRoomError(why)

    def _beside(self, task: Task, destination: Destination) -> Shipped:
        """Copy it as NAME~2, or under the first such name that is free or has this very copy."""
        for number in range(2, 1000):
            cargo = task.cargo.called(f"~{number}")
            other = task_of(cargo, destination, self.begun)
            how = self._compared(other) if other.pair is Pair.UNSURE else other.pair
            if how is Pair.EQUAL:
                return self._told(task, Status.EQUAL, None, cargo)
            if how in {Pair.ABSENT, Pair.BEGUN}:
                return self._sent(task, cargo, over=False)
        return self._told(task, Status.CONFLICT, "999 others have its name there")

    def _compared(self, task: Task) -> Pair:
        """Read what is here and there, and write the manifest that is missing where all is the same."""
        cargo, sent = task.cargo, dict[str, Sent]()
        for piece in cargo.payload():
            entry = task.there.folder.find(piece.target)
            if entry is None:
                return Pair.OTHER
            digest = self.sender.digest(self.sender.source, piece.path, piece.entry)
            if digest != self.sender.digest(self.quay.run, piece.target, entry):
                return Pair.OLDER if cargo.checkpoint.named and _not_newer(task) else Pair.OTHER
            sent[piece.target] = Sent(entry, digest)
        self.wrote = True
        for path, content in cargo.made.items():
            entry = task.there.folder.find(path)
            sent[path] = (
                written(self.quay, path, content)
                if entry is None
                else Sent(entry, self.sender.digest(self.quay.run, path, entry))
            )
        for piece in cargo.beside():
            entry = task.there.folder.find(piece.target)
            if entry is not None:
                sent[piece.target] = Sent(
                    entry, self.sender.digest(self.quay.run, piece.target, entry)
                )
        sent |= write_sidecars(stale_sidecars(cargo, task.there), self.sender, self.quay)
        if self.quay.run.able.rename:
            cargo = timed(cargo, sent)
        self._keep(manifest_of(cargo, sent, said_of(cargo.checkpoint), self.quay))
        return Pair.EQUAL

    def _brought_up_to_date(self, task: Task) -> Shipped:
        """Bring what goes along with an equal copy up to date: sidecars, and what its manifest says."""
        cargo, manifest = task.cargo, task.there.manifest
        if manifest is not None:
            files, said = manifest.files, said_of(cargo.checkpoint)
            if stale := list(stale_sidecars(cargo, task.there)):
                self.wrote = True
                sent = write_sidecars(stale, self.sender, self.quay)
                files = {**files, **{p.target: noted_of(p, sent[p.target]) for p in stale}}
            if (files, said) != (manifest.files, manifest.said):
                self._keep(replace(manifest, files=files, said=said))
        return self._told(task, Status.EQUAL, None)

    def _keep(self, manifest: Manifest) -> None:
        self.wrote = True
        self.recorder.keep(manifest)
        self.noted = True

    def _told(
        self, task: Task, status: Status, error: str | None, cargo: Cargo | None = None
    ) -> Shipped:
        cargo = cargo or task.cargo
        root = self.quay.run.root
        how = (status, error, cargo.member, cargo.bytes)
        return copy_of(cargo.checkpoint, root, *how)


def _not_newer(task: Task) -> bool:
    there = task.there.checkpoint
    return there is not None and there.saved_ns <= task.checkpoint.saved_ns
