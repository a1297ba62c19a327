"""What a location holds: its runs, each with all that is known of its checkpoints."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.errors import UsageError
from ckptctl.formats._base import Format
from ckptctl.group import Found, look, runs_below
from ckptctl.known import Formats, known_formats
from ckptctl.locate import (
    Inside,
    containing,
    is_local,
    list_location,
    local_path,
    open_local,
    open_location,
)
from ckptctl.logs import Log, joined, parse_log
from ckptctl.manifests import manifests_in
from ckptctl.model import Layout, Problem, Run
from ckptctl.reading import FRAMEWORK_LIMIT
from ckptctl.records import Record, RecordError, by_path, read_all
from ckptctl.statedir import StateDirs, find_state, remote_state
from ckptctl.stores import Access
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
    is not local, and only given by commands that can do with one.  Raises UnreadableError where it
    cannot be listed, UsageError where it is no location.
    """
    formats = known_formats(layouts)
    if access is not None and not is_local(location):
        return _found(location, open_location(location, access), formats, deep=deep, access=access)
    inside = containing(location, formats)
    if inside is not None and inside.exact:
        return _one(location, inside, formats)
    if inside is not None:
        raise UsageError(
            f"{location}: lies inside the checkpoint {inside.member} of the run {inside.run}; nothing was changed",
            f"name the run: {inside.run}",
        )
    return _found(location, open_local(location), formats, deep=deep)


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


def _one(location: str, inside: Inside, formats: Formats) -> Survey:
    """Survey the run of one checkpoint, to look at that one only."""
    store = open_local(inside.run)
    found = next(iter(runs_below(list_location(store), store, formats, deep=False)))
    return Survey(location, store, formats, (found,), (), inside.member)


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
        return remote_state(path, view.access)
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


def read_run(view: Survey, found: Found, reading: Reading) -> Run:
    """Return one run with its checkpoints' metadata, state and pointers."""
    path = path_of(view, found)
    dirs = state_dirs(view, found, reading.state_dir, reading.uid)
    beside = _beside(path, dirs, reading)
    run = annotate(found, name_of(view, found), path, view.store, beside, reading.context)
    if view.only is not None:
        run = replace(
            run,
            checkpoints=tuple(c for c in run.checkpoints if c.member == view.only),
            leftovers=(),
        )
    return run


def look_again(view: Survey, found: Found, reading: Reading) -> Run:
    """Return the run as it is now, from a new listing.  Raises OSError where there is none."""
    return read_run(view, again(view, found), reading)


def again(view: Survey, found: Found) -> Found:
    """List one run anew.  Raises OSError where its directory is gone."""
    top = os.path.basename(view.store.root)
    return look(view.store.listing(found.folder.path), view.store, view.formats, top)


def _beside(path: str, dirs: StateDirs, reading: Reading) -> Beside:
    """Read what ckptctl noted about a run, and the logs that its policy names."""
    records: list[Record] = []
    unread: list[str] = []
    problems: list[Problem] = []
    for place, reason in dirs.passed_over:
        problems.append(
            Problem(
                "state-passed-over", f"{place}: {reason}; of it only pins, tags and holds count"
            )
        )
        records += _keeping(place)
    for place in dirs.existing:
        try:
            with closing(dirs.open(place)) as store:
                records += read_all(store)
        except (OSError, RecordError) as error:
            unread.append(f"{place}: {error}")
    manifest = manifests_in(())
    try:
        manifest = manifests_in(dirs.existing, dirs.open)
    except OSError as error:
        unread.append(f"{error.filename or 'manifests'}: {error.strerror or error}")
    logs: list[Log] = []
    log_unread = None
    for name in reading.metrics_from:
        full = os.path.join(path, name)
        try:
            logs.append(parse_log(read_log(full)))
        except FileNotFoundError:
            text = f"{full}: the log does not exist, so it gives no metrics"
            problems.append(Problem("log-missing", text))
            if reading.logs_asked:
                unread.append(text)
        except ValueError as error:
            log_unread = f"{full}: the log {error}"
            problems.append(Problem("log-unreadable", log_unread))
        except OSError as error:
            unread.append(f"{full}: {error.strerror or error}")
    return Beside(
        records=by_path(records),
        manifest=manifest,
        log=joined(logs),
        problems=tuple(problems),
        unread=tuple(unread),
        log_unread=log_unread,
        roots=tuple(dict.fromkeys((path, os.path.realpath(path)))),
        real=os.path.realpath,
    )


def _keeping(place: str) -> list[Record]:
    """Return what a state directory that is not to be obeyed asks to keep: that does no harm."""
    try:
        with closing(LocalStore(place)) as store:
            return [
                Record(path=r.path, tags=r.tags, pinned=r.pinned, aliases=r.aliases, holds=r.holds)
                for r in read_all(store)
            ]
    except (OSError, RecordError):
        return []


def read_log(path: str) -> bytes:
    """Return a log that the user named: it may lie outside the run.  Raises OSError."""
    fd = os.open(local_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        content = file.read(FRAMEWORK_LIMIT + 1)
    if len(content) > FRAMEWORK_LIMIT:
        raise ValueError("is larger than 1 GiB")
    return content


def run_root(view: Survey, found: Found) -> LocalStore:
    """Open a run's own directory, step by step from the location, following no link."""
    root = run_store(view, found)
    assert isinstance(root, LocalStore)  # noqa: S101 - what changes something is only given local ones
    return root


def run_store(view: Survey, found: Found) -> Store:
    """Open a run as a store of its own."""
    if not found.folder.path:
        return open_location(view.store.root, view.access)
    return view.store.below(found.folder.path)
