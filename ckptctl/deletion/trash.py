"""What a prune with `--grace` took: it can be brought back, or its bytes be freed.

Each entry is a directory `trash/ID/` in the state directory: `info.json`, written before anything
moves, and the parts `0`, `1`, ... as they were.  An entry that is to go is renamed to `gone-ID`
first: from then on nobody brings it back, and the next prune removes what a crash left of it.
"""

from __future__ import annotations

import builtins
import json
from dataclasses import dataclass

from ckptctl.errors import RefusedError
from ckptctl.reading import NOT_UNDERSTOOD, SIDECAR_LIMIT, VanishedError
from ckptctl.stores._base import Removed, Stop, Store, never

TRASH = "trash"
GONE = "gone-"
"""Begins the name of an entry that nobody may bring back: only its bytes are left."""

INFO = "info.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashEntry:
    """One checkpoint in the trash of a run."""

    id: str
    batch: str  # the prune that took it
    name: str
    paths: tuple[str, ...]  # within the run, in the order in which they left: part N was paths[N]
    bytes: int
    trashed_ns: int
    until_ns: int
    run_ns: int = 0  # the time of the run's directory before the prune; 0 where not noted

    @property
    def folder(self) -> str:
        """Where it lies in the state directory."""
        return f"{TRASH}/{self.id}"

    def dump(self) -> builtins.bytes:
        """Return the content of its `info.json`."""
        value = {
            "schema": "ckptctl/trash",
            "version": 1,
            "id": self.id,
            "batch": self.batch,
            "name": self.name,
            "paths": list(self.paths),
            "bytes": self.bytes,
            "trashed_ns": self.trashed_ns,
            "until_ns": self.until_ns,
            "run_ns": self.run_ns,
        }
        return json.dumps(value).encode()


def entries(state: Store) -> list[TrashEntry]:
    """Return what is in the trash and can be brought back, oldest first.  Raises OSError.

    A directory there whose `info.json` is missing or cannot be understood is left alone, and so is
    one without the part that makes a checkpoint: nothing was taken yet, or all was brought back.
    """
    found = []
    for name in folders(state):
        if name.startswith(GONE) or state.identity(f"{TRASH}/{name}/0") is None:
            continue
        try:
            value = json.loads(state.read(f"{TRASH}/{name}/{INFO}", SIDECAR_LIMIT))
            entry = TrashEntry(
                id=name,
                batch=str(value["batch"]),
                name=str(value["name"]),
                paths=_paths(value["paths"]),
                bytes=int(value["bytes"]),
                trashed_ns=int(value["trashed_ns"]),
                until_ns=int(value["until_ns"]),
                run_ns=int(value.get("run_ns", 0)),
            )
        except (VanishedError, *NOT_UNDERSTOOD):
            continue
        found.append(entry)
    return sorted(found, key=lambda entry: (entry.trashed_ns, entry.id))


def _paths(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(path, str) for path in value):
        raise ValueError("no paths")
    return tuple(value)


def folders(state: Store) -> list[str]:
    """Return the names in the trash.  Raises OSError where it is there and cannot be listed."""
    try:
        return list(state.listing(TRASH, deep=False).folders)
    except FileNotFoundError:
        return []


def restore(run: Store, state: Store, entry: TrashEntry) -> None:
    """Put a checkpoint back under its name: what makes it one comes last.

    RefusedError where one of its names is taken by something else meanwhile; nothing moves then.
    An interrupted restoration goes on where it stopped.
    """
    waiting = [(n, path) for n, path in enumerate(entry.paths) if _there(state, entry, n)]
    for _, path in waiting:
        if run.identity(path) is not None:
            raise RefusedError(
                f"{entry.name}: {path} is there again, so it was not brought back; nothing was changed",
                f"move {path} out of the way, or leave it: the old one stays in the trash until its grace is over",
            )
    for number, path in reversed(waiting):
        state.rename_to(f"{entry.folder}/{number}", run, path)
    left = state.listing(entry.folder, deep=False)
    if set(left.files) <= {INFO} and not (left.folders or left.links or left.others):
        state.remove_tree(entry.folder)


def _there(state: Store, entry: TrashEntry, number: int) -> bool:
    return state.identity(f"{entry.folder}/{number}") is not None


def discard(state: Store, entry: TrashEntry, stop: Stop = never) -> Removed:
    """Free the bytes of an entry: it loses its name first.  Raises OSError."""
    gone = f"{TRASH}/{GONE}{entry.id}"
    state.rename_to(entry.folder, state, gone)
    return state.remove_tree(gone, stop)
