"""`ckptctl undo`: bring back what a prune with `--grace` took."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.options import Common, Location
from ckptctl.cli.runtime import Session
from ckptctl.cli.trash_runs import report_of, trash_runs
from ckptctl.errors import NotFoundError
from ckptctl.undoing import bring_back, chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOptions:
    """The options of `undo` alone."""

    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="Only the checkpoint of this name; repeatable."
        ),
    ] = None
    last: Annotated[bool, typer.Option("--last", help="Only what the last prune took.")] = False
    listing: Annotated[
        bool,
        typer.Option(
            "--list", help="Show what could be brought back, and until when; change nothing."
        ),
    ] = False


def undo(common: Common, options: UndoOptions, location: Location = None) -> None:
    """Bring back what a prune with --grace took: all of it, or what the options choose.

    Files, times and sidecars are as they were.  A name that is taken again meanwhile is refused.
    """
    session = Session(common=common)
    session.open(location or ".")
    runs = []
    missing: NotFoundError | None = None
    for run in trash_runs(session, location):
        try:
            meant = chosen(run.held, options.name or (), last=options.last)
        except NotFoundError as error:
            missing, meant = error, []
        runs.append(replace(run, meant=tuple(meant)))
    if missing is not None and not any(run.meant for run in runs):
        raise missing
    with session.signals.noted():
        if options.listing:
            runs = [run.planned("restore") for run in runs]
        else:
            runs = [run.worked(session, bring_back) for run in runs]
        session.end(report_of("undo", runs, dry_run=options.listing))
