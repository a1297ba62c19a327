"""The last part of a sync: pointers, by which frameworks name a checkpoint."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import NamedTuple

from ckptctl.apply import Applier
from ckptctl.cli.noted import noted_of
from ckptctl.cli.runtime import Session
from ckptctl.group import Found
from ckptctl.model import Run
from ckptctl.pointernote import read_links
from ckptctl.pointing_there import pointing_there
from ckptctl.repointing import read_trackers, write_pointers
from ckptctl.sides import Point, Side
from ckptctl.stores import is_local
from ckptctl.stores._base import Store
from ckptctl.survey import Survey, state_dirs
from ckptctl.transfer.destination import Destination


class Ends(NamedTuple):
    """A run at the source, and at the destination as it is after copying."""

    session: Session
    view: Survey
    found: Found
    run: Run
    source: Store
    after: Destination
    root: Store  # of the destination


def pointed(ends: Ends, applier: Applier, conflicts: frozenset[str]) -> tuple[Point, ...]:
    """Write the pointers; return what became of each.

    `conflicts` are members under whose names something else is there.  Raises LockedError, OSError.
    """
    after, state = ends.after, applier.state()
    noted = read_links(state)
    paths = (*ends.run.trackers, *after.run.trackers)
    here = Side(
        run=ends.run,
        found=ends.found,
        contents=read_trackers(ends.source, ends.found.folder, paths),
        manifest=noted_of(ends.session, ends.view, ends.found),
        noted=_links_noted(ends),
        real=_real(ends.run),
    )
    there = Side(
        run=after.run,
        found=after.found,
        contents=read_trackers(ends.root, after.found.folder, paths),
        manifest=after.manifest,
        noted=noted,
        real=_real(after.run),
    )
    points = pointing_there(here, there, ends.view.by_name, conflicts)
    return write_pointers(points, ends.root, state, noted, applier.check)


def _real(run: Run) -> Callable[[str], str]:
    return os.path.realpath if is_local(run.location) else posixpath.normpath


def _links_noted(ends: Ends) -> Mapping[str, str]:
    """Return the links that a bucket at the source only notes."""
    dirs = state_dirs(ends.view, ends.found, ends.session.common.state_dir, os.geteuid())
    for place in dirs.existing[:1] if ends.view.access else ():
        with closing(dirs.open(place)) as state:
            return read_links(state)
    return {}
