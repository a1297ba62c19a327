"""Delete checkpoints in a bucket, where nothing can be renamed, so that none can be seen half done.

Of a group of them all key files go first, in one request; then what is left of those whose key
file went, their sidecars last.  A journal object names every part and its version before anything
goes: the next prune finishes what a crash left, and removes nothing that was saved anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ckptctl import begun as journal
from ckptctl.begun import Removal, removal_of
from ckptctl.deletion._base import Aftermath, Done, Finished, Grace
from ckptctl.deletion.trash import TrashEntry
from ckptctl.errors import CkptctlError
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint
from ckptctl.noting import own_files, scheduled
from ckptctl.pace import in_order
from ckptctl.recording import Recorder, read_record
from ckptctl.records import FOLDER as RECORDS
from ckptctl.records import Doom, RecordError, file_name
from ckptctl.stores._base import Removed, Stop
from ckptctl.stores._keys import BATCH
from ckptctl.stores._objects import ObjectStore

_UNKNOWN = "nobody can tell whether its key file is gone"


@dataclass(slots=True)
class BucketDeleter:
    """Deletes checkpoints of one run in a bucket."""

    run: ObjectStore
    recorder: Recorder  # in the run's state
    stop: Stop
    number: Callable[[], str]  # makes a new id
    at_once: int = BATCH  # key files that one request deletes
    postpones: str = "schedule"
    _roots: list[str] = field(default_factory=list)  # of what was deleted
    _gone: dict[str, Entry] = field(default_factory=dict)
    _carried_out: list[str] = field(default_factory=list)  # what was scheduled, and is gone

    def delete(self, doomed: Sequence[Checkpoint], shared: frozenset[str]) -> Iterator[Done]:
        """Delete checkpoints; one whose key file could not be deleted is untouched.

        Whoever holds or pins one looks into the journal after that; so the records are looked at
        once more when the journal is written, and one of both sees the other.
        """
        of = {checkpoint.member: removal_of(checkpoint, shared) for checkpoint in doomed}
        number = self.number()
        try:
            journal.begin(self.recorder.state, number, list(of.values()))
            if kept := self._kept_since(doomed):
                yield from (Done(c, kept=kept[c.member]) for c in doomed if c.member in kept)
                doomed = [c for c in doomed if c.member not in kept]
                journal.begin(self.recorder.state, number, [of[c.member] for c in doomed])
        except OSError as error:
            text = f"it cannot be noted in the journal ({error.strerror or error}); it is untouched"
            yield from (Done(checkpoint, failed=text) for checkpoint in doomed)
            return
        keys = {of[c.member].key: c.files[of[c.member].key] for c in doomed}
        stays, unsure = self._take(keys)
        gone = [checkpoint for checkpoint in doomed if of[checkpoint.member].key not in stays]
        files = {c.member: self._rest(c, of[c.member]) for c in gone}
        left = self._follow(list(files.values()))
        if not left and not unsure:
            with suppress(OSError):  # the next prune finds nothing left of it, and forgets it
                journal.end(self.recorder.state, number)
        for checkpoint in doomed:
            if (why := stays.get(of[checkpoint.member].key)) is not None:
                yield Done(checkpoint, failed=why)
                continue
            self._roots += checkpoint.roots
            self._carried_out += [checkpoint.member] if checkpoint.doomed_ns is not None else []
            payload, sidecars = files[checkpoint.member]
            mine = {**payload, **sidecars}
            texts = tuple(f"{path}: {left[path]}" for path in mine if path in left)
            freed = sum(entry.size for path, entry in mine.items() if path not in left)
            freed += keys[of[checkpoint.member].key].size
            self._gone[of[checkpoint.member].key] = keys[of[checkpoint.member].key]
            self._gone.update((path, entry) for path, entry in mine.items() if path not in left)
            yield Done(checkpoint, Removed(freed, texts))

    def _kept_since(self, doomed: Sequence[Checkpoint]) -> dict[str, str]:
        """Return what records keep now, and why: nothing did when it was asked.  Raises OSError."""
        state = self.recorder.state
        try:
            there = state.listing(RECORDS, deep=False).files
        except FileNotFoundError:
            return {}
        noted = [c for c in doomed if file_name(c.member) in there]
        reasons = in_order(self._keeps, noted)
        return {c.member: why for c, why in zip(noted, reasons, strict=True) if why}

    def _keeps(self, checkpoint: Checkpoint) -> str:
        """Return why a checkpoint's record keeps it, "" where it does not."""
        try:
            record = read_record(self.recorder.state, checkpoint.member)
        except RecordError as error:
            return f"its record {error}"
        if record.pinned or record.aliases:
            return "kept by pinned now: it was pinned this moment"
        if set(record.tags) - set(checkpoint.tags):
            return "it was tagged this moment"
        if checkpoint.doomed_ns is not None and record.doom is None:
            return "its deletion was cancelled this moment"
        now_ns = self.recorder.clock()
        by = next((hold.by for hold in record.holds if hold.until_ns > now_ns), None)
        return f"kept by held now: by {by}, since this moment" if by else ""

    def _take(self, keys: Mapping[str, Entry]) -> tuple[dict[str, str], bool]:
        """Delete key files; return why some stay, and whether that is unsure of any.

        The answer to a deletion that was done may have been lost on its way: so look.
        """
        stays: dict[str, str] = {}
        unsure = False
        for path, why in self.run.remove_each(keys).items():
            try:
                if not unsure and self.run.stat(path) is None:
                    continue
            except OSError:
                unsure = True
            so = f"{_UNKNOWN}: the next prune sees to it" if unsure else "it is untouched"
            stays[path] = f"{path}: {why}; {so}"
        return stays, unsure

    def _rest(
        self, checkpoint: Checkpoint, removal: Removal
    ) -> tuple[dict[str, Entry], dict[str, Entry]]:
        """Return what goes after the key file: the payload, and the sidecars."""
        files = checkpoint.files
        payload = {path: files[path] for path in removal.payload if path != removal.key}
        return payload, {path: files[path] for path in removal.sidecars}

    def _follow(
        self, parts: Sequence[tuple[Mapping[str, Entry], Mapping[str, Entry]]]
    ) -> dict[str, str]:
        """Delete what goes after the key files; return what is left, and why.

        The sidecars of one of which something is left stay with it.
        """
        left = self.run.remove_each(
            {path: entry for payload, _ in parts for path, entry in payload.items()}, self.stop
        )
        last: dict[str, Entry] = {}
        for payload, sidecars in parts:
            if left.keys().isdisjoint(payload):
                last.update(sidecars)
            else:
                left |= dict.fromkeys(sidecars, "left for later")
        return {**left, **self.run.remove_each(last, self.stop)}

    def postpone(
        self,
        doomed: Sequence[Checkpoint],
        shared: frozenset[str],
        grace: Grace,
    ) -> Iterator[Done]:
        """Schedule deletions by records; nothing moves."""
        dooms = {
            c.member: Doom(
                grace.until_ns, grace.now_ns, grace.batch, c.name, c.bytes, len(own_files(c))
            )
            for c in doomed
        }
        by_path = {checkpoint.member: checkpoint for checkpoint in doomed}
        try:
            self.recorder.change_all(
                tuple(by_path), lambda old: scheduled(old, by_path[old.path], dooms[old.path])
            )
        except CkptctlError as error:
            now = self._scheduled(dooms)
            for checkpoint in doomed:
                done = checkpoint.member in now
                yield Done(checkpoint, failed=None if done else f"not scheduled: {error.message}")
            return
        yield from map(Done, doomed)

    def _scheduled(self, dooms: Mapping[str, Doom]) -> set[str]:
        """Return which of these were noted before the recording broke off."""
        found = set()
        for path, doom in dooms.items():
            try:
                record = read_record(self.recorder.state, path)
            except (RecordError, OSError):
                break
            if record.doom == doom:
                found.add(path)
        return found

    def recover(self) -> Iterator[Finished]:
        """Finish what was begun: what has lost its key file, as far as it is still what it was."""
        state = self.recorder.state
        waiting = journal.numbers(state)
        if not waiting:
            return
        try:
            folder = self.run.listing()
        except FileNotFoundError:
            folder = Folder("")
        for number in waiting:
            try:
                begun = [r for r in journal.removals(state, number) if folder.find(r.key) is None]
            except ValueError:
                continue  # another version's: it is left for that one
            rest = [removal.left_in(folder) for removal in begun]
            left = self._follow(rest)
            for removal, (payload, sidecars) in zip(begun, rest, strict=True):
                mine = {**payload, **sidecars}
                if mine:
                    texts = tuple(f"{path}: {left[path]}" for path in mine if path in left)
                    freed = sum(entry.size for path, entry in mine.items() if path not in left)
                    yield Finished(removal.name, removal.member, Removed(freed, texts))
            if not left:
                with suppress(OSError):  # it says nothing that is still to be done
                    journal.end(state, number)

    def expired(self, now_ns: int) -> Iterator[tuple[TrashEntry, Removed]]:
        """Yield nothing: what is past its grace is part of the plan, and asked about again."""
        return iter(())

    def tidy(self) -> Aftermath:
        """Remove the markers of directories of which nothing else is left; ask what is kept."""
        if self._roots:
            with suppress(OSError):  # they do no harm
                self.run.remove_markers(self._roots)
        if self._carried_out:
            with suppress(OSError, CkptctlError, RecordError):  # nor do they
                self.recorder.forget(self._carried_out)
        if not self._gone:
            return Aftermath()
        kept = self.run.keeping(self._gone)
        size = sum(entry.size for entry in self._gone.values())
        return Aftermath(size - kept.freed(size), kept.after(len(self._gone), size))

    def pending(self, now_ns: int) -> bool:
        """Whether a group was begun and not settled."""
        return bool(journal.numbers(self.recorder.state))
