"""Small text files by which frameworks name their last checkpoint."""

from __future__ import annotations

from collections.abc import Iterable

from ckptctl.listing import Entry, Folder
from ckptctl.reading import TRACKER_LIMIT, Reader, VanishedError


def read_tracker(name: str, folder: Folder, reader: Reader) -> str | None:
    """Return the text of a tracker, stripped; None where there is none, or it can be none.

    One that is being replaced just now is none.  Raises OSError where it cannot be read.
    """
    entry = folder.files.get(name)
    if entry is None or entry.size > TRACKER_LIMIT:
        return None
    try:
        text = reader.read(name, TRACKER_LIMIT).decode("utf-8", "replace").strip()
    except VanishedError:
        return None
    return text or None


def not_updated(tracker: str, written: Entry, named: object, files: Iterable[Entry]) -> str | None:
    """Return why a save above the one that a tracker names is not whole: it was written after it.

    A tracker is written last.  What is older than it was left by a user who went back.
    """
    if max((file.mtime_ns for file in files), default=0) <= written.mtime_ns:
        return None
    return f"{tracker}, which is written last, names {named} and was not updated after it"
