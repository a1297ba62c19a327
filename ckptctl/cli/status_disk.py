"""What a run's trash holds, and how full its file system is."""

from __future__ import annotations

import os
from contextlib import closing, suppress

from ckptctl.deletion.trash import GONE, INFO, TRASH, entries
from ckptctl.health import Disk, Trash
from ckptctl.listing import Folder
from ckptctl.model import Problem, Run
from ckptctl.statedir import find_state
from ckptctl.stores import is_local
from ckptctl.stores.local import LocalStore
from ckptctl.ui import words


def trash_of(run: Run, option: str | None) -> tuple[Trash, list[Problem]]:
    """Return what can be brought back of a run or waits to be removed, and what cannot be seen."""
    total = Trash()
    if not is_local(run.location):
        doomed = [c for c in (*run.checkpoints, *run.leftovers) if c.doomed_ns is not None]
        first_ns = min((c.doomed_ns for c in doomed if c.doomed_ns is not None), default=None)
        # Nothing has moved yet.
        return Trash(len(doomed), words.total_bytes(doomed), purge_ns=first_ns), []
    unseen = []
    try:
        dirs = find_state(run.location, option=option, uid=os.geteuid(), forbids=run.forbids_state)
        for place in dirs.existing:
            with closing(LocalStore(place)) as store, suppress(FileNotFoundError):
                waiting = (entry.until_ns for entry in entries(store))
                total = total.plus(Trash(purge_ns=min(waiting, default=None)))
                total = total.plus(_in_trash(store.listing(TRASH)))
    except OSError as error:
        text = f"the trash cannot be seen: {error.filename or run.location}: {error.strerror}"
        unseen.append(Problem("trash-unseen", text))
    return total, unseen


def _in_trash(trash: Folder) -> Trash:
    gone = [folder for name, folder in trash.folders.items() if name.startswith(GONE)]
    kept = [folder for name, folder in trash.folders.items() if not name.startswith(GONE)]
    return Trash(len(kept), sum(map(_bytes, kept)), sum(map(_bytes, gone)))


def _bytes(folder: Folder) -> int:
    """Return the bytes below an entry but for our own note in it, each inode once."""
    found = {(e.device, e.inode or path): e.size for path, e in folder.walk() if path != INFO}
    return sum(found.values())


def disk_of(path: str) -> Disk | None:
    """Return how full a file system is; None where it does not say."""
    if not is_local(path):
        return None
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return Disk(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
