"""The journal of a run in a bucket, where nothing can be appended: one object for each group.

`journal/ID.json` names what is about to go, with the version of every object; it goes last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptctl.listing import Entry, Folder, Version, version_of
from ckptctl.model import Checkpoint
from ckptctl.reading import FRAMEWORK_LIMIT, NOT_UNDERSTOOD, VanishedError
from ckptctl.stores._base import Store

FOLDER = "journal"
SCHEMA = "ckptctl/journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One checkpoint that is about to go; paths are relative to the run."""

    name: str
    member: str
    key: str  # the object that goes first: without it there is no such checkpoint
    payload: Mapping[str, Version]  # with the key
    sidecars: Mapping[str, Version]

    def left_in(self, folder: Folder) -> tuple[dict[str, Entry], dict[str, Entry]]:
        """Return what of payload and sidecars is still there as it was, but for the key."""
        payload = {path: seen for path, seen in self.payload.items() if path != self.key}
        return _same(payload, folder), _same(self.sidecars, folder)


def _same(parts: Mapping[str, Version], folder: Folder) -> dict[str, Entry]:
    found = {path: folder.find(path) for path in parts}
    return {
        path: entry
        for path, entry in found.items()
        if entry is not None and entry.version == parts[path]
    }


def removal_of(checkpoint: Checkpoint, shared: frozenset[str]) -> Removal:
    """Return what is to go of a checkpoint: all but the sidecars that another one needs.

    Where its key file is what an unfinished save still lacks, another file of it goes first.
    """
    beside = set(checkpoint.sidecars)
    payload = {p: e.version for p, e in checkpoint.files.items() if p not in beside}
    key = checkpoint.key_file if checkpoint.key_file in payload else min(payload)
    return Removal(
        name=checkpoint.name,
        member=checkpoint.member,
        key=key,
        payload=payload,
        sidecars={path: checkpoint.files[path].version for path in sorted(beside - shared)},
    )


def begin(state: Store, number: str, removals: Sequence[Removal]) -> None:
    """Note what is about to go.  Raises OSError where it cannot be written."""
    value = {
        "schema": SCHEMA,
        "version": 1,
        "removals": [
            {
                "name": removal.name,
                "member": removal.member,
                "key": removal.key,
                "payload": {path: list(seen) for path, seen in removal.payload.items()},
                "sidecars": {path: list(seen) for path, seen in removal.sidecars.items()},
            }
            for removal in removals
        ],
    }
    state.replace(f"{FOLDER}/{number}.json", json.dumps(value).encode())


def end(state: Store, number: str) -> None:
    """Note that all of a group is settled.  Raises OSError."""
    removed = state.remove_file(f"{FOLDER}/{number}.json")
    if removed.left:
        raise OSError(removed.left[0])


def numbers(state: Store) -> list[str]:
    """Return the groups that were begun and not settled, oldest first.  Raises OSError."""
    try:
        names = state.listing(FOLDER, deep=False).files
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def is_going(state: Store, member: str) -> bool:
    """Whether the deletion of a checkpoint was begun and is not settled.  Raises OSError, ValueError."""
    return any(r.member == member for number in numbers(state) for r in removals(state, number))


def half_gone(state: Store, folder: Folder) -> frozenset[str]:
    """Return the members of a run of which the key file is gone by a deletion that was begun.

    What is left may look like a whole one.  Raises OSError, and ValueError like `removals`.
    """
    begun = (removal for number in numbers(state) for removal in removals(state, number))
    return frozenset(r.member for r in begun if folder.find(r.key) is None)


def removals(state: Store, number: str) -> list[Removal]:
    """Return what one group was to remove.

    Raises OSError, and ValueError where it cannot be understood: a newer ckptctl may have written it.
    """
    try:
        value = json.loads(state.read(f"{FOLDER}/{number}.json", FRAMEWORK_LIMIT))
        if (value["schema"], value["version"]) != (SCHEMA, 1):
            raise ValueError("of another version")
        return [
            Removal(
                name=str(removal["name"]),
                member=str(removal["member"]),
                key=str(removal["key"]),
                payload={str(p): version_of(seen) for p, seen in removal["payload"].items()},
                sidecars={str(p): version_of(seen) for p, seen in removal["sidecars"].items()},
            )
            for removal in value["removals"]
        ]
    except VanishedError:
        return []
    except NOT_UNDERSTOOD as error:
        raise ValueError(f"{FOLDER}/{number}.json cannot be understood") from error
