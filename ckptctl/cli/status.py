"""`ckptctl status`: how well runs are saved, for people and monitors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.chosen import chosen
from ckptctl.cli.elsewhere import needed, with_copies_of
from ckptctl.cli.options import Common, Locations
from ckptctl.cli.run_by_run import Read, ReadPlace, parts_alone, read_places
from ckptctl.cli.runtime import Session
from ckptctl.cli.status_disk import disk_of, trash_of
from ckptctl.cli.status_risk import risking
from ckptctl.config import policy_for
from ckptctl.errors import CkptctlError, Interrupted, UsageError
from ckptctl.expiry import PurgeBy, SitePurge
from ckptctl.health import (
    Copied,
    Health,
    Level,
    Limits,
    copied_of,
    health_of,
    unlike_on,
    with_risk,
    worst,
)
from ckptctl.model import Problem
from ckptctl.report import Report, RunReport, verdict
from ckptctl.stores import is_local
from ckptctl.survey import Survey
from ckptctl.transfer.outcome import Status
from ckptctl.ui import words
from ckptctl.ui.data import error_data
from ckptctl.ui.health import (
    nagios_line,
    run_data,
    status_data,
    status_table,
    unknown_line,
)
from ckptctl.ui.progress import Progress
from ckptctl.ui.prometheus import prometheus_text


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOptions:
    """The options of `status` alone."""

    warn: Annotated[
        str | None,
        typer.Option("--warn", metavar="D", help="Exit 1 where the newest complete one is older."),
    ] = None
    critical: Annotated[
        str | None,
        typer.Option("--critical", metavar="D", help="Exit 2 where it is older, or there is none."),
    ] = None
    prometheus: Annotated[
        str | None,
        typer.Option("--prometheus", metavar="FILE", help="Write metrics for Prometheus there."),
    ] = None
    purge_after: Annotated[
        str | None,
        typer.Option(
            "--purge-after", metavar="D", help="Age at which the site purges files (purge_after)."
        ),
    ] = None
    purge_by: Annotated[
        str | None,
        typer.Option(
            "--purge-by",
            metavar="TIME",
            help="That counts for it: atime, mtime, birth or any.",
            show_default="any",
        ),
    ] = None
    purge_warn: Annotated[
        str | None,
        typer.Option(
            "--purge-warn",
            metavar="D",
            help="How long before a checkpoint is at risk.",
            show_default="7d, at most a third of --purge-after",
        ),
    ] = None

    def purge(self, session: Session) -> SitePurge | None:
        """Return the purge that was given; None where the configuration tells.  UsageError."""
        if self.purge_after is None:
            for flag, value in (("--purge-by", self.purge_by), ("--purge-warn", self.purge_warn)):
                if value is not None:
                    raise UsageError(f"{flag}: says nothing without --purge-after")
            return None
        known = [by.value for by in PurgeBy]
        if self.purge_by is not None and self.purge_by not in known:
            raise UsageError(f"--purge-by: {self.purge_by!r} is none of {', '.join(known)}")
        after_ns = session.duration("--purge-after", self.purge_after)
        warn_ns = (
            None if self.purge_warn is None else session.duration("--purge-warn", self.purge_warn)
        )
        if not after_ns:
            raise UsageError("--purge-after: must be more than 0")
        if (warn_ns or 0) > after_ns:
            raise UsageError("--purge-warn: must not be longer than --purge-after")
        return SitePurge(after_ns, PurgeBy(self.purge_by or PurgeBy.ANY), warn_ns)

    def limits(self, session: Session) -> Limits:
        """Return the limits given.  UsageError where they cannot be."""
        limits = Limits(
            None if self.warn is None else session.duration("--warn", self.warn),
            None if self.critical is None else session.duration("--critical", self.critical),
        )
        if limits.warn_ns and limits.critical_ns and limits.warn_ns > limits.critical_ns:
            raise UsageError("--warn: must not be longer than --critical")
        return limits


def status(common: Common, options: StatusOptions, locations: Locations = None) -> None:
    """Show the age of each run's newest complete checkpoint, sizes, copies, trash and free space.

    Without a location it looks at all tiers of the configuration, else at the current directory. Of
    a run on a tier that is copied from it says what is still to be copied, and which copies are proven.

    With --warn or --critical it is a Nagios plugin: exit 0 ok, 1 warning, 2 critical, 3 for an
    error, and the first line says it. A run without any complete checkpoint is critical then.
    Without them it exits 0 where all could be read. Of the trash only what can come back counts;
    bytes of what is deleted that are still to be removed stand apart.

    With --purge-after, or where the configuration says purge_after of a tier, it warns of checkpoints
    of which the site's scratch purge is about to take a file, and says which have no proven copy.

    --prometheus FILE is replaced whole (for node_exporter's textfile collector), and written by the
    caller, root too where --as-user drops it.
    """
    session = Session(common=common)
    limits, purge = options.limits(session), options.purge(session)
    try:
        _status(session, options, limits, purge, locations)
    except Interrupted:
        raise
    except CkptctlError as error:
        if not limits.any:
            raise
        session.warn()
        if common.format == "json":
            session.print(json.dumps(error_data(error)) + "\n")
        else:
            session.print(unknown_line(error) + "\n")
        raise typer.Exit(Level.UNKNOWN.code) from error


def _status(
    session: Session,
    options: StatusOptions,
    limits: Limits,
    purge: SitePurge | None,
    locations: list[str] | None,
) -> None:
    session.open(locations[0] if locations else ".", options.prometheus)
    if session.common.format not in {"table", "json", "jsonl"}:
        raise UsageError(
            f"--output: status knows table, json and jsonl, not {session.common.format}"
        )
    asked = locations or _tiers(session) or ["."]
    if purge is not None and not any(is_local(session.locate(where)) for where in asked):
        raise UsageError(
            "--purge-after: is for file systems; what a bucket's lifecycle rules delete is not known here"
        )
    with session.progress() as progress:
        progress.started("listing")
        places = read_places(session, locations or _tiers(session))
        places = [parts_alone(session, place) for place in places]
        places = [with_copies_of(session, place, near=False) for place in places]
        reads = [(place.view, read) for place in places for read in place.runs]
        runs = [
            replace(
                _health(session, limits, purge, view, read),
                copied=_copied(session, places, read, progress),
            )
            for view, read in reads
        ]
    if session.publisher is not None:
        session.publisher.publish(prometheus_text(runs, session.clock()).encode())
    _end(session, limits, places, runs)


def _tiers(session: Session) -> list[str] | None:
    """Return the locations of all tiers, None where there are none.

    A tier of each node is another one wherever this runs, and nothing there is complete.
    """
    if session.config is None:
        return None
    return [tier.url for tier in session.config.tiers if not tier.per_node]


def _health(
    session: Session, limits: Limits, purge: SitePurge | None, view: Survey | None, read: Read
) -> Health:
    """Return how well one run is saved, with what its state directory and disk hold."""
    run = read.run
    if run is None:
        level = Level.UNKNOWN if limits.any else None
        return Health(name=read.name, location=read.location, level=level, error=read.error)
    trash, unseen = trash_of(run, session.common.state_dir)
    config = session.config_of(run.location)
    place = config.place(run.location) if config else None
    purge = purge or (place[0].purge if place else None)
    guarded = purge is not None and is_local(run.location)
    risk = None
    if purge is not None and guarded and view is not None and read.found is not None:
        run, risk = risking(session, view, read.found, run, purge)
    health = health_of(
        replace(run, problems=(*run.problems, *unseen)),
        now_ns=session.clock(),
        limits=limits,
        size=words.total_bytes(run.checkpoints),
        trash=trash,
        disk=disk_of(run.location),
        error=read.error,
    )
    tier = place[0].name if place else None
    return replace(with_risk(health, risk, limits) if guarded else health, tier=tier)


def _copied(
    session: Session, places: Sequence[ReadPlace], read: Read, progress: Progress
) -> Copied | None:
    """Return how far a run is copied; None where its tier is not copied from."""
    run = read.run
    config = session.config_of(read.location)
    policy = policy_for(config, run.name, run.location) if config and run else None
    if run is None or config is None or policy is None or policy.copy_to is None:
        return None
    place = config.place(run.location)
    if place is not None and place[0].per_node:
        return None  # only `sync` in parts knows what is still to be copied
    from ckptctl.cli.owing import Owing, members  # noqa: PLC0415 - it loads all that copies

    owed = Owing(session, config, places, progress).owed(read)
    conflicts = members(owed, Status.CONFLICT)
    if policy.on_conflict == "stop":
        # Of the same sizes: only reading them is sure, and all that a listing tells is that they differ.
        conflicts |= unlike_on(run, policy.copy_to)
    return copied_of(
        run,
        chosen(run, policy.copy, session.context(policy.settle_ns, policy.await_metric_ns)),
        policy.copy_to,
        needed(policy),
        owed=members(owed, Status.PLANNED) - conflicts,
        conflicts=conflicts,
    )


def _end(session: Session, limits: Limits, places: list[ReadPlace], runs: list[Health]) -> None:
    """Write the result, and leave with the exit code that the flags ask for."""
    session.warn()
    problems: tuple[Problem, ...] = tuple(p for place in places for p in place.problems)
    where = ", ".join(place.location for place in places)
    level = (worst(run.level for run in runs) or Level.CRITICAL) if limits.any else None
    code, error = verdict(
        Report(
            command="status",
            runs=tuple(RunReport(name=r.name, location=r.location, error=r.error) for r in runs),
        )
    )
    if session.common.format == "json":
        also = error_data(error) if error and not level else {}
        session.print(json.dumps({**status_data(runs, problems, level), **also}) + "\n")
    elif session.common.format == "jsonl":
        session.print("".join(json.dumps(run_data(run)) + "\n" for run in runs))
    else:
        lines = [nagios_line(runs, limits, where)] if level else []
        lines += status_table(runs, problems, where, session.look())
        session.print("".join(f"{line}\n" for line in lines))
    if error is not None and session.common.format != "json":
        session.say_error(error)
    if level is not None:
        code = level.code
    if code:
        raise typer.Exit(code)
