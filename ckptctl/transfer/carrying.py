"""What was recorded of a checkpoint at the source and goes along with its copy; pure."""

from __future__ import annotations

from collections.abc import Iterable

from ckptctl.model import Checkpoint
from ckptctl.noting import Note
from ckptctl.records import Record


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
