"""What a record says after a note or a hold: from the old record to the new one, pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckptctl.lock import is_gone, started, this_host
from ckptctl.model import NS, Checkpoint, Hold
from ckptctl.records import Doom, Promotion, Record

_FORGOTTEN_NS = 24 * 3600 * NS
"""How long after its end a hold is still shown, whatever the clocks of several hosts say."""

_MOST_SEEN = 1000
"""Of a checkpoint of more files only the key file is noted: a save replaces that one too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What `annotate` is to record; None leaves the pin as it is."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    untags: tuple[str, ...] = ()
    pin: bool | None = None


def noted(record: Record, note: Note, checkpoint: Checkpoint) -> Record:
    """Return the record with a note about the checkpoint as its files are now.

    Where they are others than the record was made for, its metrics and proofs are void: they do
    not come back with the new ones.
    """
    tags = tuple(dict.fromkeys((*record.tags, *note.tags)))
    record = replace(
        record,
        tags=tuple(tag for tag in tags if tag not in note.untags),
        pinned=record.pinned if note.pin is None else note.pin,
        promotions=tuple(_by_hand(promotion, note) for promotion in record.promotions),
    )
    if not record.fits(checkpoint.files):
        if not note.metrics:
            return record
        record = _voided(record)
    return replace(record, metrics={**record.metrics, **note.metrics}, seen=seen_of(checkpoint))


def _by_hand(promotion: Promotion, note: Note) -> Promotion:
    """Return a promotion without what a person has decided since: to undo it leaves that alone."""
    if promotion.ended_ns is not None:
        return promotion
    decided = (*note.tags, *note.untags)
    return replace(
        promotion,
        pinned=promotion.pinned and note.pin is None,
        tags=tuple(tag for tag in promotion.tags if tag not in decided),
    )


def damaged(record: Record, checkpoint: Checkpoint, text: str, level: str) -> Record:
    """Return the record with the damage that a verification at this level found in these files."""
    if not record.fits(checkpoint.files):
        record = _voided(record)
    seen = seen_of(checkpoint)
    return replace(record, proven=False, damaged=text, damage_level=level, seen=seen)


def scheduled(record: Record, checkpoint: Checkpoint, doom: Doom) -> Record:
    """Return the record with the deletion of these very files scheduled."""
    if not record.fits(checkpoint.files):
        record = _voided(record)
    return replace(record, doom=doom, seen=seen_of(checkpoint))


def unscheduled(record: Record) -> Record:
    """Return the record without a scheduled deletion."""
    return replace(record, doom=None)


def _voided(record: Record) -> Record:
    """Return the record without what depended on files that are others by now."""
    return replace(record, metrics={}, proven=False, damaged=None, damage_level=None, doom=None)


def undamaged(record: Record) -> Record:
    """Return the record without any damage: a verification found the checkpoint sound."""
    return replace(record, damaged=None, damage_level=None)


def seen_of(checkpoint: Checkpoint) -> Mapping[str, tuple[int, int]]:
    """Return the sizes and times of a checkpoint's own files; sidecars may change without it."""
    own = own_files(checkpoint)
    if len(own) > _MOST_SEEN:
        own &= {checkpoint.key_file}
    return {
        path: (checkpoint.files[path].size, checkpoint.files[path].mtime_ns) for path in sorted(own)
    }


def own_files(checkpoint: Checkpoint) -> set[str]:
    """Return a checkpoint's files, its sidecars aside."""
    return checkpoint.files.keys() - set(checkpoint.sidecars)


def held(record: Record, hold: Hold, now_ns: int) -> Record:
    """Return the record with a hold added or renewed, never to an earlier time than it had."""
    until_ns = max(h.until_ns for h in (*record.holds, hold) if _same(h, hold))
    others = [h for h in record.holds if not _same(h, hold) and now_ns - h.until_ns < _FORGOTTEN_NS]
    return replace(record, holds=(*others, replace(hold, until_ns=until_ns)))


def released(record: Record, hold: Hold) -> Record:
    """Return the record without one hold."""
    return replace(record, holds=tuple(h for h in record.holds if not _same(h, hold)))


def released_by_hand(record: Record, user: str) -> Record:
    """Return the record without a user's holds, but for those of commands that may still run."""
    mine = [h for h in record.holds if h.by == user or h.by.startswith(f"{user}: ")]
    gone = [h for h in mine if not h.id or _dead(h.id)]
    return replace(record, holds=tuple(h for h in record.holds if h not in gone))


def _same(one: Hold, other: Hold) -> bool:
    return (one.by, one.host, one.id) == (other.by, other.host, other.id)


def process_id() -> str:
    """Return what tells this process from any other, on any host."""
    pid = os.getpid()
    return "/".join((*this_host().values(), str(pid), started(pid)))


def _dead(process: str) -> bool:
    """Whether a process of this very host is gone; of another host nobody here can tell."""
    here = "/".join((*this_host().values(), ""))
    pid, _, began = process.removeprefix(here).partition("/")
    return process.startswith(here) and pid.isdecimal() and is_gone(int(pid), began)
