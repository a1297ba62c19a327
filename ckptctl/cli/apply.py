"""`ckptctl apply`: carry out the whole configuration once, as cron does every few minutes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.completing import locations
from ckptctl.cli.life import Life, configured, inners
from ckptctl.cli.options import Common
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.syncing import rate_of
from ckptctl.errors import CkptctlError, Interrupted, LockedError, PartialError, UsageError
from ckptctl.flags import PolicyFlags
from ckptctl.transfer.applied import Applied, Part
from ckptctl.transfer.throttle import Throttle, finishing, napping
from ckptctl.ui.applying import applied_data, applied_lines
from ckptctl.ui.data import error_data
from ckptctl.ui.progress import Progress

Bwlimit = Annotated[
    str | None,
    typer.Option("--bwlimit", metavar="RATE", help="Bytes a second at most, as 200MB or 1GiB."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """The options of `apply` alone."""

    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", help="Show what would be done; change nothing."),
    ] = False
    bwlimit: Bwlimit = None


def apply(
    common: Common,
    options: ApplyOptions,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Paths below the tiers, or @TIER/run; by default all runs.",
            show_default=False,
            autocompletion=locations,
        ),
    ] = None,
) -> None:
    """Carry out the whole configuration: prove what is new, copy it to the next tiers, then prune each tier.

    For each run first all copies, from the fastest tier on, then deletions; a checkpoint goes from a
    tier that is copied from only when its copies are proven. What a tier's own policy would delete
    at once is not copied there, unless its deletion here needs that copy. A run or tier that fails
    stops no other (exit 5; a single run gives its own code).

    It may be called every few minutes: where another process is at work it exits with 3, and with
    -q says nothing then. SIGTERM ends it within seconds, and the next call goes on.
    """
    session = opened(common)
    config = configured(session, "apply")
    wanted = inners(config, runs or ())
    wish = Wish(dry_run=options.dry_run, jobs=common.copies_at_once)
    rate = rate_of(options.bwlimit)
    with session.signals.noted():
        with session.progress() as progress:
            done = life(session, wish, rate, progress).lived(wanted)
        end(session, done)


def opened(common: Common) -> Session:
    """Return a session that goes down to every run.  UsageError."""
    session = Session(common=replace(common, recursive=True))
    if common.format not in {"table", "json"}:
        raise UsageError(f"--output: this command knows table and json, not {common.format}")
    session.open(".")
    return session


def life(session: Session, wish: Wish, rate: int | None, progress: Progress) -> Life:
    """Return what carries out the session's configuration.  UsageError."""
    common = session.common
    flags = PolicyFlags(settle=common.settle, metrics_from=common.metrics_from or ()).draft()
    over = finishing(session.signals.stopped, time.monotonic, wish.finish_seconds)
    throttle = Throttle(rate, time.monotonic, napping(time.sleep, over))
    return Life(session, configured(session, "apply"), flags, wish, throttle, progress)


def end(session: Session, done: Applied) -> None:
    """Write the result, and leave with the exit code where that is not 0."""
    with session.signals.noted():
        code, error = done.code, done.own_error
        arrived = session.signals.arrived
        if arrived is not None:
            code, error = 128 + arrived, Interrupted(arrived)
        silent = isinstance(error, LockedError) and session.common.quiet
        session.warn()
        if session.common.format == "json":
            also = error_data(error) if error else {}
            session.print(json.dumps({**applied_data(done), **also}) + "\n")
        elif not silent:
            session.print("".join(f"{line}\n" for line in applied_lines(done, session.look())))
            _say(session, done, error)
        lost = session.log.lost() if session.log is not None else None
        if lost is not None:
            session.say_error(PartialError(lost))
            code = code or PartialError.code
    if code:
        raise typer.Exit(code)


def _say(session: Session, done: Applied, error: CkptctlError | None) -> None:
    """Say on stderr what went wrong: stdout may go elsewhere, and cron asks for no exit code."""
    if error is not None:
        session.say_error(error)
        return
    amiss = [part.pruned.name for part in done.parts if _amiss(part, session.common)]
    amiss += [f"the tier {lost.tier}" for lost in done.lost]
    amiss += [problem.text for problem in done.problems if problem.code == "no-such-run"]
    if amiss:
        them = ", ".join(dict.fromkeys(amiss))
        session.say_error(PartialError(f"not everything could be done: {them}"))


def _amiss(part: Part, common: Common) -> bool:
    """Whether there is something to say of a run; a lock of another process is none with -q."""
    silent = LockedError if common.quiet else ()
    return part.unfinished or any(not isinstance(error, silent) for error in part.errors)
