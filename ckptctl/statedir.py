"""Where ckptctl keeps its own records of a run: never in a checkpoint, never where a trainer trips.

In order: `--state-dir`; an existing `.ckptctl/` beside the run or in it; else beside the run if
that is writable and on the same file system; else in the run, unless a format found there forbids
it.  Finding reads only; `open_state` makes what is missing.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from ckptctl.errors import UnreadableError, UsageError
from ckptctl.reading import NOT_UNDERSTOOD, TRACKER_LIMIT
from ckptctl.stores._base import FULL, STATE_NAME, Store
from ckptctl.stores.local import LocalStore
from ckptctl.trust import private_group, trusted

NOTE = "run.json"


@dataclass(frozen=True, slots=True)
class StateDirs:
    """Directories of state for one run: those that exist, and where one may be made."""

    existing: tuple[str, ...] = ()  # all are read; the lock is in the first
    fresh: tuple[str, ...] = ()  # tried in order, where none exists
    passed_over: tuple[tuple[str, str], ...] = ()  # found, but not to be obeyed, and why
    wanted: bool = False  # the user named the place
    forbidden: str | None = None  # the format that keeps it out of the run's own directory
    open: Callable[[str], Store] = LocalStore
    remote: bool = False  # in a bucket
    folders: frozenset[str] = frozenset()  # what those in a bucket hold

    def holding(self, folder: str) -> tuple[str, ...]:
        """Return those that exist and, as far as that was seen, have such a folder."""
        return self.existing if not self.remote or folder in self.folders else ()


def find_state(run: str, *, option: str | None, uid: int, forbids: str | None) -> StateDirs:
    """Return where the state of a run lies or could lie; changes nothing.

    `run` is the full path of its directory, `option` the value of `--state-dir`.
    """
    run = os.path.realpath(run)
    parent, name = os.path.split(run)
    owner = os.stat(run).st_uid
    beside, inside = os.path.join(parent, STATE_NAME), os.path.join(run, STATE_NAME)
    wanted = _wanted(os.path.abspath(option), name, run) if option else None
    existing = [wanted] if wanted and os.path.isdir(wanted) else []
    passed_over = []
    for path in (*_of_run(beside, name, run), inside):
        if not os.path.isdir(path):
            continue
        if reason := _distrusted(path, run, uid, owner):
            passed_over.append((path, reason))
        else:
            existing.append(path)
    fresh = [wanted] if wanted and wanted not in existing else []
    if not wanted and not existing:
        if parent != run and _usable(beside, run, uid, owner):
            fresh.append(os.path.join(beside, name))
        if not forbids:
            fresh.append(inside)
    return StateDirs(tuple(existing), tuple(fresh), tuple(passed_over), wanted is not None, forbids)


def _distrusted(path: str, run: str, uid: int, owner: int) -> str | None:
    """Return why a state directory beside a run, or in it, may not be obeyed; None if it may."""
    if any(os.path.islink(part) for part in _parts(path)):
        return "it is a symbolic link, and those are not followed"
    base = path if os.path.basename(path) == STATE_NAME else os.path.dirname(path)
    may_write = _writers_of(run)
    reason = trusted(base, run, uid, owner, may_write)
    if reason is None and path != base:
        reason = trusted(path, None, uid, owner, may_write)
    return reason


def _parts(path: str) -> tuple[str, ...]:
    """Return the directories of ours on the way to a state directory found by searching."""
    return (path,) if os.path.basename(path) == STATE_NAME else (os.path.dirname(path), path)


def _usable(beside: str, run: str, uid: int, owner: int) -> bool:
    """Whether a state directory made beside the run now would be obeyed the next time."""
    if os.path.islink(beside):
        return False
    if os.path.isdir(beside):
        return trusted(beside, run, uid, owner, _writers_of(run)) is None
    return trusted(run, None, uid, owner, _writers_of(run)) is None


def _writers_of(run: str) -> Callable[[int, int], bool]:
    """Return which groups may write to the state of a run: a private one, and that of the run.

    Who can write to the run's directory can delete its checkpoints without us: a project's shared
    directory (mode 2775) is the group's own.
    """
    found = os.stat(run)
    shared = found.st_gid if found.st_mode & stat.S_IWGRP else None
    return lambda uid, gid: gid == shared or private_group(uid, gid)


def _wanted(folder: str, name: str, run: str) -> str:
    """Return the run's own directory in the one that `--state-dir` names, made already or not."""
    inode = os.stat(run).st_ino
    notes = {entry: _noted(os.path.join(folder, entry)) for entry in _names(folder)}
    for entry, note in sorted(notes.items()):
        if note is not None and inode == note[0]:
            return os.path.join(folder, entry)
    for entry, note in sorted(notes.items()):
        if note is not None and run == note[1]:
            return os.path.join(folder, entry)
    return os.path.join(folder, f"{name}~{inode}" if notes.get(name) else name)


def _of_run(beside: str, name: str, run: str) -> Iterator[str]:
    """Yield the directories beside a run that are its own: by inode after a rename, or by name."""
    inode = os.stat(run).st_ino
    notes = {entry: _noted(os.path.join(beside, entry)) for entry in _names(beside)}
    inodes = {entry: note[0] if note else None for entry, note in notes.items()}
    for entry, seen in sorted(inodes.items(), key=lambda item: item[1] != inode):
        if seen == inode or (entry == name and not _belongs_elsewhere(seen, run)):
            yield os.path.join(beside, entry)


def _names(path: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(path)
    return []


def _noted(path: str) -> tuple[int, str] | None:
    """Return the inode and the path of the run that a state directory was made for, if it says so."""
    try:
        with closing(LocalStore(path)) as store:
            note = json.loads(store.read(NOTE, TRACKER_LIMIT))
        return int(note["inode"]), str(note["path"])
    except (OSError, *NOT_UNDERSTOOD):
        return None


def _belongs_elsewhere(inode: int | None, run: str) -> bool:
    """Whether another directory beside the run has that inode: the state went along with it."""
    if inode is None or inode == os.stat(run).st_ino:
        return False
    with suppress(OSError), os.scandir(os.path.dirname(run)) as entries:
        return any(
            entry.inode() == inode and entry.is_dir(follow_symlinks=False) for entry in entries
        )
    return False


def open_state(run: str, dirs: StateDirs) -> Store | None:
    """Open the state directory for writing, made if need be.

    None where the disk is full, so that nothing can be written.  UnreadableError where what exists
    cannot be written; UsageError where a format forbids the only place that is left.
    """
    if dirs.remote:
        return dirs.open((*dirs.existing, *dirs.fresh)[0])
    run = os.path.realpath(run)
    refusal: OSError | None = None
    for path in dirs.existing[:1] or dirs.fresh:
        try:
            return _opened(path, run, existing=path in dirs.existing, wanted=dirs.wanted)
        except OSError as error:
            if error.errno in FULL:
                return None
            refusal = error
    if dirs.forbidden:
        raise UsageError(
            f"{run}: no place for ckptctl's records: beside the run nothing can be written, and {dirs.forbidden} "
            "breaks on strange names in it; nothing was changed",
            "name a directory on the same file system with --state-dir",
        )
    why = f"{refusal.filename}: {refusal.strerror}" if refusal else "no directory may be made there"
    raise UnreadableError(
        f"{run}: ckptctl's state cannot be written ({why}); nothing was changed",
        "run as the owner of that directory, or name another with --state-dir",
    )


def _opened(path: str, run: str, *, existing: bool, wanted: bool) -> LocalStore:
    """Open one place.  Raises OSError where it cannot be written or is on another file system."""
    if existing:
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", path)
        return LocalStore(path) if wanted else _below(path)
    like = os.stat(run)
    if wanted:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    parts = (
        [os.path.basename(path)] if wanted else [os.path.basename(part) for part in _parts(path)]
    )
    top = os.path.dirname(path) if len(parts) == 1 else os.path.dirname(os.path.dirname(path))
    with closing(LocalStore(top, like=like)) as above:
        paths = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        made = [path for path in paths if above.identity(path) is None]
        above.make_folder(parts[0])
        try:
            if not wanted:
                with closing(above.below(parts[0])) as base:
                    _prove_same_file_system(base, run)
            above.make_folder("/".join(parts))
            store = above.below("/".join(parts))
            try:
                _note(store, run)
            except OSError:
                if paths[-1] in made:  # it may be there all the same: only its sync failed
                    with suppress(OSError):
                        store.remove_file(NOTE)
                store.close()
                raise
        except OSError:
            # One that is left empty would be the first that exists, and hide what goes elsewhere.
            for part in reversed(made):
                with suppress(OSError):
                    os.rmdir(part, dir_fd=above.fd)
            raise
    return store


def _note(store: LocalStore, run: str) -> None:
    """Note in a state directory which run it is of, unless it says so already."""
    if store.stat(NOTE) is not None:
        return
    found = os.stat(run)
    note = {
        "schema": "ckptctl/run",
        "version": 1,
        "name": os.path.basename(run),
        "path": run,
        "device": found.st_dev,
        "inode": found.st_ino,
    }
    store.replace(NOTE, json.dumps(note).encode())


def _below(path: str) -> LocalStore:
    """Open a state directory that a search found, following no link of ours on the way to it."""
    parts = [os.path.basename(part) for part in _parts(path)]
    top = path
    for _ in parts:
        top = os.path.dirname(top)
    with closing(LocalStore(top)) as above:
        return above.below("/".join(parts))


def _prove_same_file_system(base: LocalStore, run: str) -> None:
    """Try a rename that cannot happen: onto `.` of the run.

    The kernel looks at the mounts first (EXDEV) and only then at the target (EBUSY), so that this
    tells what a real rename would meet, and touches nothing.
    """
    trial = (
        f"trial.{os.getpid()}-{os.urandom(6).hex()}"  # another node's process may have this number
    )
    os.mkdir(trial, dir_fd=base.fd)
    try:
        os.rename(trial, os.path.join(run, "."), src_dir_fd=base.fd)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise
    finally:
        with suppress(OSError):
            os.rmdir(trial, dir_fd=base.fd)
