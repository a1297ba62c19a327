"""Delete one checkpoint so that nobody can see it half done, and finish what a crash interrupted.

A single file or directory leaves its name by one rename into the state directory.  A group loses
its key file first and its sidecars last; the journal lets the next prune finish the rest.  Where
nothing can be written (a full disk) or renamed (the state lies on another file system) it goes in
place, key file first.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from ckptctl.journal import Intent, Journal, identity, intent_of
from ckptctl.model import Checkpoint, Kind
from ckptctl.reading import VanishedError
from ckptctl.stores._base import FULL, Removed, Stop, Store

TRASH = "trash"
GONE = "gone-"
"""Begins the name of a trash entry that nobody may bring back: only its bytes are left."""


@dataclass(frozen=True, slots=True)
class Deleter:
    """Deletes checkpoints of one run.  `state` is None where no state can be written."""

    run: Store
    state: Store | None
    stop: Stop
    number: Callable[[], str]  # makes a new id
    settled: Callable[[], None] = lambda: None  # called when names are gone, before bytes go

    def delete(self, checkpoint: Checkpoint, shared: frozenset[str]) -> Removed:
        """Delete a checkpoint, but for sidecars that another one needs.

        Raises OSError where its name could not be taken from it: it is then untouched.
        """
        found = self.run.identity(checkpoint.member)
        if found is None:
            raise VanishedError(errno.ENOENT, "it is gone already", checkpoint.member)
        intent = intent_of(checkpoint, found[1], shared, self.number())
        if self.state is None:
            return self._in_place(checkpoint, intent)
        journal = Journal(self.state)
        try:
            if checkpoint.kind is not Kind.GROUP:
                self.state.make_folder(f"{TRASH}/{GONE}{intent.id}")
            journal.begin(intent)
        except OSError as error:
            if error.errno in FULL:
                return self._in_place(checkpoint, intent)
            raise
        try:
            removed = self._take(intent)
        except OSError as error:
            if error.errno == errno.EXDEV:
                removed = self._in_place(checkpoint, intent)
            else:
                self._end(journal, intent.id)
                raise
        self.settled()
        removed = removed.plus(self._empty(intent.id))
        if not removed.left:
            self._end(journal, intent.id)
        return removed

    def _end(self, journal: Journal, number: str) -> None:
        try:
            journal.end(number)
        except OSError as error:
            if error.errno not in FULL:
                raise
            # The next prune finds the intent open and nothing left of it, and closes it.

    def _take(self, intent: Intent) -> Removed:
        """Take a checkpoint's name from it, then all that goes with it."""
        if intent.kind is Kind.GROUP:
            removed = self.run.remove_file(intent.member)
            if removed.left:
                raise OSError(errno.EPERM, removed.left[0], intent.member)
            return removed.plus(self._rest(intent))
        assert self.state is not None  # noqa: S101 - in place there is nothing to take
        aside = f"{TRASH}/{GONE}{intent.id}/0"
        self.run.rename_to(intent.member, self.state, aside)
        moved = self.state.identity(aside)
        if moved is None or moved[1] != intent.inode:
            self.state.rename_to(aside, self.run, intent.member)
            raise VanishedError(errno.ESTALE, "another file took its name meanwhile", intent.member)
        return self._rest(intent)

    def _rest(self, intent: Intent) -> Removed:
        """Remove what goes after the name: only files that are still those that were meant."""
        removed = Removed()
        for path, seen in intent.files.items():
            entry = self.run.stat(path)
            if entry is not None and identity(entry) == seen:
                removed = removed.plus(self.run.remove_file(path))
        return removed

    def _empty(self, number: str) -> Removed:
        if self.state is None or self.state.identity(f"{TRASH}/{GONE}{number}") is None:
            return Removed()
        return self.state.remove_tree(f"{TRASH}/{GONE}{number}", self.stop)

    def _in_place(self, checkpoint: Checkpoint, intent: Intent) -> Removed:
        """Delete where it lies: key file first, so that a half is seen to be none; sidecars last."""
        removed = self.run.remove_file(checkpoint.key_file)
        if removed.left:
            raise OSError(errno.EPERM, removed.left[0], checkpoint.key_file)
        if checkpoint.kind is Kind.DIRECTORY:
            removed = removed.plus(self.run.remove_tree(checkpoint.member))
        return removed.plus(self._rest(intent))

    def recover(self) -> list[tuple[Intent, Removed]]:
        """Finish what an interrupted prune began; return what was finished and what that removed."""
        if self.state is None:
            return []
        journal = Journal(self.state)
        finished = []
        for intent in journal.open_intents():
            found = self.run.identity(intent.member)
            if found is not None and found[1] == intent.inode:
                pass  # it still has its name: the deletion had not begun, and may not be wanted now
            elif found is not None and intent.kind is Kind.GROUP:
                pass  # saved anew under the same name: what lies beside may belong to the new one
            else:
                removed = self._rest(intent) if found is None else Removed()
                finished.append((intent, removed.plus(self._empty(intent.id))))
                if finished[-1][1].left:
                    continue
            journal.end(intent.id)
        for name in self._gone():
            removed = self.state.remove_tree(f"{TRASH}/{name}", self.stop)
            if removed.freed:
                nameless = Intent(
                    id=name, name=name, kind=Kind.FILE, member="", inode=0, files={}, bytes=0
                )
                finished.append((nameless, removed))
        return finished

    def tidy(self) -> None:
        """Forget the journal once nothing in it is open."""
        if self.state is not None:
            journal = Journal(self.state)
            if not journal.open_intents():
                journal.clear()

    def pending(self) -> bool:
        """Whether an interrupted prune left something to finish."""
        return self.state is not None and bool(Journal(self.state).open_intents() or self._gone())

    def _gone(self) -> list[str]:
        if self.state is None or self.state.identity(TRASH) is None:
            return []
        return [
            name for name in self.state.listing(TRASH, deep=False).folders if name.startswith(GONE)
        ]
