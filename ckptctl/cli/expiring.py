"""What a site's purge is about to take of a run, and of what was recorded of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from ckptctl.at_risk import GOING
from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.expiry import Expiry, PurgeBy, SitePurge, Times, expiry_of
from ckptctl.group import Found
from ckptctl.listing import Folder
from ckptctl.locate import local_path
from ckptctl.looking import links_in
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.records import FOLDER as RECORDS
from ckptctl.scratch import expiry_in, times_in
from ckptctl.statedir import StateDirs
from ckptctl.stores import is_local
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Survey, state_dirs
from ckptctl.units import format_time


@dataclass(frozen=True, slots=True)
class Expiring:
    """When each complete checkpoint of a run (by member) loses its first file; see `expiring`."""

    purge: SitePurge
    expiries: Mapping[str, Expiry]
    problems: tuple[Problem, ...] = ()  # why these times may be others


def expiring(run: Run, folder: Folder, purge: SitePurge, now_ns: int) -> Expiring:
    """Ask for the times of the files of all complete checkpoints.  Raises UnreadableError.

    What is scheduled to go may go, and in a bucket nothing is purged.  One that seems to be saved,
    since a file of it changed lately or has a time ahead of the clock, has old files only if it is
    not; of what is saved, files come and go.
    """
    if not is_local(run.location):
        return Expiring(purge, {})
    meant = [
        c for c in run.checkpoints if c.state in GOING and c.doomed_ns is None and not c.temporary
    ]
    path = local_path(run.location)
    found: dict[str, Expiry] = {}
    unborn = False
    try:
        with closing(LocalStore(path)) as store:

            def told(checkpoint: Checkpoint) -> Iterator[tuple[str, Times | None]]:
                nonlocal unborn
                saving = checkpoint.state is State.SAVING
                links = links_in(checkpoint, folder)
                for name, each in times_in(store, checkpoint.files, links, purge):
                    unborn |= each is not None and each.birth_ns is None
                    if each is not None or not saving:
                        yield name, each

            for checkpoint in meant:
                if (expiry := expiry_of(told(checkpoint), purge, now_ns)) is not None:
                    found[checkpoint.member] = expiry
            problems = tuple(_doubts(path, purge, unborn=unborn and purge.needs_birth))
    except OSError as error:
        raise UnreadableError(
            f"{run.location}: the times of its files cannot be read ({error.strerror}); "
            "what the site's purge is about to take is not known",
            "check the permissions and the mount",
        ) from error
    return Expiring(purge, found, problems)


def foreseen(
    session: Session, view: Survey, found: Found, run: Run, purge: SitePurge, now_ns: int
) -> Expiring:
    """Return what a purge takes of a run, and in its problems also what of ckptctl's own notes on it.

    Raises UnreadableError, OSError: see `unknown`.
    """
    seen = expiring(run, found.folder, purge, now_ns)
    dirs = state_dirs(view, found, session.common.state_dir, os.geteuid())
    noted = _state_problems(dirs, run.location, purge, now_ns)
    return replace(seen, problems=(*seen.problems, *noted))


def unknown(run: Run, error: CkptctlError | OSError) -> Problem:
    """Return that it cannot be known what a purge takes, and why."""
    if isinstance(error, CkptctlError):
        return Problem("purge-unknown", error.message)
    where = error.filename or run.location
    return Problem("purge-unknown", f"what a purge takes is not known: {where}: {error.strerror}")


def _state_problems(dirs: StateDirs, run: str, purge: SitePurge, now_ns: int) -> list[Problem]:
    """Return that what was noted of a run (pins, tags, holds) is about to be purged, if it is.  OSError."""
    device = os.stat(local_path(run)).st_dev
    for place in dirs.holding(RECORDS):
        expiry = None
        with closing(LocalStore(place)) as store, suppress(FileNotFoundError):
            if os.fstat(store.fd).st_dev == device:
                listed = store.listing(RECORDS).files.items()
                files = {f"{RECORDS}/{name}": entry for name, entry in listed}
                expiry = expiry_in(store, files, (), purge, now_ns)
        if expiry is not None and expiry.at_risk:
            text = (
                f"what is recorded in {place} (pins, tags, holds) is about to be purged, from "
                f"{format_time(expiry.at_ns)} on, and a prune would not see it any more: keep it "
                "elsewhere (--state-dir)"
            )
            return [Problem("records-at-risk", text)]
    return []


def _doubts(path: str, purge: SitePurge, *, unborn: bool) -> Iterator[Problem]:
    by_access = purge.by in {PurgeBy.ATIME, PurgeBy.ANY}
    if by_access and os.statvfs(path).f_flag & getattr(os, "ST_NOATIME", 0):
        text = (
            f"{path} is mounted with noatime: what is read here does not count as read, "
            "and goes as if nobody had"
        )
        yield Problem("noatime", text)
    if unborn:
        text = f"{path} does not tell when files were made: counted from when they were written"
        yield Problem("no-birth-times", text)
