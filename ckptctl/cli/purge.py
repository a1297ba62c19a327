"""`ckptctl purge`: free the bytes of what a prune with `--grace` took."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.carry_out import carry_out
from ckptctl.cli.options import Common, Location
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.runtime import Session, interactive
from ckptctl.cli.trash_runs import TrashRun, report_of, trash_runs
from ckptctl.errors import UsageError
from ckptctl.ui.ask import confirm
from ckptctl.undoing import empty
from ckptctl.units import format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """The options of `purge` alone."""

    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="D", help="What was taken longer ago than this."),
    ] = None
    everything: Annotated[
        bool, typer.Option("--all", help="Everything, its grace over or not.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would go; change nothing.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False


def purge(common: Common, options: PurgeOptions, location: Location = None) -> None:
    """Empty the trash: what is past its grace, or what the options choose.

    What is freed is gone for good.
    """
    session = Session(common=common)
    session.open(location or ".")
    if options.everything and options.older_than is not None:
        raise UsageError("--all and --older-than exclude each other")
    now = surroundings_of(session).clock()
    age = session.duration("--older-than", options.older_than)
    runs = []
    for run in trash_runs(session, location):
        if options.everything:
            meant = list(run.held)
        elif options.older_than is not None:
            meant = [entry for entry in run.held if now - entry.trashed_ns >= age]
        else:
            meant = [entry for entry in run.held if entry.until_ns <= now]
        runs.append(replace(run, meant=tuple(meant)))
    doomed = [entry for run in runs for entry in run.meant]
    if options.dry_run:
        session.end(report_of("purge", [run.planned("purge") for run in runs], dry_run=True))
        return
    if doomed and interactive() and not options.yes:
        session.show(report_of("purge", [run.planned("purge") for run in runs], dry_run=True))
        size = format_size(sum(entry.bytes for entry in doomed))
        if not confirm(
            f"Free {len(doomed)} checkpoints ({size}) for good?", stdin=sys.stdin, stderr=sys.stderr
        ):
            session.say("nothing was freed")
            return
    with session.signals.noted():
        done = [_purged(session, run) for run in runs]
        session.end(report_of("purge", done, dry_run=False))


def _purged(session: Session, run: TrashRun) -> TrashRun:
    view, found = run.view, run.found
    if view is None or found is None:
        return run.worked(session, empty)
    return run.worked(
        session, lambda root, applier, meant: carry_out(session, view, found, root, applier, meant)
    )
