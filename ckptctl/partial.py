"""What was fetched of a checkpoint by a pattern: some of its files, which must never look whole.

`partial/ID.json` in the state of the run where they are, written before any of them has its name: in
the one that lies at the run, wherever --state-dir is, so that a call without it sees them too.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping

from ckptctl.listing import Entry
from ckptctl.reading import FRAMEWORK_LIMIT, NOT_UNDERSTOOD, TooLargeError, VanishedError
from ckptctl.records import file_name
from ckptctl.stores._base import Store

FOLDER = "partial"
_SCHEMA = ("ckptctl/partial", 1)

Seen = tuple[int, int]
"""Bytes and mtime in ns of a file."""


def partial_in(state: Store) -> dict[str, Seen]:
    """Return the files that were fetched so, by their paths in the run.

    Raises OSError, also where a note cannot be understood: what is whole is not known then.
    """
    try:
        notes = state.listing(FOLDER, deep=False).files
    except FileNotFoundError:
        return {}
    found: dict[str, Seen] = {}
    for note in notes:
        if note.endswith(".json"):
            found.update(_noted(state, f"{FOLDER}/{note}"))
    return found


def _noted(state: Store, path: str) -> Iterator[tuple[str, Seen]]:
    try:
        said = json.loads(state.read(path, FRAMEWORK_LIMIT))
        if (said["schema"], said["version"]) != _SCHEMA:
            raise ValueError("it is of another version")
        yield from [(str(file), (int(b), int(ns))) for file, (b, ns) in said["files"].items()]
    except (FileNotFoundError, VanishedError):
        return
    except (TooLargeError, *NOT_UNDERSTOOD) as error:
        raise OSError(errno.EBADMSG, f"cannot be understood ({error})", path) from error


def fetched_in(state: Store) -> dict[str, int]:
    """Return when a part of each checkpoint was last fetched, by the name of its note.  Raises OSError."""
    try:
        notes = state.listing(FOLDER, deep=False).files
    except FileNotFoundError:
        return {}
    return {note: entry.mtime_ns for note, entry in notes.items()}


def note_partial(state: Store, member: str, files: Mapping[str, Seen]) -> None:
    """Note that just these files of a checkpoint are, or will be, there.  Raises OSError."""
    said = {"schema": _SCHEMA[0], "version": _SCHEMA[1], "path": member, "files": dict(files)}
    state.make_folder(FOLDER)
    state.replace(f"{FOLDER}/{file_name(member)}", json.dumps(said).encode())


def forget_partial(state: Store, member: str) -> None:
    """Forget that a checkpoint was fetched in part: it is whole now.  Raises OSError."""
    name = f"{FOLDER}/{file_name(member)}"
    if state.stat(name) is not None:
        state.remove_file(name)


def is_partial(files: Mapping[str, Entry], noted: Mapping[str, Seen]) -> bool:
    """Whether a checkpoint is what was fetched so: then others of its files are missing.

    One such file is enough.  Several are no more than was fetched, whatever their times, as long as no
    other has joined them and none has another size: `touch` and `cp -r` make no checkpoint of them.
    A single file may have been saved anew.
    """
    if any(noted.get(path) == (entry.size, entry.mtime_ns) for path, entry in files.items()):
        return True
    return len(files) > 1 and all(
        path in noted and noted[path][0] == entry.size for path, entry in files.items()
    )
