"""Send files from one store to another: hashed while they are read, and proven where they arrive."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ckptctl.hashing import Stopped
from ckptctl.listing import Entry, Folder
from ckptctl.pace import side_by_side
from ckptctl.reading import Reader, VanishedError
from ckptctl.stores._moving import Giving, Incoming
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.notes import Notes, Sent
from ckptctl.transfer.throttle import Throttle

if TYPE_CHECKING:
    from blake3 import blake3

    from ckptctl.stores._base import Store

_NOTED = 2**24
"""Bytes from which a file that is under way is worth a note of its own."""


_SMALL = 2**20
"""Bytes up to which a server takes longer to answer than they take on their way."""


class Source(Reader, Giving, Protocol):
    """What files are sent from: a store, or what is put together from several."""

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return the directory and all below it, as `Store` does."""

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a regular file as it is now; None where there is none."""

    def checksums(self, files: Mapping[str, Entry]) -> Mapping[str, Mapping[str, str]]:
        """Return what the server itself says that whole files hash to, as `Store` does."""


class DroppedError(OSError):
    """What was read is not what the source's manifest noted, or became another file meanwhile."""


@dataclass(slots=True)
class Sender:
    """Sends files of one run; `heard` gets the bytes as they go, from several threads."""

    source: Source
    throttle: Throttle
    jobs: int
    small_jobs: int  # of small files to or from a bucket: each waits twice for its server
    stop: Callable[[], bool]
    heard: Callable[[int], None]
    bytes_sent: int = 0
    _copies: bool = True  # the store may be able to copy by itself: else it is not asked again
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(
        self,
        pieces: Iterable[Piece],
        target: Store,
        at: Callable[[str], str],
        notes: Notes,
        last: Callable[[], None] | None = None,
    ) -> dict[str, Sent]:
        """Send pieces side by side; return what became of each, by its path at the destination.

        `at` says where in `target` a piece goes; `last` is called before one that was read gets its
        name, and what it raises leaves the piece without.  Raises Stopped, DroppedError,
        VanishedError or OSError as soon as one of them fails; what was sent is noted.
        """
        failed: list[BaseException] = []

        def one(piece: Piece) -> tuple[str, Sent] | None:
            if failed:
                return None
            try:
                return piece.target, self.send_one(piece, target, at(piece.target), notes, last)
            except BaseException as error:  # noqa: BLE001 - raised again below, by the caller's thread
                failed.append(error)
                return None

        large: list[Piece] = []
        small: list[Piece] = []
        for piece in sorted(pieces, key=lambda piece: -piece.entry.size):
            waits = not (piece.entry.inode and target.able.rename)  # for a server, at either end
            (small if waits and piece.entry.size <= _SMALL else large).append(piece)
        try:
            done = side_by_side(one, large, self.jobs) + side_by_side(one, small, self.small_jobs)
        finally:
            try:
                (notes.flush if failed else notes.settle)()
            except OSError:
                if not failed:  # else what cannot be reached now is told by what failed first
                    raise
        if failed:
            raise failed[0]
        return dict(filter(None, done))

    def send_one(
        self,
        piece: Piece,
        target: Store,
        at: str,
        notes: Notes,
        last: Callable[[], None] | None = None,
    ) -> Sent:
        """Send one piece, unless it is noted that it was and it is still there."""
        if (before := notes.sent(piece)) is not None:
            there = target.stat(at)
            if there is not None and there.version == before[0]:
                self.heard(piece.entry.size)
                return Sent(there, before[1])
        sent = None if notes.token(piece) else self._copied(piece, target, at)
        if sent is None:
            try:
                sent = self._stream(piece, target, at, notes, last)
            except _UnlikeError:  # once more, from the beginning
                sent = self._stream(piece, target, at, None, last)
        elif last is not None:
            with _taken_back(target, at, sent.entry):
                last()
        notes.finished(piece, sent)
        return sent

    def _copied(self, piece: Piece, target: Store, at: str) -> Sent | None:
        """Let the store make the copy itself, where it can and the digest is known."""
        return self._copied_from(self.source, piece, target, at)

    def _copied_from(self, source: Source, piece: Piece, target: Store, at: str) -> Sent | None:
        entry = None
        if self._copies and piece.entry.size:
            entry = target.copied(piece.path, piece.entry, source, at)
            self._copies = entry is not None
        if entry is None:
            return None
        with _taken_back(target, at, entry):
            return Sent(entry, self._proven_copy(source, piece, target, at, entry))

    def _proven_copy(
        self, source: Source, piece: Piece, target: Store, at: str, entry: Entry
    ) -> str:
        """Return the digest of what the store copied, once it is known to be what is here."""
        if self.stop():
            raise Stopped
        digest = piece.digest
        if digest is None or not _alike(source, piece, target, at, entry):
            digest = self._read(source.blocks(piece.path, piece.entry))
            if piece.digest not in {None, digest}:
                raise _damaged(piece)
            if digest != self._read(target.blocks(at, entry)):
                raise OSError(errno.EIO, "what was copied there is not what is here", at)
        self.heard(piece.entry.size)
        return digest

    def _stream(
        self,
        piece: Piece,
        target: Store,
        at: str,
        notes: Notes | None,
        last: Callable[[], None] | None,
    ) -> Sent:
        """Read, hash and write one file; then prove what was written."""
        from blake3 import blake3  # noqa: PLC0415 - only who copies needs it

        incoming = target.incoming(at, piece.entry.size, notes.token(piece) if notes else "")
        ended = False
        try:
            hasher = blake3()
            there = incoming.offset
            begin = self._resumed(piece, target, at, incoming, hasher)
            self._noted(piece, incoming, notes)
            for block in self.source.blocks(piece.path, piece.entry, begin):
                self._write(incoming, hasher, block, max(there - begin, 0))
                begin += len(block)
                self._noted(piece, incoming, notes)
            digest = hasher.hexdigest()
            if piece.digest not in {None, digest}:
                raise _damaged(piece)
            if last is not None:
                incoming.land()
                last()
            entry = incoming.finish()
            ended = True
        except (DroppedError, VanishedError):
            incoming.abandon()
            ended = True
            raise
        finally:
            if not ended:
                incoming.leave()
        if not incoming.proven and self._read(target.blocks(at, entry)) != digest:
            with _taken_back(target, at, entry):
                raise _UnlikeError(errno.EIO, "what was written is not what was read here", at)
        return Sent(entry, digest)

    def _resumed(
        self, piece: Piece, target: Store, at: str, incoming: Incoming, hasher: blake3
    ) -> int:
        """Hash what is there already, where it can be read there; return where reading begins."""
        if not incoming.offset or not target.able.rename:
            return 0
        there = target.stat(at)
        if there is None:
            return 0
        for block in target.blocks(at, there):
            hasher.update(block)
        self.heard(there.size)
        return there.size

    def _write(self, incoming: Incoming, hasher: blake3, block: memoryview, skip: int) -> None:
        if self.stop():
            raise Stopped
        hasher.update(block)
        rest = block[skip:]
        if rest:
            self.throttle.take(len(rest))
            incoming.write(rest)
        self.told(len(rest))
        self.heard(len(block))

    def refuse_changed(self, cargo: Cargo) -> None:
        """Refuse a checkpoint of which a file is another one by now, or one more is there.

        VanishedError, OSError.
        """
        now: dict[str, Entry] = {}
        for root in cargo.checkpoint.roots:
            with suppress(FileNotFoundError):  # each of its files is missed below
                now |= {f"{root}/{path}": e for path, e in self.source.listing(root).walk()}
        if more := sorted(now.keys() - cargo.checkpoint.files.keys()):
            raise VanishedError(errno.ESTALE, "it came while the rest was copied", more[0])
        for piece in cargo.pieces:
            entry = now.get(piece.path) or self.source.stat(piece.path)
            if entry is None or entry.version != piece.entry.version:
                raise VanishedError(errno.ESTALE, "it was saved anew meanwhile", piece.path)

    def told(self, count: int) -> None:
        """Count bytes that went over the wire or the bus."""
        with self._lock:
            self.bytes_sent += count

    def _noted(self, piece: Piece, incoming: Incoming, notes: Notes | None) -> None:
        if notes is None or piece.entry.size < _NOTED or notes.token(piece) == incoming.token:
            return
        notes.began(piece, incoming.token)

    def digest(self, store: Giving, path: str, entry: Entry) -> str:
        """Return what a file of a store hashes to.  Raises Stopped, VanishedError, OSError."""
        return self._read(store.blocks(path, entry))

    def _read(self, blocks: Iterator[memoryview]) -> str:
        """Return the digest of what is read."""
        from blake3 import blake3  # noqa: PLC0415 - the same

        hasher = blake3()
        for block in blocks:
            if self.stop():
                raise Stopped
            hasher.update(block)
        return hasher.hexdigest()


class _UnlikeError(OSError):
    """The bytes that are read back are not those that were written."""


@contextmanager
def _taken_back(target: Store, at: str, entry: Entry) -> Iterator[None]:
    """Remove a file that arrived, where it turns out not to be what was sent: it may be seen by now."""
    try:
        yield
    except (OSError, Stopped):
        with suppress(OSError):  # what went wrong first is what is told
            target.remove_files({at: entry})
        raise


def _damaged(piece: Piece) -> DroppedError:
    return DroppedError(
        errno.EIO, "its bytes are not those that its manifest noted: it is damaged", piece.path
    )


def _alike(source: Source, piece: Piece, target: Store, at: str, entry: Entry) -> bool:
    """Whether the servers' own checksums say that a copy is what was copied."""
    here = source.checksums({piece.path: piece.entry}).get(piece.path, {})
    there = target.checksums({at: entry}).get(at, {})
    both = here.keys() & there.keys()
    return bool(both) and all(here[name] == there[name] for name in both)
