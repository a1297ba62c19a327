"""From NAME and LOCATION on a command line to the one checkpoint that is meant."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

import typer

from ckptctl.cli.access import access_of
from ckptctl.cli.completing import checkpoints
from ckptctl.cli.runtime import Session
from ckptctl.config import Config
from ckptctl.errors import UsageError
from ckptctl.group import Found
from ckptctl.naming import named
from ckptctl.survey import Survey, survey

Name = Annotated[
    str,
    typer.Argument(
        help="A checkpoint's name, file name, or path within its run.",
        show_default=False,
        autocompletion=checkpoints,
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """One checkpoint, by its path within one run of an open location."""

    view: Survey
    found: Found
    member: str
    name: str


def near(name: str, location: str | None) -> str:
    """Return where to look for a configuration, by the words alone: no path is touched yet."""
    return location or os.path.dirname(name) or "."


def target_of(
    session: Session,
    name: str,
    location: str | None,
    config: Config | None = None,
    *,
    remote: bool = False,
) -> Target:
    """Return the checkpoint meant; a NAME that is a path of its own needs no location.

    `config` is that of --policy, whose formats count; `remote` says that the command can do with
    a bucket.  Raises NotFoundError, UsageError,
    UnreadableError.
    """
    where, called = session.locate(location), name
    if location is None and "/" in name and os.path.lexists(name):
        where, called = os.path.split(os.path.abspath(name))
    counted = config or session.config
    formats = counted.formats if counted else ()
    with session.progress() as progress:
        progress.started("listing")
        access = access_of(session, session.config, where) if remote else None
        view = survey(where, formats, deep=session.common.recursive, access=access)
    if view.only is not None:
        raise UsageError(
            f"{view.location}: is one checkpoint of the run {view.store.root}; nothing was changed",
            f"name the run: {view.store.root}",
        )
    meant = named(view.found, called, view.location)
    return Target(view, meant.found, meant.item.path, meant.item.name)


def apart(selector: str, location: str | None) -> tuple[str, str | None]:
    """Return a selector and its location; one that is a path of its own names both."""
    if location is None and "/" in selector and os.path.lexists(selector):
        where, name = os.path.split(os.path.abspath(selector))
        return f"./{name}", where
    return selector, location
