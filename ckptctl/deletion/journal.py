"""What a prune is about to do, written down before it does it, so that the next one can finish.

One JSON object a line in `journal.jsonl`: `begin` with the identity of every file that is to go,
`end` when it is settled.  A line that a crash cut short is left out: what it announced had not
begun.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ckptctl.listing import Version, version_of
from ckptctl.model import Checkpoint, Kind
from ckptctl.reading import NOT_UNDERSTOOD, TooLargeError, VanishedError
from ckptctl.stores._base import Store

FILE = "journal.jsonl"
_BLOCK = 2**20
_OPEN = 64 * 2**20
"""Bytes of all lines that are open at once, and of the longest: half a million files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One removal that was begun: the parts in the order in which they leave their names.

    The first part is what makes it a checkpoint: the directory, the file, or a group's key file;
    then come its other directories or files, sidecars last.  A part goes to `folder/N` of the state directory, N being its place.
    """

    id: str
    name: str
    folder: str  # below the state directory
    kept: bool  # it can be brought back; else its bytes go at once
    parts: Mapping[
        str, Version
    ]  # path within the run -> what it was; of a directory only the inode
    bytes: int

    @property
    def member(self) -> str:
        """The path that goes first."""
        return next(iter(self.parts), "")


def whole(inode: int | str) -> Version:
    """Return what tells a directory from another of its name."""
    return 0, 0, inode


def parts_of(
    checkpoint: Checkpoint, inodes: Mapping[str, int], shared: frozenset[str]
) -> dict[str, Version]:
    """Return the parts of a checkpoint in the order in which they go, but for shared sidecars.

    `inodes` are those of its directories.
    """
    if checkpoint.kind is Kind.DIRECTORY:
        own = {root: whole(inodes[root]) for root in checkpoint.roots}
    else:
        own = {checkpoint.member: checkpoint.files[checkpoint.member].version}
        own |= {
            path: entry.version
            for path, entry in checkpoint.files.items()
            if path not in checkpoint.sidecars and not checkpoint.contains(path)
        }
        own |= {root: whole(inodes[root]) for root in checkpoint.roots}
    beside = [
        path for path in checkpoint.sidecars if path not in shared and not checkpoint.contains(path)
    ]
    return own | {path: checkpoint.files[path].version for path in beside}


class Journal:
    """The journal of one run, in its state directory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, intent: Intent) -> None:
        """Note what is about to go.  Raises OSError where it cannot be written."""
        value = {
            "event": "begin",
            "id": intent.id,
            "name": intent.name,
            "folder": intent.folder,
            "kept": intent.kept,
            "parts": {path: list(seen) for path, seen in intent.parts.items()},
            "bytes": intent.bytes,
        }
        self._write(value, durable=True)

    def end(self, number: str) -> None:
        """Note that a deletion is settled.

        It need not be durable: the next prune finds nothing left of an entry that a power failure
        left open, and closes it.  The next `begin` takes it to the disk as well.
        """
        self._write({"event": "end", "id": number}, durable=False)

    def clear(self) -> None:
        """Forget all, once nothing is open."""
        self._store.remove_file(FILE)

    def open_intents(self) -> list[Intent]:
        """Return what was begun and never ended, oldest first.

        Raises OSError; TooLargeError where more is open than anything of ours leaves.
        """
        begun: dict[str, Intent] = {}
        sizes: dict[str, int] = {}
        for line in self._lines():
            try:
                value = json.loads(line)
                if value["event"] == "end":
                    begun.pop(value["id"], None)
                    sizes.pop(value["id"], None)
                    continue
                begun[value["id"]] = Intent(
                    id=str(value["id"]),
                    name=str(value["name"]),
                    folder=str(value["folder"]),
                    kept=bool(value["kept"]),
                    parts={str(path): version_of(seen) for path, seen in value["parts"].items()},
                    bytes=int(value["bytes"]),
                )
            except NOT_UNDERSTOOD:
                continue
            sizes[value["id"]] = len(line)
            if sum(sizes.values()) > _OPEN:
                raise _too_large()
        return list(begun.values())

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines, of which a block is in memory at a time; none where there is no journal."""
        try:
            with self._store.open(FILE) as file:
                offset, rest = 0, b""
                while block := file.read(offset, _BLOCK):
                    offset += len(block)
                    *whole, rest = (rest + block).split(b"\n")
                    if len(rest) > _OPEN:
                        raise _too_large()
                    yield from whole
                yield rest
        except VanishedError:
            return

    def _write(self, value: Mapping[str, object], *, durable: bool) -> None:
        line = b"\n" + json.dumps(value).encode() + b"\n"
        self._store.append(FILE, line, durable=durable)


def _too_large() -> TooLargeError:
    return TooLargeError(errno.EFBIG, f"more than {_OPEN} bytes of it are open", FILE)
