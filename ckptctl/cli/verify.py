"""`ckptctl verify`: prove that checkpoints are whole, and that no byte of them has changed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ckptctl.cli.completing import one_of
from ckptctl.cli.options import Common, Locations
from ckptctl.cli.run_by_run import Read, ReadPlace, read_place, read_places
from ckptctl.cli.runtime import Session
from ckptctl.cli.verify_run import VerifyRun, VerifyWish
from ckptctl.errors import DamagedError, NotFoundError, UsageError
from ckptctl.model import Checkpoint
from ckptctl.report import Report, RunReport, verdict
from ckptctl.ui.data import error_data
from ckptctl.ui.verifying import (
    Verification,
    result_csv,
    result_data,
    verification_data,
    verification_table,
    wrong_paths,
)
from ckptctl.verdicts import BAD, Level

if TYPE_CHECKING:
    from ckptctl.parts.part import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The options of `verify` alone."""

    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="Only the checkpoint of this name; repeatable."
        ),
    ] = None
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="names|structure|digest",
            help="names: markers and members; structure: headers and indexes too; digest: every byte.",
            autocompletion=one_of(*Level),
        ),
    ] = Level.STRUCTURE
    record: Annotated[
        bool,
        typer.Option("--record", help="Note the digest of each file that has none yet."),
    ] = False
    reread: Annotated[
        bool,
        typer.Option(
            "--reread",
            help="Read unchanged files again, rather than trust digests and checksums of a server.",
        ),
    ] = False
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="P%",
            help="Read only files, chosen at random, that hold P% of the bytes.",
        ),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="LOCATION", help="Compare with the same run at another location."
        ),
    ] = None
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="K/N",
            help="Read share K (from 0) of N, `node`: the nodes of the SLURM job. "
            "Default in a step of several tasks; 0/1 reads all.",
        ),
    ] = None
    newer_than: Annotated[
        str | None,
        typer.Option("--newer-than", metavar="D", help="Only what was saved at most D ago."),
    ] = None

    def wish(self, session: Session) -> VerifyWish:
        """Return how each run is to be verified.  Raises UsageError."""
        if self.level not in set(Level):
            raise UsageError(f"--level: {self.level!r} is none of {', '.join(Level)}")
        level = Level(self.level)
        if self.reread and not self.record and level is not Level.DIGEST:
            raise UsageError("--reread goes with --record or --level digest")
        if self.part is not None and (self.sample is not None or self.against is not None):
            raise UsageError("--part goes with neither --sample nor --against")
        if self.sample is not None and (level is not Level.DIGEST or self.record):
            raise UsageError("--sample goes with --level digest, and not with --record")
        caller = _caller(self.part)
        return VerifyWish(
            level=level,
            record=self.record,
            reread=self.reread,
            percent=None if self.sample is None else _percent(self.sample),
            jobs=session.common.jobs or min(4, os.cpu_count() or 1),
            scope=self._scope(caller),
            caller=caller,
        )

    def _scope(self, caller: Caller | None) -> str | None:
        """Return what another call goes on with.

        None where there is none: what is read in part, or was asked for by name, is not what an
        interruption left.
        """
        if self.sample:
            return None
        if self.name:
            # Few files, but in a step they are divided as well.
            named = ", ".join(sorted(self.name))
            return None if caller is None else f"newer than {self.newer_than}, {named}"
        return f"newer than {self.newer_than}"


def _caller(part: str | None) -> Caller | None:
    """Return which of several this call is, None where it is all there is.  UsageError."""
    if part is None and not os.environ.get("SLURM_STEP_ID"):
        return None
    from ckptctl.cli.tasks import caller_of  # noqa: PLC0415 - most calls are no step's

    return caller_of(part, os.environ)


def verify(common: Common, options: VerifyOptions, locations: Locations = None) -> None:
    """Prove that checkpoints are whole: by names, by headers and indexes, or by every byte.

    Exit 6 if anything is incomplete or damaged. `saving` (it changed within the settle time) and
    `unrecorded` (no digest to compare with) are no failures. What is damaged is remembered: list
    shows it, prune keeps it and counts it no more, and a later good result of that level clears it.
    """
    session = Session(common=common)
    session.open(locations[0] if locations else ".")
    wish = options.wish(session)
    newer_ns = session.duration("--newer-than", options.newer_than)
    with session.progress() as progress:
        progress.started("listing")
        places = read_places(session, locations)
        against = read_place(session, options.against) if options.against is not None else None
        _refuse_unknown(places, options.name or ())
        runs = []
        for place in places:
            for read in place.runs:
                chosen = _chosen(session, read, options, newer_ns)
                if options.name and not chosen:
                    continue
                run = VerifyRun(session, place, read, _beside(read, against), wish, progress)
                runs.append(run.verified(chosen))
                if session.signals.stopped():  # the run has caught it, to show what was found
                    break
            if session.signals.stopped():
                break
    report = Verification(
        level=wish.level,
        runs=tuple(runs),
        problems=tuple(problem for place in places for problem in place.problems),
        recorded=options.record,
        took_ns=round((time.monotonic() - session.began) * 1e9),
    )
    _end(session, report)


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = 0.0
    if not text.endswith("%") or not 0 < value <= 100:  # noqa: PLR2004 - percent
        raise UsageError(f"--sample: {text!r} is no share of the bytes: write 5%")
    return value


def _chosen(
    session: Session, read: Read, options: VerifyOptions, newer_ns: int
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints of a run that were asked for."""
    found = read.run.checkpoints if read.run else ()
    if options.name:
        found = tuple(c for c in found if any(_is_called(c, name) for name in options.name))
    if options.newer_than is not None:
        since = session.clock() - newer_ns
        found = tuple(c for c in found if c.saved_ns >= since)
    return found


def _is_called(checkpoint: Checkpoint, name: str) -> bool:
    wanted = name.removeprefix("./").rstrip("/")
    paths = {checkpoint.name, checkpoint.member, f"{checkpoint.run}/{checkpoint.member}"}
    return wanted in paths or os.path.abspath(wanted) == os.path.abspath(checkpoint.path)


def _refuse_unknown(places: Sequence[ReadPlace], names: Sequence[str]) -> None:
    """Refuse a name that no checkpoint has.  NotFoundError."""
    every = [c for place in places for read in place.runs if read.run for c in read.run.checkpoints]
    for name in names:
        if not any(_is_called(c, name) for c in every):
            where = ", ".join(place.location for place in places)
            raise NotFoundError(
                f"{where}: no checkpoint is called {name!r}", "`ckptctl list` shows their names"
            )


def _beside(read: Read, against: ReadPlace | None) -> tuple[ReadPlace, Read | None] | None:
    """Return the same run at the other location, where one was named."""
    if against is None or read.found is None:
        return None
    path = read.found.folder.path
    same = (other for other in against.runs if other.found and other.found.folder.path == path)
    return against, next(same, None)


def _end(session: Session, report: Verification) -> None:
    """Write the result, and leave with the exit code."""
    session.warn()
    errors = tuple(
        RunReport(name=run.name, location=run.location, error=run.error) for run in report.runs
    )
    code, error = verdict(Report(command="verify", runs=errors))
    bad = any(result.status in BAD for result in report.results)
    output = session.common.format
    shown = sys.stdout.isatty()
    if output == "json":
        also = error_data(error) if error and not bad else {}
        session.print(json.dumps({**verification_data(report), **also}) + "\n")
    elif output == "jsonl":
        lines = (json.dumps(result_data(result)) + "\n" for result in report.results)
        session.print("".join(lines))
    elif output == "csv":
        session.print(result_csv(report, shown=shown))
    elif output == "paths":
        session.print(wrong_paths(report, null=session.common.null, shown=shown))
    else:
        lines = (f"{line}\n" for line in verification_table(report, session.look()))
        session.print("".join(lines))
    if error is not None and output != "json":
        session.say_error(error)
    if bad:
        code = DamagedError.code
    if code:
        raise typer.Exit(code)
