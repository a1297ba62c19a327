"""What a long verification has read so far: another one goes on where it was interrupted.

One file in the state directory, `verifying.jsonl`: a line that says what is verified, then one a
file with its digests.  Whoever finishes removes it.  What it says counts only for files that have
not changed since, and for a week: a medium rots.

Tasks that divide a verification hand in their shares so: `verifying/K-of-N.jsonl`, each its own file.
Whoever then finds that all was read judges by what all of them noted, and a plain call goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress

from ckptctl.hashing import Hashed, Wanted
from ckptctl.listing import Entry
from ckptctl.manifest import ALGORITHM
from ckptctl.model import NS
from ckptctl.reading import NOT_UNDERSTOOD
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

FILE = "verifying.jsonl"
FOLDER = "verifying"
_Line = Mapping[str, object]
_LIMIT = 2**30
_LIFE_NS = 7 * 24 * 3600 * NS
_FLUSH_BYTES = 16 * 2**20
"""Bytes that may have to be read again after an interruption: less than a second of work."""


class Resumption:
    """Notes what is read, and knows what an interrupted verification of the same kind has read."""

    def __init__(
        self,
        scope: str,
        now_ns: int,
        writable: Callable[[], Store | None],
        share: tuple[int, int] | None = None,
    ) -> None:
        """`scope` says what is verified; `writable` opens the state directory, None where it cannot be.

        `share` says which of how many this one reads, where several divide it.
        """
        self._share = share
        self._file = FILE if share is None else _name(*share)
        self._head = {"schema": "ckptctl/verifying", "version": 1, "scope": scope}
        self._now_ns = now_ns
        self._writable = writable
        self._lines: list[dict[str, object]] = []
        self._pending = 0
        self._store: Store | None = None
        self._goes_on = False  # whether the file is there, and of this verification
        self._left = False  # whether any is

    def known(self, places: Iterable[str], wanted: Iterable[Wanted]) -> dict[str, Hashed]:
        """Return those of the files that were read before and have not changed since."""
        lines: dict[str, _Line] = {}
        for place in places:
            with suppress(OSError), closing(LocalStore(place)) as store:
                own = self._lines_in(store, self._file)
                self._goes_on = self._goes_on or bool(own)
                lines |= {**self._others(store), **own}
        return _unchanged(lines, wanted)

    def _others(self, store: Store) -> dict[str, _Line]:
        """Return what else was read, all of which a plain verification goes on from."""
        if self._share is not None:
            return self._lines_in(store, FILE)
        try:
            names = store.listing(FOLDER, deep=False).files
        except OSError:
            return {}
        lines: dict[str, _Line] = {}
        for name in names:
            lines |= self._lines_in(store, f"{FOLDER}/{name}")
        return lines

    def handed_in(self, wanted: Sequence[Wanted]) -> tuple[dict[str, Hashed], frozenset[str]]:
        """Return what all tasks have read by now, and the files that one could not vouch for.

        Each note is opened by its name: what was written a moment ago may be missing in a cached
        listing.
        """
        store = self._writable()
        lines: dict[str, _Line] = {}
        if store is not None and self._share is not None:
            for number in range(self._share[1]):
                lines |= self._lines_in(store, _name(number, self._share[1]))
        unsure = frozenset(path for path, line in lines.items() if line.get("unsure") is True)
        return _unchanged(lines, wanted), unsure

    def _lines_in(self, store: Store, file: str) -> dict[str, _Line]:
        try:
            head, *rest = store.read(file, _LIMIT).splitlines()
            said = json.loads(head)
            if any(said[key] != value for key, value in self._head.items()):
                return {}
            # Others may have begun after this one did, or have a clock that is ahead.
            if abs(self._now_ns - int(said["began_ns"])) >= _LIFE_NS:
                return {}
        except (OSError, *NOT_UNDERSTOOD):
            return {}
        lines: dict[str, _Line] = {}
        for text in rest:
            with suppress(*NOT_UNDERSTOOD):  # the last one may be cut off
                line = json.loads(text)
                lines[str(line["path"])] = line
        self._left = True
        return lines

    def heard(self, file: Hashed) -> None:
        """Note a file that was read whole, written at once where much was read since.

        One whose checksums do not fit is read again: that may prove damage, and is not noted here.
        Of a share it is noted that whoever judges has to read it.
        """
        if file.entry is None or file.warnings:
            if self._share is not None:
                self._lines.append({"path": file.path, "unsure": True})
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
                self._store.append(self._file, _text(lines), durable=False)
            elif self._store is not None:
                head: dict[str, object] = {**self._head, "began_ns": self._now_ns}
                if self._share is not None:
                    self._store.make_folder(FOLDER)
                self._store.replace(self._file, _text([head, *lines]))
                self._goes_on = True
        self._lines, self._pending = [], 0

    def finished(self) -> None:
        """Forget it all: nothing was interrupted."""
        self._lines = []
        with suppress(OSError):
            if self._store is None and self._left:
                self._store = self._writable()
            if self._store is not None:
                self._store.remove_file(FILE)
                self._store.remove_tree(FOLDER)


def _name(number: int, of: int) -> str:
    return f"{FOLDER}/{number}-of-{of}.jsonl"


def _unchanged(lines: Mapping[str, _Line], wanted: Iterable[Wanted]) -> dict[str, Hashed]:
    """Return what was noted of the very files that are wanted, with all digests that are."""
    found: dict[str, Hashed] = {}
    for path, entry, also, *_ in wanted:
        line = lines.get(path)
        if line is None or line.get("seen") != _seen(entry):
            continue
        digests = line.get("digests")
        if isinstance(digests, dict) and also | {ALGORITHM} <= digests.keys():
            found[path] = Hashed(path, entry, digests)
    return found


def _text(lines: Iterable[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _seen(entry: Entry) -> list[int]:
    # The number of a device is each node's own (NFS): as in a manifest the inode has to do.
    return [entry.size, entry.mtime_ns, entry.inode]
