"""What is on its way into a bucket in parts, from several nodes: it must not look whole before it is."""

from __future__ import annotations

import json

from ckptctl.reading import FRAMEWORK_LIMIT, NOT_UNDERSTOOD, TooLargeError, VanishedError
from ckptctl.records import file_name
from ckptctl.stores._base import Store

FOLDER = "staging"
PARTS = ".parts"
"""How a directory in it ends that holds what several callers hand in of one checkpoint."""

_LONGEST = 200
"""Characters of a name that leave room for its ending on any file system."""


def parts_name(key: str) -> str:
    """Return the name of that directory: what the checkpoint is called, as far as a name can hold it."""
    import urllib.parse  # noqa: PLC0415 - few need it

    name = urllib.parse.quote(key, safe="", errors="surrogateescape")
    plain = len(name) <= _LONGEST and not name.startswith(".")
    return (name if plain else file_name(key).removesuffix(".json")) + PARTS


def half_come(state: Store) -> frozenset[str]:
    """Return the directories of which parts are still to come, by their paths in the run.

    Raises OSError.
    """
    try:
        listed = state.listing(FOLDER)
    except FileNotFoundError:
        return frozenset()
    coming: set[str] = set()
    for name, folder in listed.folders.items():
        if name.endswith(PARTS):
            for note in folder.files:
                coming.update(roots_in(state, f"{FOLDER}/{name}/{note}"))
    return frozenset(coming)


def roots_in(state: Store, note: str) -> list[str]:
    """Return the directories of the checkpoint of which a note is, by their paths in the run.

    Nothing where it is no note of a part, or cannot be understood.  Raises OSError.
    """
    try:
        return [str(root) for root in json.loads(state.read(note, FRAMEWORK_LIMIT))["roots"]]
    except (FileNotFoundError, VanishedError, TooLargeError, *NOT_UNDERSTOOD):
        return []
