"""What a location holds: its runs, each with all that is known of its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ckptctl.annotate import annotate
from ckptctl.beside import OpenLog, read_beside, read_log, read_log_there
from ckptctl.decision import Context
from ckptctl.errors import UnreadableError, UsageError
from ckptctl.formats._base import Format
from ckptctl.group import Found, look, runs_below
from ckptctl.known import Formats, known_formats
from ckptctl.locate import (
    Inside,
    containing,
    containing_there,
    list_location,
    open_local,
    open_location,
    unlisted,
)
from ckptctl.manifests import Manifests
from ckptctl.model import Layout, Problem, Run
from ckptctl.reading import Reader
from ckptctl.recalling import Memory, Recalling
from ckptctl.remotestate import remote_state
from ckptctl.statedir import StateDirs, find_state
from ckptctl.stores import Access, is_local
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore


@dataclass(frozen=True, slots=True)
class Survey:
    """An open location and the runs found in it, not read yet."""

    location: str  # as the user wrote it
    store: Store
    formats: Formats
    found: tuple[Found, ...]
    problems: tuple[Problem, ...] = ()
    only: str | None = None  # the location is this one checkpoint of the run
    access: Access | None = None  # of a location that is not local
    memory: Memory | None = None  # of small files, for who reads its runs more than once

    @property
    def by_name(self) -> Mapping[str, Format]:
        """Return the formats by the names that checkpoints carry."""
        return self.formats.by_name

    @property
    def itself(self) -> bool:
        """Whether the location itself is a run."""
        return any(not found.folder.path for found in self.found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a run is to be read."""

    context: Context
    metrics_from: tuple[str, ...] = ()
    logs_asked: bool = False  # the user named the logs in this very call: they must be there
    state_dir: str | None = None
    uid: int = 0


def survey(
    location: str,
    layouts: Sequence[Layout] = (),
    *,
    deep: bool = False,
    access: Access | None = None,
) -> Survey:
    """List a location once and find its runs.

    With `deep` also those below a location that is a run itself; `access` is for a location that
    is not local.  Raises UnreadableError where it
    cannot be listed, UsageError where it is no location.
    """
    formats = known_formats(layouts)
    if access is not None and not is_local(location):
        return _there(location, access, formats, deep=deep)
    inside = containing(location, formats)
    if inside is not None:
        return _one(location, inside, formats)
    return _found(location, open_local(location), formats, deep=deep)


def _there(location: str, access: Access, formats: Formats, *, deep: bool) -> Survey:
    """Survey a location in a bucket, which is listed before anybody asks what it lies in."""
    store = open_location(location, access)
    view: Survey | UnreadableError
    try:
        view = _found(location, store, formats, deep=deep, access=access)
    except UnreadableError as error:
        if not isinstance(error.__cause__, NotADirectoryError):
            raise
        view = error  # an object: it may be a checkpoint of one file
    try:
        bare = isinstance(view, UnreadableError) or not view.found
        inside = containing_there(store.root, access, formats, bare=bare)
    except OSError as error:
        raise unlisted(store.root, error) from error
    if inside is not None:
        return _one(location, inside, formats, access)
    if isinstance(view, UnreadableError):
        raise view
    return view


def _found(
    location: str, store: Store, formats: Formats, *, deep: bool, access: Access | None = None
) -> Survey:
    top = list_location(store)
    problems = []
    if top.error is not None and not top.files and not top.folders:
        problems.append(Problem("folder-unreadable", f"{location}: {top.error}"))
    found = tuple(runs_below(top, store, formats, deep=deep, top=os.path.basename(store.root)))
    if not found:
        problems += [
            Problem("folder-unreadable", f"{path or '.'}: {text}") for path, text in top.errors()
        ]
    return Survey(location, store, formats, found, tuple(problems), access=access)


def _one(location: str, inside: Inside, formats: Formats, access: Access | None = None) -> Survey:
    """Survey the run of one checkpoint, to look at that one only.

    UsageError for what lies in it.
    """
    if not inside.exact:
        raise UsageError(
            f"{location}: lies inside the checkpoint {inside.member} of the run {inside.run}; nothing was changed",
            f"name the run: {inside.run}",
        )
    store = open_location(inside.run, access)
    top = os.path.basename(store.root)
    found = next(iter(runs_below(list_location(store), store, formats, deep=False, top=top)))
    return Survey(location, store, formats, (found,), (), inside.member, access)


def name_of(view: Survey, found: Found) -> str:
    """Return a run's name: its directory's, or its path below the location."""
    root = view.store.root if view.access else os.path.realpath(view.store.root)
    return found.folder.path or os.path.basename(root) or "/"


def path_of(view: Survey, found: Found) -> str:
    """Return the full path of a run's directory, spelled like the location."""
    return (
        os.path.join(view.store.root, found.folder.path) if found.folder.path else view.store.root
    )


def state_dirs(view: Survey, found: Found, option: str | None, uid: int) -> StateDirs:
    """Return where the state of a run lies or could lie; `option` is the value of --state-dir.

    UsageError where that lies inside a checkpoint, or where a trainer would trip over it.
    """
    scanner = next((i.format.name for i in found.items if i.format.scans_everything), None)
    path = path_of(view, found)
    if view.access is not None:
        return remote_state(path, view.access, option, noted=found.folder.noted)
    if option is not None:
        _refuse_inside(os.path.realpath(option), os.path.realpath(path), found, scanner)
    return find_state(path, option=option, uid=uid, forbids=scanner)


def _refuse_inside(option: str, run: str, found: Found, scanner: str | None) -> None:
    """Refuse a state directory in a checkpoint, or in a run whose trainer breaks on strange names."""
    if option != run and not option.startswith(run.rstrip("/") + "/"):
        return
    top = option[len(run) :].strip("/").split("/", 1)[0]
    if scanner is None and not any(top in item.claim.members for item in found.items):
        return
    where = (
        f"the checkpoint {top}"
        if scanner is None
        else f"a run of {scanner}, which breaks on strange names"
    )
    raise UsageError(
        f"--state-dir: {option} lies inside {where}; nothing was changed",
        "name a directory outside the run",
    )


def read_run(
    view: Survey, found: Found, reading: Reading, manifests: Manifests | None = None
) -> Run:
    """Return one run with its checkpoints' metadata, state and pointers.

    `manifests` are those of the run, where somebody has listed them already.
    """
    path = path_of(view, found)
    dirs = state_dirs(view, found, reading.state_dir, reading.uid)
    logs = logs_of(view, found, reading.metrics_from)
    reader: Reader = view.store
    if view.memory is not None:
        reader = Recalling(view.store, found.folder, view.memory)
    beside = read_beside(
        path, found.folder, dirs, logs, asked=reading.logs_asked, manifests=manifests
    )
    run = annotate(found, name_of(view, found), path, reader, beside, reading.context)
    if view.only is not None:
        run = replace(
            run,
            checkpoints=tuple(c for c in run.checkpoints if c.member == view.only),
            leftovers=(),
        )
    return run


def logs_of(view: Survey, found: Found, names: Sequence[str]) -> Iterator[tuple[str, OpenLog]]:
    """Yield what logs are called, and what reads them; a relative name lies in the run."""
    path = path_of(view, found)
    for name in names:
        full = name if "://" in name else os.path.join(path, name)
        if view.access is None or is_local(full):
            yield full, partial(read_log, full)
        elif full == name:
            above, _, last = full.rpartition("/")
            yield full, partial(read_log_there, view.access.open(above), last)
        else:
            inside = f"{found.folder.path}/{name}".lstrip("/")
            yield full, partial(read_log_there, view.store, inside)


def again(view: Survey, found: Found) -> Found:
    """List one run anew.  Raises OSError where its directory is gone."""
    top = os.path.basename(view.store.root)
    return look(view.store.listing(found.folder.path), view.store, view.formats, top)


def settled_path(view: Survey, path: str) -> str:
    """Return the full path of a run by which it is told from any other."""
    return path if view.access else os.path.realpath(path)


def touched(root: Store, found: Found) -> bool:
    """Whether anything came or went directly in a run on a disk since it was listed.  Raises OSError."""
    return isinstance(root, LocalStore) and os.fstat(root.fd).st_mtime_ns != found.folder.mtime_ns


def run_store(view: Survey, found: Found) -> Store:
    """Open a run as a store of its own, step by step from the location, following no link."""
    if not found.folder.path:
        return open_location(view.store.root, view.access)
    return view.store.below(found.folder.path)
