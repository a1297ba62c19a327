"""Change a checkpoint's record: whole or not at all, and no entry of another writer is lost.

Writers take turns by a lock of their own, so that a hold is possible while a prune runs; the prune
sees the change of `records/` before its next deletion.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from ckptctl.errors import LockedError, UnreadableError
from ckptctl.listing import Entry
from ckptctl.lock import Clock, Lock
from ckptctl.manifest import FOLDER as MANIFESTS
from ckptctl.manifest import Manifest
from ckptctl.manifest import dump as dump_manifest
from ckptctl.model import NS
from ckptctl.pace import in_order
from ckptctl.reading import SIDECAR_LIMIT, VanishedError
from ckptctl.records import FOLDER, Record, RecordError, dump, file_name, parse, read_all
from ckptctl.statedir import StateDirs, open_state
from ckptctl.stores import told
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

LOCK = "records.lock"
_LIFE_NS = 60 * NS  # a writer holds the lock for as long as a few small writes take
_PATIENCE_NS = 20 * NS
_SHORTEST, _LONGEST = 0.02, 0.5  # seconds between two attempts

Change = Callable[[Record], Record]


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes the records of one run, in its open state directory."""

    state: Store
    clock: Clock
    seconds: Callable[[], float]
    sleep: Callable[[float], None]
    wait_ns: int = _PATIENCE_NS
    needs_lock: bool = True

    @classmethod
    def open(
        cls,
        run: str,
        dirs: StateDirs,
        clock: Clock,
        seconds: Callable[[], float],
        sleep: Callable[[float], None],
        wait_ns: int | None = None,
        *,
        needs_lock: bool = True,
    ) -> Self:
        """Open the state of a run, made if need be.  Raises UnreadableError, UsageError.

        `wait_ns` is how long other writers are waited for; None: as long as a few of them take.
        """
        try:
            state = open_state(run, dirs)
        except OSError as error:
            raise _unwritable(run, error.strerror or str(error)) from error
        if state is None:
            raise _unwritable(run, "no space, inodes or quota left")
        wait_ns = _PATIENCE_NS if wait_ns is None else wait_ns
        return cls(state, clock, seconds, sleep, wait_ns, needs_lock)

    def change(self, path: str, change: Change) -> Record:
        """Read a checkpoint's record, change it, write it; return it as it is now.

        `path` is the checkpoint's within its run.  Raises LockedError where other writers take
        too long, UnreadableError where the record cannot be understood or written; the record
        there is then the old one or, where only its confirmation failed, the new one.
        """
        return self.change_all((path,), change)[path]

    def change_all(self, paths: Sequence[str], change: Change) -> dict[str, Record]:
        """Change several records in one turn, side by side where writing waits; see `change`."""
        with self._turn() as lock:
            changed = in_order(lambda path: self._change(path, change, lock), paths)
        return dict(zip(paths, changed, strict=True))

    def change_among(self, path: str, change: Change, others: Change) -> dict[str, Record]:
        """Change a checkpoint's record, then by `others` every other record of the run, in one turn.

        Return those that are not as they were, and that of the checkpoint; see `change`.
        """
        with self._turn() as lock:
            every = read_all(self.state)
            changed = {path: self._change(path, change, lock)}
            for record in every:
                if record.path != path and others(record) != record:
                    changed[record.path] = self._change(record.path, others, lock)
        return changed

    @contextmanager
    def _turn(self) -> Iterator[Lock]:
        """Have the lock, and say in words what goes wrong meanwhile."""
        try:
            with self._locked() as lock:
                yield lock
        except RecordError as error:
            raise UnreadableError(
                f"{self.state.root}: {error}; nothing was changed",
                "a newer ckptctl may have written it; else restore it, or move it away",
            ) from error
        except OSError as error:
            raise _unwritable(self.state.root, error.strerror or str(error)) from error

    def _change(self, path: str, change: Change, lock: Lock) -> Record:
        old = read_record(self.state, path)
        new = change(old)
        if new != old:
            lock.check()
            self._write(new)
        return new

    def forget(self, paths: Sequence[str]) -> None:
        """Remove the records of checkpoints that went as scheduled, where nothing else keeps there.

        Raises what `change` does, and OSError where some could not be removed.
        """
        with self._locked() as lock:
            records = in_order(lambda path: read_record(self.state, path), paths)
            void = (record for record in records if record.doom is not None and not record.keeps)
            names = [f"{FOLDER}/{file_name(record.path)}" for record in void]
            lock.check()
            self.state.remove_files(dict.fromkeys(names, Entry(0, 0)))

    def keep(self, manifest: Manifest) -> None:
        """Write a checkpoint's manifest, whole, over an older one.  Raises UnreadableError."""
        try:
            self.state.make_folder(MANIFESTS)
            self.state.replace(f"{MANIFESTS}/{file_name(manifest.path)}", dump_manifest(manifest))
        except OSError as error:
            raise _unwritable(self.state.root, error.strerror or str(error)) from error

    @contextmanager
    def _locked(self) -> Iterator[Lock]:
        until = self.seconds() + self.wait_ns / NS
        lock = Lock(self.state, self.clock, file=LOCK, life_ns=_LIFE_NS, needed=self.needs_lock)
        pause = _SHORTEST
        while True:
            try:
                lock.acquire()
                break
            except LockedError:
                if self.seconds() >= until:
                    raise
                self.sleep(pause)
                pause = min(pause * 1.5, _LONGEST)  # a bucket's server is not asked all the time
        try:
            yield lock
        finally:
            lock.release()

    def _write(self, record: Record) -> None:
        self.state.make_folder(FOLDER)
        folder = self.state.below(FOLDER)
        if not isinstance(folder, LocalStore):
            folder.replace(file_name(record.path), dump(record))
            return
        try:
            before_ns = os.fstat(folder.fd).st_mtime_ns
            folder.replace(file_name(record.path), dump(record))
            # A prune that runs sees by the folder's time that something changed; two changes
            # within one tick of the kernel's clock would have the same.
            if os.fstat(folder.fd).st_mtime_ns <= before_ns:
                os.utime(folder.fd, ns=(before_ns + 1, before_ns + 1))
        finally:
            folder.close()


def read_record(state: Store, path: str) -> Record:
    """Return a checkpoint's record in one state directory, an empty one where there is none.

    Raises OSError, or RecordError where it cannot be understood.
    """
    name = f"{FOLDER}/{file_name(path)}"
    try:
        return parse(state.read(name, SIDECAR_LIMIT))
    except VanishedError:
        return Record(path=path)
    except RecordError as error:
        raise RecordError(f"{name} {error}") from error


def _unwritable(place: str, why: str) -> UnreadableError:
    said, check = told(place, why, "make room, or name another directory with --state-dir")
    return UnreadableError(
        f"{place}: ckptctl's record cannot be written ({said}); nothing else was changed", check
    )
