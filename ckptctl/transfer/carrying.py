"""What was recorded of a checkpoint at the source goes along with its copy: pins, tags, annotations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial

from ckptctl.model import Checkpoint, Run
from ckptctl.noting import Note, noted
from ckptctl.recording import Recorder
from ckptctl.records import Record
from ckptctl.transfer.destination import Destination


def carry(
    members: Collection[str],
    source: Run,
    records: Mapping[str, tuple[Record, ...]],
    there: Destination,
    recorder: Recorder,
) -> bool:
    """Bring what is recorded of these copies up to date; return whether any of it was not.

    Raises UnreadableError, LockedError.
    """
    changed = False
    for checkpoint in source.checkpoints:
        said, copy = records.get(checkpoint.member, ()), there.by_member.get(checkpoint.member)
        if not said or copy is None or copy.member not in members:
            continue
        old = next(iter(there.records.get(copy.member, ())), Record(path=copy.member))
        note = _missing(note_of(said, checkpoint), old)
        if noted(old, note, copy) != old:
            recorder.change(copy.member, partial(_with, note=note, copy=copy))
            changed = True
    return changed


def _missing(note: Note, old: Record) -> Note:
    """Return a note without what is there: said again it would count as set by hand there."""
    tags = tuple(tag for tag in note.tags if tag not in old.tags)
    return replace(note, tags=tags, pin=None if old.pinned else note.pin)


def _with(record: Record, *, note: Note, copy: Checkpoint) -> Record:
    return noted(record, note, copy)


def note_of(records: Iterable[Record], checkpoint: Checkpoint) -> Note:
    """Return its pins, tags and annotations as a note for the copy.

    They are only ever added there: what somebody set at the destination stays.  Metrics that were
    recorded of other files under this name stay behind.
    """
    metrics: dict[str, float] = {}
    tags: dict[str, None] = {}
    pinned = False
    for record in records:
        tags.update(dict.fromkeys(record.tags))
        pinned = pinned or record.pinned
        if record.fits(checkpoint.files):
            metrics = {**record.metrics, **metrics}
    return Note(metrics=metrics, tags=tuple(tags), pin=True if pinned else None)
