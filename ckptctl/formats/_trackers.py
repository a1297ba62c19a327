"""Small text files by which frameworks name their last checkpoint."""

from __future__ import annotations

from ckptctl.model import Folder
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
