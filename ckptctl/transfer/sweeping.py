"""Remove what interrupted copies, and other calls that died, left and nobody will go on with."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress

from ckptctl.coming import FOLDER, PARTS, parts_name, roots_in
from ckptctl.errors import CkptctlError
from ckptctl.listing import Folder
from ckptctl.lock import Lock
from ckptctl.model import NS
from ckptctl.reading import FRAMEWORK_LIMIT, NOT_UNDERSTOOD, TooLargeError, VanishedError
from ckptctl.resumption import FILE as READ
from ckptctl.resumption import FOLDER as SHARES
from ckptctl.stores._base import Store
from ckptctl.transfer.notes import CALLS, SENT, STORED, stage_name

RESOLVING = "resolving"
"""The directory of our state in which the tasks of a step agree what to fetch."""

LIFE_NS = 7 * 24 * 3600 * NS
"""How long an interrupted copy is kept to go on with."""


def sweep(state: Store, run: Store, whole: Collection[str], now_ns: int) -> None:
    """Remove what is staged of checkpoints that are `whole` by now, and what is older than a week.

    On a disk also what verifications and steps have left a week ago; in a bucket, where looking is a
    request, the next of these does.  Whoever calls it holds the run's lock, so that nobody is staging.
    Raises OSError.
    """
    if state.able.rename:
        sweep_folder(state, RESOLVING, now_ns)
        sweep_folder(state, SHARES, now_ns)
        _drop_old(state, READ, now_ns)
    try:
        listed = state.listing(FOLDER, deep=False)
    except FileNotFoundError:
        return
    _sweep_staged(state, run, listed, whole, now_ns)


def _sweep_staged(
    state: Store, run: Store, listed: Folder, whole: Collection[str], now_ns: int
) -> None:
    """Remove what `sweep` says of copies, of what was listed just now."""
    done = {stage_name(member).rpartition("/")[2] for member in whole}
    united = {parts_name(member) for member in whole}
    dead: set[str] = set()
    for name in {*listed.files, *listed.folders}:
        if name == CALLS:
            _sweep_calls(state, now_ns)
            continue
        if name.endswith(PARTS) and name not in united:
            dead.update(_sweep_parts(state, run, name, now_ns))
            continue
        number, _, suffix = name.partition(".")
        if suffix in {"", "json"} and number not in done:
            note = list(_noted(state, f"{FOLDER}/{number}.json", now_ns))
            if not note and name in listed.folders:
                note = list(_noted(state, f"{FOLDER}/{number}/{STORED}", now_ns))
            if note and not note[0]:
                continue  # somebody will go on with it
            dead.update(filter(None, note))
        _remove(state, name, folder=name in listed.folders)
    for upload in run.unfinished() if dead else ():
        if upload.path in dead:
            run.drop(upload)


def is_abandoned(folder: Folder, now_ns: int) -> bool:
    """Whether nobody has written to a directory of our state for so long that nobody will go on with it."""
    newest = max((entry.mtime_ns for _, entry in folder.walk()), default=folder.mtime_ns or now_ns)
    return now_ns - newest >= LIFE_NS


def sweep_folder(state: Store, name: str, now_ns: int) -> None:
    """Remove of a directory of our state each file and directory that nobody has written to for a week.

    Nothing depends on any of them: what cannot be read or removed now is left to the next call.
    """
    with suppress(OSError):
        for below, folder in state.listing(name).folders.items():
            if is_abandoned(folder, now_ns):
                state.remove_tree(f"{name}/{below}")
        for file in state.listing(name, deep=False).files:
            _drop_old(state, f"{name}/{file}", now_ns)


def _sweep_calls(state: Store, now_ns: int) -> None:
    """Remove what callers noted of their calls a week ago, one by one: others go on calling."""
    try:
        names = state.listing(f"{FOLDER}/{CALLS}", deep=False).files
    except FileNotFoundError:
        return
    for name in names:
        file = f"{FOLDER}/{CALLS}/{name}"
        if not name.endswith(".lock"):
            _drop_old(state, file, now_ns)
        elif _is_old(state, file, now_ns):
            # Whoever takes it over this moment must not lose it: so do we, if its holder is dead.
            with suppress(CkptctlError):
                lock = Lock(state, lambda: now_ns, file=file)
                lock.acquire()
                lock.release()


def _drop_old(state: Store, file: str, now_ns: int) -> None:
    """Remove a file that nobody has written to for a week, looked at now: it may be written anew."""
    if _is_old(state, file, now_ns):
        state.remove_file(file)


def _is_old(state: Store, file: str, now_ns: int) -> bool:
    entry = state.stat(file)
    return entry is not None and now_ns - entry.mtime_ns >= LIFE_NS


def _sweep_parts(state: Store, run: Store, name: str, now_ns: int) -> Iterator[str]:
    """Remove what callers have handed in and nobody has written to for a week; what they are at stays.

    Yield the files of the run of which uploads may be left.  In a bucket a note stays as long as
    something lies where it says: without it that would look whole.  The directory may be gone:
    SeaweedFS lists an emptied one for a moment, and callers take back what they sent without the
    run's lock.
    """
    try:
        folder = state.listing(f"{FOLDER}/{name}")
    except FileNotFoundError:
        return
    if not is_abandoned(folder, now_ns):
        return
    for note in sorted(folder.files):
        if note.endswith(SENT):
            yield from filter(None, _noted(state, f"{FOLDER}/{name}/{note}", now_ns))
    meant = {note for note in folder.files if _has_come(state, run, f"{FOLDER}/{name}/{note}")}
    _drop_below(state, f"{FOLDER}/{name}/")
    if not meant:
        state.remove_tree(f"{FOLDER}/{name}")
        return
    for below in folder.folders:
        state.remove_tree(f"{FOLDER}/{name}/{below}")
    for note in folder.files.keys() - meant:
        state.remove_file(f"{FOLDER}/{name}/{note}")


def _has_come(state: Store, run: Store, note: str) -> bool:
    """Whether something is in the run that may be half come by what a note says."""
    if run.able.rename:  # there nothing has its name before all of it has
        return False
    for root in roots_in(state, note):
        with suppress(FileNotFoundError, NotADirectoryError):
            run.listing(root, deep=False)
            return True
    return False


def _noted(state: Store, name: str, now_ns: int) -> Iterator[str]:
    """Yield "" where a note is fit to go on with, else the files that it names; nothing without one.

    Raises OSError: what cannot be read now is not taken for what nobody will go on with.
    """
    try:
        said = json.loads(state.read(name, FRAMEWORK_LIMIT))
        if 0 <= now_ns - int(said["began_ns"]) < LIFE_NS:
            yield ""
            return
        yield from map(str, said["files"])
    except (FileNotFoundError, VanishedError, TooLargeError, *NOT_UNDERSTOOD):
        return


def _remove(state: Store, name: str, *, folder: bool) -> None:
    if folder:
        _drop_below(state, f"{FOLDER}/{name}/")
        state.remove_tree(f"{FOLDER}/{name}")
    else:
        state.remove_file(f"{FOLDER}/{name}")


def _drop_below(state: Store, prefix: str) -> None:
    for upload in state.unfinished():
        if upload.path.startswith(prefix):
            state.drop(upload)
