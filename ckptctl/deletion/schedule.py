"""Deletions that are scheduled by records, on stores where nothing can be moved aside for a grace."""

from __future__ import annotations

from contextlib import closing

from ckptctl.deletion.trash import TrashEntry
from ckptctl.records import Record, read_all
from ckptctl.statedir import StateDirs


def scheduled_in(dirs: StateDirs) -> list[TrashEntry]:
    """Return the scheduled deletions of a run, oldest first.  Raises OSError, RecordError."""
    found = []
    for place in dirs.existing:
        with closing(dirs.open(place)) as state:
            found += [entry for record in read_all(state) if (entry := _entry(record))]
    return sorted(found, key=lambda entry: (entry.trashed_ns, entry.id))


def _entry(record: Record) -> TrashEntry | None:
    if record.doom is None:
        return None
    return TrashEntry(
        id=record.path,
        batch=record.doom.batch,
        name=record.doom.name,
        paths=(record.path,),
        bytes=record.doom.bytes,
        trashed_ns=record.doom.since_ns,
        until_ns=record.doom.until_ns,
    )
