"""`ckptctl interval`: how often to save."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from ckptctl.advice import Answer, Given, answer
from ckptctl.beside import OpenLog
from ckptctl.cadence import Observed, observe
from ckptctl.cli.options import Common, Location
from ckptctl.cli.run_by_run import Read, read_place
from ckptctl.cli.runtime import Session
from ckptctl.errors import PartialError, UsageError
from ckptctl.model import NS
from ckptctl.survey import Survey, logs_of
from ckptctl.ui.data import error_data
from ckptctl.ui.interval import Section, interval_data, interval_text


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalOptions:
    """The options of `interval` alone."""

    save_cost: Annotated[
        str | None, typer.Option("--save-cost", metavar="D", help="What one save takes.")
    ] = None
    blocking: Annotated[
        str | None,
        typer.Option(
            "--blocking",
            metavar="D",
            help="What of it stops the job, where saves are asynchronous.",
        ),
    ] = None
    mtbf: Annotated[
        str | None,
        typer.Option("--mtbf", metavar="D", help="Mean time between failures of the job."),
    ] = None
    nodes: Annotated[
        int | None, typer.Option("--nodes", metavar="N", help="Nodes, each with --node-mtbf.")
    ] = None
    node_mtbf: Annotated[
        str | None,
        typer.Option("--node-mtbf", metavar="D", help="Mean time between failures of one node."),
    ] = None
    restart_cost: Annotated[
        str | None,
        typer.Option("--restart-cost", metavar="D", help="What a restart takes (default 0)."),
    ] = None

    def given(self, session: Session) -> Given:
        """Return what the flags say, in seconds.  UsageError for what cannot be."""

        def seconds(flag: str, text: str | None) -> float | None:
            return None if text is None else session.duration(flag, text) / NS

        return Given(
            save_cost=seconds("--save-cost", self.save_cost),
            blocking=seconds("--blocking", self.blocking),
            mtbf=seconds("--mtbf", self.mtbf),
            nodes=self.nodes,
            node_mtbf=seconds("--node-mtbf", self.node_mtbf),
            restart_cost=seconds("--restart-cost", self.restart_cost) or 0.0,
        ).checked()


def interval(common: Common, options: IntervalOptions, location: Location = None) -> None:
    """Say how often to save: Young's, Daly's and the exact optimum, and what they cost.

    The cost of a save and the time between failures are given, or read from a run: its cadence, how
    long its files take, and its restarts. Planned stops are no failures; of a run they cannot be
    told apart, so give --mtbf where you know it. A log that names SLURM jobs (--metrics-from) shows
    restarts too. Without both flags, and without a LOCATION, the current directory is read.

    In JSON young_s, daly_s and optimal_s (seconds of computing between two saves) stand beside
    every, overhead, lost_s (per failure), present (the run's cadence), mtbf_low_s and mtbf_high_s
    (95%), what_if, and runs with what was observed in each.
    """
    session = Session(common=common)
    given = options.given(session)
    session.open(location or ".")
    if common.format not in {"table", "json"}:
        raise UsageError(f"--output: interval knows table and json, not {common.format}")
    if location is None and given.enough:
        sections = [Section(answer=answer(given))]
    else:
        with session.progress() as progress:
            progress.started("listing")
            place = read_place(session, location)
        sections = [_section(given, each, place.view) for each in place.runs]
    if not sections:
        raise UsageError(
            f"{location or 'the current directory'}: no run to read from, and the flags do not say enough"
            if not given.enough
            else f"{location}: no run to read from",
            "give --save-cost and --mtbf, or name a run",
        )
    _end(session, sections)


def _section(given: Given, read: Read, view: Survey | None) -> Section:
    """Return the answer for one run, or why there is none."""
    if read.run is None or read.found is None or view is None:
        return Section(answer=None, name=read.name, location=read.location, error=read.error)
    seen: Observed | None = None
    found: Answer | None = None
    error = read.error
    try:
        opened = (opens for _, opens in logs_of(view, read.found, read.logs))
        logs = [log for opens in opened if (log := _log(opens))]
        seen = observe(read.run, logs)
        found = answer(given, seen)
    except UsageError as why:
        error = error or UsageError(f"{read.location}: {why.message}", why.hint)
    return Section(answer=found, name=read.name, location=read.location, seen=seen, error=error)


def _log(opens: OpenLog) -> bytes | None:
    """Return a log; one that cannot be read was told of already, when its metrics were looked for."""
    try:
        return opens()
    except (OSError, ValueError):
        return None


def _end(session: Session, sections: list[Section]) -> None:
    """Write the answers, and leave with the exit code of the contract."""
    session.warn()
    errors = [section.error for section in sections if section.error is not None]
    alone = errors[0] if errors and len(sections) == 1 else None
    if session.common.format == "json":
        data = interval_data(sections) | (error_data(alone) if alone else {})
        session.print(json.dumps(data, allow_nan=False) + "\n")
    else:
        look = session.look()
        parts = ["\n".join(interval_text(section, look)) for section in sections]
        session.print("\n\n".join(part for part in parts if part) + "\n")
        for error in errors:
            session.say_error(error)
    if alone is not None:
        raise typer.Exit(alone.code)
    if errors:
        raise typer.Exit(PartialError.code)
