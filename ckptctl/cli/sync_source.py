"""What a sync copies from: listed as it is, or, of callers who divide it, what this one has."""

from __future__ import annotations

import os
from dataclasses import replace

from ckptctl.cli.access import access_of
from ckptctl.cli.run_by_run import refuse_by_place
from ckptctl.cli.runtime import Session
from ckptctl.group import Found, look
from ckptctl.known import known_formats
from ckptctl.listing import Folder
from ckptctl.locate import list_location, local_path
from ckptctl.stores import is_local
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Survey, survey


def viewed(session: Session, location: str) -> Survey:
    """List a source.  UnreadableError, UsageError."""
    config = session.config
    access = access_of(session, config, location)
    layouts = config.formats if config else ()
    return survey(location, layouts, deep=session.common.recursive, access=access)


def viewed_in_part(session: Session, location: str) -> Survey:
    """List what this caller has, which may be nothing.  UnreadableError, UsageError.

    A rank that saves nothing may not even have the run's directory: the one above it must be
    there, since a mount that is missing holds what nobody sees.
    """
    if name := lacking(location):
        above = os.path.dirname(os.path.abspath(local_path(location)))
        if os.path.isdir(above):
            layouts = session.config.formats if session.config else ()
            nothing = Found(Folder(name), ())
            return Survey(location, LocalStore(above), known_formats(layouts), (nothing,))
    view = viewed(session, location)
    if view.only is not None or view.itself or session.common.recursive:
        return view
    refuse_by_place(view, recursive=False)
    top = list_location(view.store)
    found = look(top, view.store, view.formats, os.path.basename(view.store.root))
    return replace(view, found=(found,))


def lacking(location: str) -> str:
    """Return the name of a source that is not there; "" where it is, and of a bucket."""
    path = os.path.abspath(local_path(location)) if is_local(location) else "/"
    return "" if os.path.lexists(path) else os.path.basename(path)
