"""Deletions that are scheduled by records, on stores where nothing can be moved aside for a grace."""

from __future__ import annotations

from contextlib import closing

from ckptctl.deletion.trash import TrashEntry
from ckptctl.listing import Folder
from ckptctl.records import FOLDER, Record, read_all
from ckptctl.statedir import StateDirs


def scheduled_in(dirs: StateDirs, run: Folder) -> list[TrashEntry]:
    """Return the scheduled deletions of a run as it was listed, oldest first.

    Raises OSError, RecordError.
    """
    found = []
    for place in dirs.holding(FOLDER):
        with closing(dirs.open(place)) as state:
            records = (record for record in read_all(state) if still(record, run))
            found += [entry for record in records if (entry := _entry(record))]
    return sorted(found, key=lambda entry: (entry.trashed_ns, entry.id))


def still(record: Record, run: Folder) -> bool:
    """Whether a checkpoint is there, and its files are those that the record was made for."""
    files = {path: entry for path in record.seen if (entry := run.find(path)) is not None}
    return bool(files) and record.fits(files)


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
