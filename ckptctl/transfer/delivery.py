"""What it is to deliver one checkpoint, whatever the store; see `to_disk.py` and `to_bucket.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ckptctl.manifest import Manifest, Noted
from ckptctl.model import Metadata
from ckptctl.reading import VanishedError
from ckptctl.stores._base import FULL, Store
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.notes import Notes, Sent, stage_name
from ckptctl.transfer.sending import DroppedError, Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Quay:
    """Where checkpoints of one run arrive; whoever uses it holds the run's lock there."""

    run: Store
    state: Store
    clock: Callable[[], int]
    check: Callable[[], None]  # proves that the lock is still ours.  LockedError
    by: str  # who writes manifests
    staging: Callable[[str], str] = stage_name
    """Where a checkpoint is staged, by its path in the run; beside it, as `.json`, what was sent."""

    def notes(self, member: str, *, at_once: bool = False) -> Notes:
        """Return the notes of what was sent of a checkpoint.  Raises OSError."""
        file = f"{self.staging(member)}.json"
        return Notes(self.state, member, self.clock(), at_once=at_once, file=file)


class NoRoomError(Exception):
    """What has the name of a copy cannot be taken away."""


Room = Callable[[], None]
"""Takes away what has the name of a copy.  NoRoomError, LockedError, OSError."""


@contextmanager
def giving_up(forget: Callable[[], object]) -> Iterator[None]:
    """Forget what was staged where no later call can go on with it; the error is raised again.

    That is where the source is another by now or damaged, where what has the name stays, and where
    the destination is full: what lies there would keep others from making room.
    """
    try:
        yield
    except (DroppedError, NoRoomError, VanishedError):
        forget()
        raise
    except OSError as error:
        if error.errno in FULL:
            forget()
        raise


class Delivery(Protocol):
    """How a checkpoint comes to a destination."""

    def deliver(
        self, cargo: Cargo, sender: Sender, *, over: bool, room: Room | None = None
    ) -> Mapping[str, Sent]:
        """Copy a checkpoint, which appears there whole or not at all; return what was sent.

        With `over` it takes the place of an older copy of itself.  Where another one has its name,
        `room` is called once all of the copy is there and the source was looked at for the last
        time.  Raises OSError, NoRoomError, Stopped; what was sent stays for the next call, unless
        the source is another by now (VanishedError) or damaged (DroppedError).
        """


def noted_of(piece: Piece, there: Sent) -> Noted:
    """Return what a manifest notes of one file that was delivered."""
    entry = there.entry
    return Noted(
        entry.size,
        piece.mtime_ns,
        there.digest,
        entry.inode,
        entry.etag or None,
        hardlink=piece.twin,
        sidecar=piece.sidecar,
    )


def timed(cargo: Cargo, there: Mapping[str, Sent]) -> Cargo:
    """Return a cargo with the times of its files on a disk, where they were before it came."""
    times = {path: sent.entry.mtime_ns for path, sent in there.items()}
    pieces = (p._replace(mtime_ns=times.get(p.target, p.mtime_ns)) for p in cargo.pieces)
    return replace(cargo, pieces=tuple(pieces))


def manifest_of(cargo: Cargo, sent: Mapping[str, Sent], said: Metadata, quay: Quay) -> Manifest:
    """Return the manifest of a checkpoint as it was delivered."""
    files = {}
    for piece in cargo.pieces:
        there = sent.get(piece.target) or sent[piece.twin or piece.target]
        files[piece.target] = noted_of(piece, there)
    for path in cargo.made:
        entry = sent[path].entry
        files[path] = Noted(
            entry.size,
            entry.mtime_ns,
            sent[path].digest,
            entry.inode,
            entry.etag or None,
            made=True,
        )
    links = {
        path: Noted(0, cargo.link_times.get(path, 0), None, link=text)
        for path, text in cargo.links.items()
    }
    checkpoint = cargo.checkpoint
    return Manifest(
        name=checkpoint.name,
        path=cargo.member,
        format=checkpoint.format,
        said=said,
        files={**files, **links},
        dirs=cargo.dirs,
        created_ns=quay.clock(),
        created_by=quay.by,
    )
