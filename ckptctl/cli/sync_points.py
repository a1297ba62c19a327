"""The last part of a sync: pointers, by which frameworks name a checkpoint."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from contextlib import closing

from ckptctl.apply import Applier
from ckptctl.cli.noted import noted_of
from ckptctl.cli.runtime import Session
from ckptctl.formats._base import Format
from ckptctl.group import Found
from ckptctl.model import Run
from ckptctl.pointernote import read_links
from ckptctl.pointing_there import pointing_there
from ckptctl.repointing import read_trackers, write_pointers
from ckptctl.sides import Point, Side
from ckptctl.stores import is_local
from ckptctl.stores._base import Store
from ckptctl.survey import Survey, run_store, state_dirs
from ckptctl.transfer.destination import Destination


def pointed(
    here: Side,
    after: Destination,
    root: Store,
    applier: Applier,
    formats: Mapping[str, Format],
    conflicts: frozenset[str] = frozenset(),
) -> tuple[Point, ...]:
    """Write the pointers; return what became of each.

    `after` is the destination as it is after copying, `root` its store, `conflicts` are members
    under whose names something else is there.  Raises LockedError, OSError.
    """
    state = applier.state()
    noted = read_links(state)
    there = Side(
        run=after.run,
        found=after.found,
        contents=read_trackers(root, after.found.folder, (*here.run.trackers, *after.run.trackers)),
        manifest=after.manifest,
        noted=noted,
        real=_real(after.run),
    )
    points = pointing_there(here, there, formats, conflicts)
    return write_pointers(points, root, state, noted, applier.check)


def near_side(session: Session, view: Survey, found: Found, run: Run, there: Run) -> Side:
    """Return the run at the source, as far as pointers of both ends go.  Raises OSError."""
    with closing(run_store(view, found)) as source:
        contents = read_trackers(source, found.folder, (*run.trackers, *there.trackers))
    return Side(
        run=run,
        found=found,
        contents=contents,
        manifest=noted_of(session, view, found),
        noted=_links_noted(session, view, found),
        real=_real(run),
    )


def _real(run: Run) -> Callable[[str], str]:
    return os.path.realpath if is_local(run.location) else posixpath.normpath


def _links_noted(session: Session, view: Survey, found: Found) -> Mapping[str, str]:
    """Return the links that a bucket at the source only notes."""
    dirs = state_dirs(view, found, session.common.state_dir, os.geteuid())
    for place in dirs.existing[:1] if view.access else ():
        with closing(dirs.open(place)) as state:
            return read_links(state)
    return {}
