"""`ckptctl list`: what is there, in what state, and what marks it carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ckptctl.cli.completing import one_of
from ckptctl.cli.options import Common, Location
from ckptctl.cli.run_by_run import Read, ReadPlace, parts_alone, read_place
from ckptctl.cli.runtime import Session
from ckptctl.errors import UsageError
from ckptctl.known import known_formats
from ckptctl.model import Checkpoint, State
from ckptctl.report import Report, RunReport
from ckptctl.ui.render import render_formats

_FIXED = {
    "step": lambda c: (c.step is not None, c.step or 0),
    "time": lambda c: c.saved_ns,
    "bytes": lambda c: c.bytes,
    "name": lambda c: c.name,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The options of `list` alone."""

    sort: Annotated[
        str,
        typer.Option("--sort", metavar="step|time|bytes|name|METRIC", help="Order of the rows."),
    ] = "step"
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order round.")] = False
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only complete, saving, incomplete or damaged ones.",
            autocompletion=one_of(*State),
        ),
    ] = None
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="Only those with this tag.")
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Add a column for a metric; repeatable."),
    ] = None
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Show only the last N of each run.")
    ] = None
    formats: Annotated[
        bool, typer.Option("--formats", help="Print which formats are recognised.")
    ] = False


def list_runs(common: Common, options: ListOptions, location: Location = None) -> None:
    """List the checkpoints below a location, whatever framework wrote them."""
    session = Session(common=common)
    session.open(location or ".")
    if options.formats:
        session.print(render_formats(known_formats(), common.format))
        return
    if options.state is not None and options.state not in list(State):
        raise UsageError(f"--state: {options.state!r} is none of {', '.join(State)}")
    if options.limit is not None and options.limit < 1:
        raise UsageError("--limit: must be at least 1")
    with session.progress() as progress:
        progress.started("listing")
        place = parts_alone(session, read_place(session, location))
        if session.config and session.config.tiers:
            place = _with_copies(session, place)
        reports = [_report(read, options) for read in place.runs]
    session.end(
        Report(command="list", runs=tuple(reports), problems=place.problems),
        tuple(options.metric or ()),
    )


def _with_copies(session: Session, place: ReadPlace) -> ReadPlace:
    """Return the place with copies on other tiers: all for programs, for people those on disks."""
    from ckptctl.cli.elsewhere import with_copies_of  # noqa: PLC0415 - most lists have no tiers

    if session.common.format in {"json", "jsonl"} or session.common.verbose:
        return with_copies_of(session, place, near=False)
    return with_copies_of(session, place, near=True) if session.common.format == "table" else place


def _report(read: Read, options: ListOptions) -> RunReport:
    """Return the report of a run: the rows that were asked for, and what is wrong."""
    run = read.run
    return RunReport(
        name=read.name,
        location=read.location,
        checkpoints=_chosen(run.checkpoints, options) if run else (),
        problems=run.problems if run else (),
        error=read.error,
    )


def _chosen(checkpoints: tuple[Checkpoint, ...], options: ListOptions) -> tuple[Checkpoint, ...]:
    """Return the rows that were asked for, in the order that was asked for."""
    rows = [
        c
        for c in checkpoints
        if options.state in {None, c.state} and options.tag in (None, *c.tags)
    ]
    sort = options.sort
    if sort == "step":
        rows.sort(key=lambda c: (c.step is not None, c.step or 0, c.epoch or 0, c.saved_ns, c.name))
    elif sort in _FIXED:
        rows.sort(key=_FIXED[sort])
    else:
        if not any(sort in c.metrics for c in rows) and rows:
            there = ", ".join(sorted({name for c in rows for name in c.metrics})) or "none"
            raise UsageError(f"--sort: no checkpoint has {sort!r}; the metrics there are: {there}")
        rows.sort(key=lambda c: (c.value(sort) is not None, c.value(sort) or 0.0))
    if options.reverse:
        rows.reverse()
    return tuple(rows[-options.limit :] if options.limit else rows)
