"""One run at every place where it may be: on each tier of the configuration, or where it is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl.cli.access import access_of
from ckptctl.cli.run_by_run import read_found
from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, NotFoundError, UnreadableError, UsageError
from ckptctl.group import Found, look
from ckptctl.known import known_formats
from ckptctl.locate import local_path, open_local
from ckptctl.model import Run
from ckptctl.policy import Tier
from ckptctl.resuming import Seen, is_tracker
from ckptctl.stores import is_local
from ckptctl.stores._base import NothingBelowError
from ckptctl.survey import Survey, name_of, survey

_MOST = 20
"""Runs that are named where one of them has to be."""


@dataclass(frozen=True, slots=True)
class RunThere:
    """A run as it was read at one place."""

    tier: str | None
    view: Survey
    found: Found
    run: Run

    @property
    def seen(self) -> Seen:
        """What a selector needs to know of it."""
        folder = self.found.folder
        times = [
            entry.mtime_ns
            for file in self.run.trackers
            if is_tracker(file, self.run) and (entry := folder.find(file)) is not None
        ]
        return Seen(self.run, self.tier, max(times, default=0))


@dataclass(frozen=True, slots=True)
class Everywhere:
    """A run at all places, the fastest first, and why others could not be read."""

    places: tuple[RunThere, ...]
    errors: tuple[CkptctlError, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A location on one tier, if it is there; with an `error` it may be."""

    tier: str | None
    view: Survey | None
    error: CkptctlError | None = None

    def run(self, path: str | None) -> Found | None:
        """Return the run at a path below the location."""
        found = self.view.found if self.view else ()
        return next((each for each in found if each.folder.path == path), None)


def run_everywhere(session: Session, location: str | None) -> Everywhere:
    """Read the one run that a location means, on each tier where it may be.

    Without a location that is the current directory where it lies on a tier or is a run; else the
    only run that the tiers hold.  A location on no tier is looked at alone.  UsageError where
    several runs could be meant, NotFoundError where none is, and UnreadableError where a location
    on no tier is missing or cannot be read; what is wrong with a tier is in the result.
    """
    where = session.locate(location)
    config = session.config
    on_tier = config.place(where) if config else None
    tiers = config.tiers if config else ()
    if on_tier is None and (location is not None or not tiers or _is_run(session, where)):
        return run_at(session, location)
    inner = on_tier[1] if on_tier else ""
    # What lies on one node alone is no whole checkpoint.
    looked = [look_on(session, tier, inner) for tier in tiers if not tier.per_node]
    where = where if on_tier else ", ".join(tier.url for tier in tiers)
    return _read(session, looked, where, inner)


def run_at(session: Session, location: str | None) -> Everywhere:
    """Read the one run that a location is or holds, there alone; see `run_everywhere`."""
    where = session.locate(location)
    view = surveyed(session, where)
    return _read(session, [Looked(None, view, hidden(view))], where, "")


def _read(session: Session, looked: Sequence[Looked], where: str, inner: str) -> Everywhere:
    path = _one_run(looked, where, inner)
    errors = [each.error for each in looked if each.error]
    places = []
    for each in looked if path is not None else ():
        found = each.run(path)
        if each.view is None or found is None:
            continue
        read = read_found(session, each.view, found)
        errors += [read.error] if read.error else unread_of(read.run)
        if read.run is not None:
            places.append(RunThere(each.tier, each.view, found, read.run))
    return Everywhere(tuple(places), tuple(errors))


def surveyed(session: Session, where: str) -> Survey:
    """Survey a location of runs.  UsageError where it is one checkpoint, UnreadableError."""
    formats = session.config.formats if session.config else ()
    access = access_of(session, session.config, where)
    view = survey(where, formats, deep=session.common.recursive, access=access)
    if view.only is not None:
        raise UsageError(
            f"{where}: is one checkpoint of the run {view.store.root}; nothing was touched",
            f"name the run: {view.store.root}",
        )
    return view


def look_on(session: Session, tier: Tier, inner: str) -> Looked:
    """Look at a path on one tier; what is missing below a tier that is there is no error."""
    where = f"{tier.url.rstrip('/')}/{inner}" if inner else tier.url
    try:
        if (
            inner
            and is_local(tier.url)
            and _is_missing(where)
            and os.path.isdir(local_path(tier.url))
        ):
            return Looked(tier.name, None)
        view = surveyed(session, where)
        return Looked(tier.name, view, hidden(view))
    except UnreadableError as error:
        if isinstance(error.__cause__, NothingBelowError):
            return Looked(tier.name, None)
        text = f"the tier {tier.name} cannot be read: {error.message}"
        return Looked(tier.name, None, UnreadableError(text, error.hint))


def hidden(view: Survey) -> CkptctlError | None:
    """Return an error where no run is seen, but one may lie in what could not be read."""
    text = next((p.text for p in view.problems if p.code == "folder-unreadable"), None)
    if view.found or text is None:
        return None
    return UnreadableError(f"{view.location}: cannot be read: {text}", "check its permissions")


def _is_missing(where: str) -> bool:
    """Whether nothing is there, as far as that can be known."""
    try:
        os.stat(local_path(where))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # it may be there: listing it tells what is wrong
    return False


def _is_run(session: Session, where: str) -> bool:
    """Whether a directory is a run, as far as two levels show: it may be a home with all below it."""
    with closing(open_local(where)) as store:
        try:
            top = store.listing(deep=False)
            below = {name: store.listing(name, deep=False) for name in top.folders}
        except OSError as error:
            text = f"{where}: cannot be listed ({error.strerror})"
            raise UnreadableError(text, "name the run as LOCATION") from error
        formats = known_formats(session.config.formats if session.config else ())
        return bool(look(replace(top, folders=below), store, formats).items)


def _one_run(looked: Sequence[Looked], where: str, inner: str) -> str | None:
    """Return the path of the only run below the location; None where it may be on a tier unread."""
    views = [each.view for each in looked if each.view]
    if any(view.itself for view in views):
        return ""
    runs = sorted({found.folder.path for view in views for found in view.found})
    if len(runs) > 1:
        shown = [f"  {run}" for run in _named(looked, runs, inner)][:_MOST]
        more = [f"  and {len(runs) - _MOST} more"] if len(runs) > _MOST else []
        raise UsageError(
            f"{where}: holds {len(runs)} runs, and one is needed; nothing was touched:",
            "name one as LOCATION",
            [*shown, *more],
        )
    if runs:
        return runs[0]
    if any(each.error for each in looked):
        return None
    raise NotFoundError(
        f"{where}: there are no checkpoints at all", "`ckptctl list` shows what there is"
    )


def _named(looked: Sequence[Looked], runs: Sequence[str], inner: str) -> Iterator[str]:
    """Yield each run as a location that can be named."""
    for run in runs:
        each = next(each for each in looked if each.run(run) is not None)
        below = "/".join(part for part in (inner, run) if part)
        found = each.run(run)
        assert each.view is not None  # noqa: S101 - it holds the run
        assert found is not None  # noqa: S101 - the same
        yield f"@{each.tier}/{below}" if each.tier else name_of(each.view, found)


def refuse_parts(session: Session, place: RunThere) -> None:
    """Refuse what lies on a tier of each node: no checkpoint is whole there.  NotFoundError."""
    location = place.run.location
    tier = session.config.place(location) if session.config else None
    if tier is not None and tier[0].per_node:
        raise NotFoundError(
            f"{location}: lies on {tier[0].name}, of which each node has its own (per_node): there are "
            "only parts of checkpoints; nothing was recorded",
            "name the run on a tier that all nodes see",
        )


def unread_of(run: Run | None) -> list[CkptctlError]:
    """Return an error where something of a run could not be read."""
    if run is None or not run.unread:
        return []
    more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
    text = f"{run.location}: something of the run cannot be read: {run.unread[0]}{more}"
    return [UnreadableError(text, "check its permissions and the disk")]
