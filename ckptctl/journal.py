"""What a prune is about to do, written down before it does it, so that the next one can finish.

One JSON object a line in `journal.jsonl`: `begin` with the identity of every file that is to go,
`end` when it is settled.  A line that a crash cut short is left out: what it announced had not
begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ckptctl.model import Checkpoint, Entry, Kind
from ckptctl.reading import FRAMEWORK_LIMIT, VanishedError
from ckptctl.stores._base import Store

FILE = "journal.jsonl"

Identity = tuple[int, int, int]
"""Bytes, mtime in ns, inode: a file saved anew under the same name has another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One deletion that was begun: the parts in the order in which they go, sidecars last."""

    id: str
    name: str
    kind: Kind
    member: str  # the directory, the file or the group's key file: what goes first
    inode: int  # of `member`
    files: Mapping[str, Identity]  # of a group: its files; of all kinds: the sidecars that go too
    bytes: int


def identity(entry: Entry) -> Identity:
    """Return what tells this file from another of its name."""
    return entry.size, entry.mtime_ns, entry.inode


def intent_of(checkpoint: Checkpoint, inode: int, shared: frozenset[str], number: str) -> Intent:
    """Return the intent to delete a checkpoint, but for sidecars that another one needs."""
    beside = [
        path for path in checkpoint.sidecars if not _within(path, checkpoint) and path not in shared
    ]
    group = (
        [path for path in checkpoint.files if path not in checkpoint.sidecars]
        if checkpoint.kind is Kind.GROUP
        else []
    )
    return Intent(
        id=number,
        name=checkpoint.name,
        kind=checkpoint.kind,
        member=checkpoint.member,
        inode=inode,
        files={path: identity(checkpoint.files[path]) for path in (*group, *beside)},
        bytes=checkpoint.bytes,
    )


def _within(path: str, checkpoint: Checkpoint) -> bool:
    return checkpoint.kind is Kind.DIRECTORY and path.startswith(checkpoint.member + "/")


class Journal:
    """The journal of one run, in its state directory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, intent: Intent) -> None:
        """Note what is about to go.  Raises OSError where it cannot be written."""
        self._write(
            {
                "event": "begin",
                "id": intent.id,
                "name": intent.name,
                "kind": intent.kind,
                "member": intent.member,
                "inode": intent.inode,
                "files": {path: list(seen) for path, seen in intent.files.items()},
                "bytes": intent.bytes,
            }
        )

    def end(self, number: str) -> None:
        """Note that a deletion is settled."""
        self._write({"event": "end", "id": number})

    def clear(self) -> None:
        """Forget all, once nothing is open."""
        self._store.remove_file(FILE)

    def open_intents(self) -> list[Intent]:
        """Return what was begun and never ended, oldest first.  Raises OSError."""
        try:
            content = self._store.read(FILE, FRAMEWORK_LIMIT)
        except VanishedError:
            return []
        begun: dict[str, Intent] = {}
        for line in content.splitlines():
            try:
                value = json.loads(line)
                if value["event"] == "end":
                    begun.pop(value["id"], None)
                    continue
                begun[value["id"]] = Intent(
                    id=str(value["id"]),
                    name=str(value["name"]),
                    kind=Kind(value["kind"]),
                    member=str(value["member"]),
                    inode=int(value["inode"]),
                    files={
                        str(path): (int(a), int(b), int(c))
                        for path, (a, b, c) in value["files"].items()
                    },
                    bytes=int(value["bytes"]),
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return list(begun.values())

    def _write(self, value: Mapping[str, object]) -> None:
        self._store.append(FILE, b"\n" + json.dumps(value).encode() + b"\n")
