"""Make one checkpoint of all its parts: where each file lies, whether it is whole, and staging it."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.group import Found, look
from ckptctl.known import Formats
from ckptctl.model import Checkpoint, Run, State
from ckptctl.parts.meeting import Meeting, whole_stage
from ckptctl.parts.part import Part
from ckptctl.parts.union import Lies, Union, folder_of_parts, lying, united
from ckptctl.prove import prove
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.notes import Notes, Sent
from ckptctl.transfer.sending import Sender


class MissingError(OSError):
    """A file that was handed in is not there any more as it was: its part is to be handed in again."""


class HalfError(ValueError):
    """All parts are there, and together they are not whole; the text says what is missing."""


class UnsettledError(ValueError):
    """All parts are there, and somebody may have looked while a file was written; the text says why."""


_UNSETTLED = "settling"
"""The problem of what lacks nothing that is known of, and that nothing proves to be all."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A checkpoint as it is in all its parts together."""

    union: Union
    found: Found
    run: Run
    checkpoint: Checkpoint


def union_of(
    meeting: Meeting, run: Store, key: str, parts: Mapping[int, Part], location: str
) -> Union:
    """Find each file of all parts.  UnlikeError, MissingError, OSError; `run` is the destination's."""
    files = united(parts)
    lies = {}
    for path, (number, kept) in files.items():
        # In a bucket one name holds what the last of those sent who have the same file.
        same = [(number, kept)] + [
            (other, part.files[path])
            for other, part in parts.items()
            if other != number and path in part.files and part.files[path].twin == kept.twin
        ]
        every = (lying(meeting.state, run, (key, by, path), one) for by, one in same)
        found = next(filter(None, every), None)
        if found is None:
            why = f"part {number} has to be handed in again"
            raise MissingError(errno.ENOENT, why, kept.twin or path)
        lies[path] = found
    small = {
        path: text.encode(errors="surrogateescape")
        for part in parts.values()
        for path, text in part.trackers.items()
    }
    return Union(location, lies, folder_of_parts(parts, files), small)


def whole_of(
    union: Union, key: str, formats: Formats, name: str, context: Context, top: str
) -> Whole:
    """Return the checkpoint, proven at structure level.  HalfError where it is not whole; OSError.

    UnsettledError where a plain sync would wait; `context` has the time of the first look at it.
    """
    found = look(union.folder, union, formats, top)
    run = annotate(found, name, union.root, union, Beside(), context)
    one = next((c for c in run.checkpoints if key_of(c) == key), None)
    if one is not None and one.state is State.SAVING:
        unsettled = [p.text for p in one.problems if p.code == _UNSETTLED]
        if unsettled:
            raise UnsettledError(unsettled[0])
        # A marker may seem older than another node's files because of their clocks.
        at_once = replace(context, settle_ns=0)
        run = annotate(found, name, union.root, union, Beside(), at_once)
        one = next((c for c in run.checkpoints if key_of(c) == key), None)
    if one is None:
        raise HalfError("together they are nothing that any format knows")
    if one.state is not State.COMPLETE:
        said = one.problems[0].text if one.problems else f"it is {one.state}"
        raise HalfError(said)
    findings = prove(one, formats.by_name, union, lambda _: None)
    if findings:
        raise HalfError(f"{findings[0].file}: {findings[0].text}")
    return Whole(union, found, run, one)


def key_of(checkpoint: Checkpoint) -> str:
    """Return what parts of one checkpoint are known by on every node.

    A directory by its path; of files a node may lack the one by which a group is called.
    """
    if checkpoint.roots or (checkpoint.step is None and checkpoint.epoch is None):
        return checkpoint.member
    number = checkpoint.epoch if checkpoint.step is None else checkpoint.step
    return f"{checkpoint.family} {number}"


def gather(whole: Whole, cargo: Cargo, key: str, meeting: Meeting) -> None:
    """Let what was handed in be found by the delivery: noted, and on a disk all in one directory.

    Raises OSError.
    """
    stage, state = whole_stage(key), meeting.state
    notes = Notes(state, cargo.member, meeting.clock(), file=f"{stage}.json")
    moves: list[tuple[str, str]] = []
    for piece, lies in _pieces(whole, cargo):
        if isinstance(state, LocalStore):
            to = f"{stage}/{piece.target}"
            if lies.store is state and lies.at != to:
                moves.append((lies.at, to))
        elif lies.store is state:
            continue  # it gets its name last, from there
        notes.finished(piece, Sent(lies.entry, lies.kept.digest))
    notes.flush()  # first, so that what lies in the directory is known to be ours
    if isinstance(state, LocalStore):
        for at, to in moves:
            state.make_folder(to.rpartition("/")[0])
            # One of an older save may be there, of a call that died here.
            state.rename_over(at, state, to)


def _pieces(whole: Whole, cargo: Cargo) -> Iterator[tuple[Piece, Lies]]:
    for piece in cargo.payload():
        lies = whole.union.files[piece.path]
        if lies.kept.twin is None:
            yield piece, lies


@dataclass(slots=True)
class Gatherer(Sender):
    """Sends nothing but what was held back: all else is where it is to be, or the call fails.

    The server copies it, where it can: of each node one shard may be held back.
    """

    held: Mapping[str, Lies] = field(default_factory=dict)

    def _copied(self, piece: Piece, target: Store, at: str) -> Sent | None:
        lies = self.held.get(piece.path)
        if lies is None:
            raise MissingError(errno.ENOENT, "its part has to be handed in again", piece.path)
        lying = piece._replace(path=lies.at, entry=lies.entry, digest=lies.kept.digest)
        return self._copied_from(lies.store, lying, target, at)


def held_back(whole: Whole, state: Store) -> Mapping[str, Lies]:
    """Return the files that lie in a bucket's state until the very end."""
    if isinstance(state, LocalStore):
        return {}
    return {path: lies for path, lies in whole.union.files.items() if lies.store is state}
