"""What an interrupted copy has sent already: another process goes on after it.

One JSON object a checkpoint, `staging/ID.json` in the destination's state, replaced whole.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ckptctl.coming import FOLDER
from ckptctl.listing import Entry, Version, version_of
from ckptctl.reading import FRAMEWORK_LIMIT, NOT_UNDERSTOOD, TooLargeError, VanishedError
from ckptctl.records import file_name
from ckptctl.stores._base import Store
from ckptctl.transfer.cargo import Piece

CALLS = "parts"
"""The directory in it of what is of a whole call of one of them."""

SENT = ".sent"
"""How the note ends of what one of several callers has sent so far."""

STORED = "stored.json"
"""The note in a directory there of what waits in a bucket to take the place of another one."""

_SCHEMA = ("ckptctl/staging", 1)
_BYTES, _FILES = 64 * 2**20, 500
"""What may have to be sent again after an interruption: a second's work."""

_TIMES, _SHARE = 256, 4
"""How many times the note itself may have to be sent again, and one of how many files noted.

A note is written whole, since a bucket knows no other way: of many files not that often.
"""


class Sent(NamedTuple):
    """A file that is whole at the destination."""

    entry: Entry  # as it is there
    digest: str


class Notes:
    """Notes of one checkpoint on its way; may be told from several threads."""

    def __init__(
        self, state: Store, member: str, now_ns: int, *, at_once: bool = False, file: str = ""
    ) -> None:
        """Read what is noted; what cannot be understood counts as nothing.  Raises OSError.

        With `at_once` no file of it has its name before all of them have.  `file` is where it is
        noted, if not where any copy of this member is.
        """
        self._state = state
        self._lock = threading.Lock()
        self._file = file or note_name(member)
        self._head = {"schema": _SCHEMA[0], "version": _SCHEMA[1], "path": member}
        self._pending = 0
        self._count = 0
        self._bytes = 0  # of the note as it was written last
        self._began_ns = now_ns
        self._at_once = at_once
        self._there = True  # the note
        self.existed = False
        self._files: dict[str, dict[str, Any]] = {}
        try:
            said = json.loads(state.read(self._file, FRAMEWORK_LIMIT))
            if all(said[key] == value for key, value in self._head.items()):
                self._files = {str(path): dict(note) for path, note in said["files"].items()}
                self._began_ns = int(said["began_ns"])
                self.existed = True
        except (FileNotFoundError, VanishedError):
            self._there = False
        except (TooLargeError, *NOT_UNDERSTOOD):
            pass

    def sent(self, piece: Piece) -> tuple[Version, str] | None:
        """Return the version that a piece has there and its digest, if it was sent whole."""
        note = self._of(piece)
        try:
            return (version_of(note["there"]), str(note["digest"])) if "digest" in note else None
        except NOT_UNDERSTOOD:
            return None

    def token(self, piece: Piece) -> str:
        """Return by what token a piece goes on that was begun; "" where it was not."""
        return str(self._of(piece).get("token", ""))

    def paths(self) -> list[str]:
        """Return the files that were begun or sent, by their paths at the destination."""
        return list(self._files)

    def version(self, path: str) -> Version | None:
        """Return the version in which a file was sent, if it was sent whole."""
        try:
            return version_of(self._files[path]["there"])
        except NOT_UNDERSTOOD:
            return None

    def _of(self, piece: Piece) -> dict[str, Any]:
        note = self._files.get(piece.target, {})
        return note if note.get("seen") == _seen(piece) else {}

    def began(self, piece: Piece, token: str) -> None:
        """Note that a piece can go on by a token, at once where that costs little.  Raises OSError."""
        with self._lock:
            self._files[piece.target] = {"seen": _seen(piece), "token": token}
            if self._bytes * _TIMES <= piece.entry.size:
                self._write()

    def finished(self, piece: Piece, sent: Sent) -> None:
        """Note that a piece is whole there."""
        note = {"there": list(sent.entry.version), "digest": sent.digest}
        self._put(piece, note, piece.entry.size)

    def replaced(self, path: str, entry: Entry) -> None:
        """Note a file of an older copy that is to go, whenever that happens."""
        with self._lock:
            self._files[path] = {"there": list(entry.version)}

    def _put(self, piece: Piece, note: dict[str, Any], size: int) -> None:
        with self._lock:
            self._files[piece.target] = {"seen": _seen(piece), **note}
            self._pending += size
            self._count += 1
            much = self._pending >= max(_BYTES, self._bytes * _TIMES)
            if much or self._count >= max(_FILES, len(self._files) // _SHARE):
                self._write()

    def settle(self) -> None:
        """Write what was noted, now that all of it was sent; where it gets its one name now, do not."""
        if not self._at_once:
            self.flush()

    def flush(self) -> None:
        """Write what was noted.  Raises OSError."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        text = {**self._head, "began_ns": self._began_ns, "files": self._files}
        self._there = True
        self._state.make_folder(self._file.rpartition("/")[0])
        content = json.dumps(text).encode()
        self._state.replace(self._file, content)
        self._bytes = len(content)
        self._pending = self._count = 0

    def forget(self) -> None:
        """Remove the note: nothing is left to go on with."""
        if self._there:
            self._state.remove_file(self._file)


def begun_in(state: Store) -> frozenset[str]:
    """Return the notes of what is on its way to a destination, and the directories beside them."""
    try:
        listed = state.listing(FOLDER, deep=False)
    except FileNotFoundError:
        return frozenset()
    return frozenset(f"{FOLDER}/{name}" for name in (*listed.files, *listed.folders))


def note_name(member: str) -> str:
    """Return the path of the note of a checkpoint within the state."""
    return f"{FOLDER}/{file_name(member)}"


def stage_name(member: str) -> str:
    """Return the path of the directory in which a checkpoint is staged, within the state."""
    return note_name(member).removesuffix(".json")


def _seen(piece: Piece) -> list[object]:
    entry = piece.entry
    return [entry.size, piece.mtime_ns, entry.etag or entry.inode]


Clock = Callable[[], int]
