"""Bring back what a prune with `--grace` took, or free its bytes; under the lock of its run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing

from ckptctl.apply import Applier
from ckptctl.deletion.schedule import still
from ckptctl.deletion.trash import TrashEntry, discard, entries, restore
from ckptctl.errors import CkptctlError, NotFoundError, RefusedError
from ckptctl.noting import unscheduled
from ckptctl.records import Record
from ckptctl.report import Outcome
from ckptctl.statedir import StateDirs
from ckptctl.stores._base import STATE_NAME, Store
from ckptctl.stores.local import LocalStore

_AT_ONCE = 200
"""Scheduled deletions that are cancelled in one turn."""


def in_trash(dirs: StateDirs) -> list[TrashEntry]:
    """Return what can be brought back of a run on a disk, oldest first; reads only.  Raises OSError."""
    for place in dirs.existing[:1]:
        with closing(dirs.open(place)) as state:
            return entries(state)
    return []


def chosen(held: Sequence[TrashEntry], names: Sequence[str], *, last: bool) -> list[TrashEntry]:
    """Return the entries that are meant, the newest first: of one name only its newest.

    NotFoundError where a name is not in the trash.
    """
    newest_first = list(reversed(held))
    if last and newest_first:
        newest_first = [entry for entry in newest_first if entry.batch == newest_first[0].batch]
    if not names:
        return newest_first
    by_name: dict[str, TrashEntry] = {}
    for entry in newest_first:
        for called in (entry.name, entry.paths[0]):
            by_name.setdefault(called, entry)
    for name in names:
        if name not in by_name:
            there = ", ".join(sorted({entry.name for entry in held})) or "nothing"
            raise NotFoundError(
                f"{name}: not in the trash, which holds {there}; nothing was changed"
            )
    return list(dict.fromkeys(by_name[name] for name in names))


def bring_back(run: Store, applier: Applier, meant: Sequence[TrashEntry]) -> Iterator[Outcome]:
    """Put entries back under their names, or cancel what was scheduled; yield what happened to each."""
    state = applier.state()
    if not isinstance(run, LocalStore):
        yield from _cancelled(run, applier, meant)
        return
    back: list[TrashEntry] = []
    for entry in meant:
        path = os.path.join(run.root, entry.paths[0])
        try:
            applier.check()
            restore(run, state, entry)
        except RefusedError as error:
            yield Outcome(
                entry.name, path, "restore", "skipped", 0, f"{error.message}; {error.hint}"
            )
        except OSError as error:
            yield Outcome(entry.name, path, "restore", "failed", 0, error.strerror or str(error))
        else:
            back.append(entry)
            yield Outcome(entry.name, path, "restore", "done", entry.bytes)
    _give_back_the_time(run, state, back)


def _cancelled(run: Store, applier: Applier, meant: Sequence[TrashEntry]) -> Iterator[Outcome]:
    """Cancel scheduled deletions of what is still there; yield what happened to each."""
    recorder = applier.recorder()
    now = run.listing()
    gone: set[str] = set()

    def cancel(old: Record) -> Record:
        if old.doom is None or not still(old, now):
            gone.add(old.path)
        return unscheduled(old)

    for first in range(0, len(meant), _AT_ONCE):
        some = meant[first : first + _AT_ONCE]
        failed = None
        try:
            applier.check()
            recorder.change_all([entry.paths[0] for entry in some], cancel)
        except CkptctlError as error:
            failed = error.message
        except OSError as error:
            failed = error.strerror or str(error)
        yield from (_cancellation(entry, run.root, failed, gone) for entry in some)


def _cancellation(entry: TrashEntry, root: str, failed: str | None, gone: set[str]) -> Outcome:
    path = os.path.join(root, entry.paths[0])
    if failed is not None:
        return Outcome(entry.name, path, "restore", "failed", 0, failed)
    if entry.paths[0] in gone:
        text = "it is gone, was saved anew, or is scheduled no more"
        return Outcome(entry.name, path, "restore", "skipped", 0, text)
    return Outcome(entry.name, path, "restore", "done", entry.bytes)


def _give_back_the_time(run: LocalStore, state: Store, back: Sequence[TrashEntry]) -> None:
    """Give the run's directory the time it had before the prune, if all that came since is ours.

    So a prune and its undo leave a tree that a copying tool finds equal.
    """
    first = min(back, key=lambda entry: entry.trashed_ns, default=None)
    if first is None or not first.run_ns:
        return
    if any(entry.trashed_ns >= first.trashed_ns for entry in entries(state)):
        return  # some of it is still away
    ours = {path for entry in back for path in entry.paths} | {STATE_NAME}
    with os.scandir(run.fd) as names:
        others = [name for name in names if name.name not in ours]
        if any(n.stat(follow_symlinks=False).st_ctime_ns > first.trashed_ns for n in others):
            return
    os.utime(run.fd, ns=(os.fstat(run.fd).st_atime_ns, first.run_ns))


def empty(run: Store, applier: Applier, meant: Sequence[TrashEntry]) -> Iterator[Outcome]:
    """Free the bytes of entries in the trash; yield what happened to each, `bytes` being what was freed."""
    state = applier.state()
    for entry in meant:
        path = os.path.join(run.root, entry.paths[0])
        if applier.stopped():
            yield Outcome(entry.name, path, "purge", "skipped", 0, "interrupted by a signal")
            continue
        try:
            applier.check()
            removed = discard(state, entry, applier.stopped)
        except OSError as error:
            yield Outcome(entry.name, path, "purge", "failed", 0, error.strerror or str(error))
            continue
        left = removed.left[0] if removed.left and not applier.stopped() else None
        yield Outcome(entry.name, path, "purge", "failed" if left else "done", removed.freed, left)
