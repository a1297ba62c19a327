"""What belongs to a run but lies beside it: ckptctl's own notes, and the logs that a policy names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import closing

from ckptctl.annotate import Beside
from ckptctl.begun import FOLDER as JOURNAL
from ckptctl.begun import half_gone
from ckptctl.coming import FOLDER as STAGING
from ckptctl.coming import half_come
from ckptctl.listing import Folder
from ckptctl.locate import local_path
from ckptctl.logs import Log, joined, parse_log
from ckptctl.manifest import FOLDER as MANIFESTS
from ckptctl.manifests import Manifests, manifests_in
from ckptctl.model import Problem
from ckptctl.partial import FOLDER as PARTIAL
from ckptctl.partial import Seen, fetched_in, partial_in
from ckptctl.reading import FRAMEWORK_LIMIT
from ckptctl.records import FOLDER as RECORDS
from ckptctl.records import Record, RecordError, by_path, read_all
from ckptctl.statedir import StateDirs
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

OpenLog = Callable[[], bytes]
"""Reads a log.  Raises OSError."""


def read_beside(
    path: str,
    folder: Folder,
    dirs: StateDirs,
    logs: Iterable[tuple[str, OpenLog]],
    *,
    asked: bool,
    manifests: Manifests | None = None,
) -> Beside:
    """Read what ckptctl noted about a run, and logs, each of which is called as in `logs`.

    A log that was `asked` for in this very call must be there.  `manifests` are those
    of the run, where somebody has listed them already.
    """
    unread: list[str] = []
    problems: list[Problem] = []
    records = _records(dirs, unread, problems)
    manifest = manifests or manifests_in(())
    try:
        if manifests is None:
            manifest = manifests_in(dirs.holding(MANIFESTS), dirs.open)
    except OSError as error:
        unread.append(f"{error.filename or 'manifests'}: {error.strerror or error}")
    halves = _half_gone(folder, dirs, unread)
    coming = _half_come(dirs, unread)
    partial, fetched = _partial(dirs, unread)
    log, log_unread = _logs(logs, unread, problems, asked=asked)
    return Beside(
        records=by_path(records),
        manifest=manifest,
        log=log,
        problems=tuple(problems),
        unread=tuple(unread),
        halves=halves,
        coming=coming,
        partial=partial,
        fetched=fetched,
        log_unread=log_unread,
        roots=tuple(dict.fromkeys((path, os.path.realpath(path)))),
        real=os.path.realpath,
    )


def _records(dirs: StateDirs, unread: list[str], problems: list[Problem]) -> list[Record]:
    records: list[Record] = []
    for place, reason in dirs.passed_over:
        text = f"{place}: {reason}; of it only pins, tags and holds count"
        problems.append(Problem("state-passed-over", text))
        records += _keeping(place)
    for place in dirs.holding(RECORDS):
        try:
            with closing(dirs.open(place)) as store:
                records += read_all(store)
        except (OSError, RecordError) as error:
            unread.append(f"{place}: {error}")
    return records


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


def _half_gone(folder: Folder, dirs: StateDirs, unread: list[str]) -> frozenset[str]:
    halves: frozenset[str] = frozenset()
    for place in dirs.holding(JOURNAL) if dirs.remote else ():
        try:
            with closing(dirs.open(place)) as store:
                halves |= half_gone(store, folder)
        except (OSError, ValueError) as error:
            unread.append(f"{place}: {error}")
    return halves


def _half_come(dirs: StateDirs, unread: list[str]) -> frozenset[str]:
    """Return the directories of which parts are still to come; on a disk none has its name yet."""
    coming: frozenset[str] = frozenset()
    for place in dirs.holding(STAGING) if dirs.remote else ():
        try:
            with closing(dirs.open(place)) as store:
                coming |= half_come(store)
        except OSError as error:
            unread.append(f"{place}: {error}")
    return coming


def _partial(dirs: StateDirs, unread: list[str]) -> tuple[dict[str, Seen], dict[str, int]]:
    """Return the files of which the rest of their checkpoint was not fetched, and when these were."""
    found: dict[str, Seen] = {}
    fetched: dict[str, int] = {}
    for place in dirs.holding(PARTIAL):
        try:
            with closing(dirs.open(place)) as store:
                found |= partial_in(store)
                fetched |= fetched_in(store)
        except OSError as error:
            unread.append(f"{place}: {error}")
    return found, fetched


def _logs(
    logs: Iterable[tuple[str, OpenLog]],
    unread: list[str],
    problems: list[Problem],
    *,
    asked: bool,
) -> tuple[Log, str | None]:
    """Return all logs as one, and why one of them could not be understood."""
    found: list[Log] = []
    log_unread = None
    for full, read in logs:
        try:
            found.append(parse_log(read()))
        except FileNotFoundError:
            text = f"{full}: the log does not exist, so it gives no metrics"
            problems.append(Problem("log-missing", text))
            if asked:
                unread.append(text)
        except ValueError as error:
            log_unread = f"{full}: the log {error}"
            problems.append(Problem("log-unreadable", log_unread))
        except OSError as error:
            unread.append(f"{full}: {error.strerror or error}")
    return joined(found), log_unread


def read_log(path: str) -> bytes:
    """Return a local log that the user named: it may lie outside the run.  Raises OSError."""
    fd = os.open(local_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        content = file.read(FRAMEWORK_LIMIT + 1)
    if len(content) > FRAMEWORK_LIMIT:
        raise ValueError("is larger than 1 GiB")
    return content


def read_log_there(store: Store, path: str) -> bytes:
    """Return a log in a bucket.  FileNotFoundError where there is none, OSError."""
    try:
        return store.read(path, FRAMEWORK_LIMIT)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise FileNotFoundError(error.errno, error.strerror, path) from error
        raise
