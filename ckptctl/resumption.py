"""What a long verification has read so far: another one goes on where it was interrupted.

One file in the state directory, `verifying.jsonl`: a line that says what is verified, then one a
file with its digests.  Whoever finishes removes it.  What it says counts only for files that have
not changed since, and for a week: a medium rots.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from ckptctl.hashing import Hashed, Wanted
from ckptctl.listing import Entry
from ckptctl.manifest import ALGORITHM
from ckptctl.model import NS
from ckptctl.reading import NOT_UNDERSTOOD
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

FILE = "verifying.jsonl"
_LIMIT = 2**30
_LIFE_NS = 7 * 24 * 3600 * NS
_FLUSH_BYTES = 16 * 2**20
"""Bytes that may have to be read again after an interruption: less than a second of work."""


class Resumption:
    """Notes what is read, and knows what an interrupted verification of the same kind has read."""

    def __init__(self, scope: str, now_ns: int, writable: Callable[[], Store | None]) -> None:
        """`scope` says what is verified; `writable` opens the state directory, None where it cannot be."""
        self._head = {"schema": "ckptctl/verifying", "version": 1, "scope": scope}
        self._now_ns = now_ns
        self._writable = writable
        self._lines: list[dict[str, object]] = []
        self._pending = 0
        self._store: Store | None = None
        self._goes_on = False  # whether the file is there, and of this verification

    def known(self, places: Iterable[str], wanted: Iterable[Wanted]) -> dict[str, Hashed]:
        """Return those of the files that were read before and have not changed since."""
        lines = next(filter(None, map(self._lines_in, places)), {})
        self._goes_on = bool(lines)
        found: dict[str, Hashed] = {}
        for path, entry, also, *_ in wanted:
            line = lines.get(path)
            if line is None or line.get("seen") != _seen(entry):
                continue
            digests = line.get("digests")
            if isinstance(digests, dict) and also | {ALGORITHM} <= digests.keys():
                found[path] = Hashed(path, entry, digests)
        return found

    def _lines_in(self, place: str) -> Mapping[str, Mapping[str, object]]:
        try:
            store = LocalStore(place)
            try:
                head, *rest = store.read(FILE, _LIMIT).splitlines()
            finally:
                store.close()
            said = json.loads(head)
            if any(said[key] != value for key, value in self._head.items()):
                return {}
            if not 0 <= self._now_ns - int(said["began_ns"]) < _LIFE_NS:
                return {}
        except (OSError, *NOT_UNDERSTOOD):
            return {}
        lines: dict[str, Mapping[str, object]] = {}
        for text in rest:
            with suppress(*NOT_UNDERSTOOD):  # the last one may be cut off
                line = json.loads(text)
                lines[str(line["path"])] = line
        return lines

    def heard(self, file: Hashed) -> None:
        """Note a file that was read whole, written at once where much was read since.

        One whose checksums do not fit is read again: that may prove damage, and is not noted here.
        """
        if file.entry is None or file.warnings:
            return
        self._lines.append(
            {"path": file.path, "seen": _seen(file.entry), "digests": dict(file.digests)}
        )
        self._pending += file.bytes_read
        if self._pending >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was noted; a state that cannot be written only costs reading again."""
        if not self._lines:
            return
        lines = self._lines
        with suppress(OSError):
            self._store = self._store or self._writable()
            if self._store is not None and self._goes_on:
                self._store.append(FILE, _text(lines), durable=False)
            elif self._store is not None:
                head: dict[str, object] = {**self._head, "began_ns": self._now_ns}
                self._store.replace(FILE, _text([head, *lines]))
                self._goes_on = True
        self._lines, self._pending = [], 0

    def finished(self) -> None:
        """Forget it all: nothing was interrupted."""
        self._lines = []
        with suppress(OSError):
            if self._store is None and self._goes_on:
                self._store = self._writable()
            if self._store is not None:
                self._store.remove_file(FILE)


def _text(lines: Iterable[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _seen(entry: Entry) -> list[int]:
    return [entry.size, entry.mtime_ns, entry.device, entry.inode]
