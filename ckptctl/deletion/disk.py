"""Delete one checkpoint so that nobody can see it half done, and finish what a crash interrupted.

It leaves its names by renames into the state directory: a single file or directory by one, a group
its key file first, sidecars last; the journal lets the next prune finish the rest.  Then its bytes
are removed, or kept for a grace.  Where nothing can be written (a full disk) or renamed (the state
lies on another file system) it is deleted in place, key file first.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ckptctl.deletion._base import Aftermath, Done, Finished, Grace
from ckptctl.deletion.journal import Intent, Journal, parts_of, whole
from ckptctl.deletion.trash import GONE, INFO, TRASH, TrashEntry, discard, entries, folders
from ckptctl.listing import Version
from ckptctl.model import Checkpoint
from ckptctl.reading import VanishedError
from ckptctl.stores._base import FULL, Removed, Stop, Store


@dataclass(frozen=True, slots=True)
class DiskDeleter:
    """Deletes checkpoints of one run.  `state` is None where no state can be written."""

    run: Store
    state: Store | None
    stop: Stop
    number: Callable[[], str]  # makes a new id
    taking: Callable[[], None] = lambda: None  # called just before the first name goes
    settled: Callable[[], None] = lambda: None  # called when names are gone, before bytes go
    at_once: int = 1
    postpones: str = "trash"

    def delete(self, doomed: Sequence[Checkpoint], shared: frozenset[str]) -> Iterator[Done]:
        """Delete checkpoints one by one, but for sidecars that another one needs."""
        return _each(doomed, lambda checkpoint: self._delete(checkpoint, shared))

    def postpone(
        self, doomed: Sequence[Checkpoint], shared: frozenset[str], grace: Grace
    ) -> Iterator[Done]:
        """Take the names of checkpoints from them and keep them for a grace; nothing is freed."""
        return _each(doomed, lambda checkpoint: self._trash(checkpoint, shared, grace))

    def _delete(self, checkpoint: Checkpoint, shared: frozenset[str]) -> Removed:
        """Delete a checkpoint.

        Raises OSError where its name could not be taken from it: it is then untouched.
        """
        intent = self._intent(checkpoint, shared, kept=False)
        if self.state is None:
            return self._in_place(checkpoint, intent)
        journal = Journal(self.state)
        try:
            self.state.make_folder(intent.folder)
            journal.begin(intent)
        except OSError as error:
            if error.errno in FULL:
                return self._in_place(checkpoint, intent)
            raise
        try:
            removed = self._take(self.state, intent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                if self.state.identity(f"{intent.folder}/0") is None:
                    self._end(journal, intent.id)
                raise  # else the next prune puts back what was taken
            removed = self._in_place(checkpoint, intent)
        self.settled()
        if not removed.left:  # else its bytes stay until the next prune has made the rest follow
            removed = removed.plus(self.state.remove_tree(intent.folder, self.stop))
        if not removed.left:
            self._end(journal, intent.id)
        return removed

    def _trash(self, checkpoint: Checkpoint, shared: frozenset[str], grace: Grace) -> Removed:
        """Move a checkpoint into the trash.

        Raises OSError where that cannot be done (no space for the note of it, a state directory
        on another file system): it is then untouched.
        """
        if self.state is None:
            raise OSError(errno.ENOSPC, "no state can be written, so nothing could be brought back")
        intent = self._intent(checkpoint, shared, kept=True)
        entry = TrashEntry(
            id=intent.id,
            batch=grace.batch,
            name=checkpoint.name,
            paths=tuple(intent.parts),
            bytes=checkpoint.bytes,
            trashed_ns=grace.now_ns,
            until_ns=grace.until_ns,
            run_ns=grace.run_ns,
        )
        journal = Journal(self.state)
        try:
            self.state.make_folder(intent.folder)
            self.state.create(f"{intent.folder}/{INFO}", entry.dump())
            journal.begin(intent)
            removed = self._take(self.state, intent)
        except OSError:
            if self.state.identity(f"{intent.folder}/0") is None:
                self.state.remove_tree(intent.folder)
            raise  # else the next prune puts back what was taken
        self.settled()
        self._end(journal, intent.id)
        return removed

    def _intent(self, checkpoint: Checkpoint, shared: frozenset[str], *, kept: bool) -> Intent:
        inodes = {}
        for path in (checkpoint.member, *checkpoint.roots):
            found = self.run.identity(path)
            if found is None:
                raise VanishedError(errno.ENOENT, "it is gone already", path)
            inodes[path] = found[1]
        number = self.number()
        return Intent(
            id=number,
            name=checkpoint.name,
            folder=f"{TRASH}/{number}" if kept else f"{TRASH}/{GONE}{number}",
            kept=kept,
            parts=parts_of(checkpoint, inodes, shared),
            bytes=checkpoint.bytes,
        )

    def _end(self, journal: Journal, number: str) -> None:
        try:
            journal.end(number)
        except OSError:
            pass  # the next prune finds the intent open and nothing left of it, and closes it

    def _take(self, state: Store, intent: Intent) -> Removed:
        """Take a checkpoint's name from it, then all that goes with it."""
        aside = f"{intent.folder}/0"
        self.taking()
        self.run.rename_to(intent.member, state, aside)
        moved = state.identity(aside)
        if moved is None or moved[1] != intent.parts[intent.member][2]:
            state.rename_to(aside, self.run, intent.member)
            raise VanishedError(errno.ESTALE, "another file took its name meanwhile", intent.member)
        return self._follow(state, intent)

    def _follow(self, state: Store, intent: Intent) -> Removed:
        """Move what goes after the name: only what is still what was meant."""
        left: list[str] = []
        for number, (path, seen) in enumerate(intent.parts.items()):
            if number == 0:
                continue
            try:
                if self._is_still(path, seen):
                    self.run.rename_to(path, state, f"{intent.folder}/{number}")
            except OSError as error:
                left.append(f"{path}: {error.strerror or error}")
        return Removed(0, tuple(left))

    def _is_still(self, path: str, seen: Version) -> bool:
        """Whether a file, or one of several directories, is what was meant.  Raises OSError."""
        if seen == whole(seen[2]):
            found = self.run.identity(path)
            return found is not None and found[1] == seen[2]
        entry = self.run.stat(path)
        return entry is not None and entry.version == seen

    def _in_place(self, checkpoint: Checkpoint, intent: Intent) -> Removed:
        """Delete where it lies: key file first, so that a half is seen to be none; sidecars last."""
        now = self.run.identity(intent.member)
        if now is None or now[1] != intent.parts[intent.member][2]:
            raise VanishedError(errno.ESTALE, "another file took its name meanwhile", intent.member)
        removed = self.run.remove_file(checkpoint.key_file)
        if removed.left:
            raise OSError(errno.EPERM, removed.left[0], checkpoint.key_file)
        for path, seen in intent.parts.items():
            try:
                if not self._is_still(path, seen):
                    continue
            except OSError as error:  # half gone by now: that is no error of something untouched
                removed = removed.plus(Removed(0, (f"{path}: {error.strerror or error}",)))
                continue
            remove = self.run.remove_tree if path in checkpoint.roots else self.run.remove_file
            removed = removed.plus(remove(path))
        return removed

    def recover(self) -> Iterator[Finished]:
        """Finish what an interrupted prune began."""
        if self.state is None:
            return
        journal = Journal(self.state)
        seen: set[str] = set()
        for intent in journal.open_intents():
            removed = self._finish(self.state, intent) if _ours(intent) else None
            if removed is not None:
                yield Finished(intent.name, intent.member, removed)
                seen.add(intent.folder)
            if removed is None or not removed.left:
                journal.end(intent.id)
        for name in folders(self.state):
            folder = f"{TRASH}/{name}"
            if not name.startswith(GONE) or folder in seen:
                continue
            removed = self.state.remove_tree(folder, self.stop)
            if removed.freed or removed.left:
                yield Finished(name, "", removed)

    def _finish(self, state: Store, intent: Intent) -> Removed | None:
        """Finish one deletion that was begun; None where it had not begun, or was another's name."""
        found = self.run.identity(intent.member)
        wanted = intent.parts[intent.member][2]
        moved = state.identity(f"{intent.folder}/0")
        if moved is not None and moved[1] != wanted:
            return self._put_back(state, intent, free=found is None)
        if found is not None and found[1] == wanted:
            # It still has its name: the deletion had not begun, and may not be wanted now.
            state.remove_tree(intent.folder)
            return None
        # Where another has its name by now, what lies beside may belong to that one.
        removed = Removed()
        if found is None and self._began(state, intent):
            removed = self._follow(state, intent)
        if not intent.kept and not removed.left:
            removed = removed.plus(state.remove_tree(intent.folder, self.stop))
        return removed

    def _put_back(self, state: Store, intent: Intent, *, free: bool) -> Removed | None:
        """Give its name back to what was taken by mistake: saved anew just before the rename."""
        aside = f"{intent.folder}/0"
        if not free:
            text = f"holds what was saved as {intent.member} for a moment; its name is taken, so look at it yourself"
            return Removed(0, (f"{state.root}/{aside} {text}",))
        state.rename_to(aside, self.run, intent.member)
        state.remove_tree(intent.folder)
        return None

    def _began(self, state: Store, intent: Intent) -> bool:
        """Whether its first part really lies in the trash: only then the others are to follow.

        They all have followed before the first of its bytes goes; so a journal that names files
        which no deletion of ours took makes nothing go.
        """
        moved = state.identity(f"{intent.folder}/0")
        return moved is not None and moved[1] == intent.parts[intent.member][2]

    def expired(self, now_ns: int) -> Iterator[tuple[TrashEntry, Removed]]:
        """Free what is past its grace; yield what went and what that removed."""
        if self.state is None:
            return
        for entry in entries(self.state):
            if entry.until_ns <= now_ns and not self.stop():
                yield entry, discard(self.state, entry, self.stop)

    def tidy(self) -> Aftermath:
        """Forget the journal once nothing in it is open."""
        if self.state is not None:
            journal = Journal(self.state)
            if not journal.open_intents():
                journal.clear()
        return Aftermath()

    def pending(self, now_ns: int) -> bool:
        """Whether an interrupted prune left something to finish, or a grace is over."""
        return self.state is not None and bool(
            Journal(self.state).open_intents()
            or any(name.startswith(GONE) for name in folders(self.state))
            or any(entry.until_ns <= now_ns for entry in entries(self.state))
        )


def _each(doomed: Sequence[Checkpoint], how: Callable[[Checkpoint], Removed]) -> Iterator[Done]:
    for checkpoint in doomed:
        try:
            yield Done(checkpoint, how(checkpoint))
        except OSError as error:
            where = error.filename or checkpoint.member
            yield Done(checkpoint, failed=f"{where}: {error.strerror or error}; it is untouched")


def _ours(intent: Intent) -> bool:
    """Whether an entry of the journal names a place in the trash that a deletion would have made."""
    known = re.fullmatch(r"[0-9a-f]+-[0-9]+-[0-9]+", intent.id) is not None
    return (
        known
        and bool(intent.parts)
        and intent.folder == f"{TRASH}/{'' if intent.kept else GONE}{intent.id}"
    )
