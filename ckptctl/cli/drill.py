"""`ckptctl drill`: rehearse a resume from each tier before one is needed."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.completing import locations
from ckptctl.cli.drilling import SCRATCH, Ready, ready, rehearsed, sweep_scratch
from ckptctl.cli.options import Common
from ckptctl.cli.rehearsing import stands
from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, PartialError, RefusedError, UsageError
from ckptctl.model import Problem
from ckptctl.stores.local import LocalStore
from ckptctl.ui import printable
from ckptctl.ui.drilling import Drilled, drill_csv, drill_data, drill_table, result_data
from ckptctl.ui.progress import Progress
from ckptctl.units import format_size

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="Names of runs on the tiers, or locations; by default all runs of all tiers.",
        show_default=False,
        autocompletion=locations,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillOptions:
    """The options of `drill` alone."""

    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="DIR", help="Where to fetch to for a while (default $TMPDIR)."
        ),
    ] = None


def drill(common: Common, options: DrillOptions, runs: Runs = None) -> None:
    """Rehearse a resume from each tier: fetch it, read every byte, and say how long that takes.

    It fetches what `resolve latest` finds on that tier alone. Nothing is written on a tier, and what was fetched is removed again. Exit 6 where a checkpoint
    is damaged or nothing on a tier can be resumed from, 7 where a tier cannot be read, 4 where the
    largest does not fit into DIR; of several the highest.
    """
    if any(not run.strip() for run in runs or ()):
        raise UsageError(
            "RUN is empty; nothing was fetched",
            "if it comes from a variable, that is not set; without RUN all runs are meant",
        )
    # Each is proven, so that its age says nothing.
    session = Session(common=replace(common, settle="0s"))
    session.open(runs[0] if runs and not runs[0].startswith("@") else ".")
    into = _into(session, options.into)
    with session.progress() as progress:
        progress.started("listing")
        found, problems = stands(session, runs or ())
        every = [ready(session, stand) for stand in found]
        sweep_scratch(into, session.clock())
        _refuse_large(into, every)
        drilled = list(_all(session, every, into, progress))
    _end(session, drilled, problems)


def _into(session: Session, into: str | None) -> str:
    """Return the directory to fetch to.  UsageError where it cannot be one."""
    path = tempfile.gettempdir() if into is None else into
    if not os.path.isdir(path):
        raise UsageError(f"--into: {path!r} is no directory; nothing was fetched")
    place = session.config.place(path) if session.config else None
    if place is not None:
        raise UsageError(
            f"{path}: lies on the tier {place[0].name}, where a copy would be taken for a run; "
            "nothing was fetched",
            "name a directory elsewhere with --into",
        )
    return os.path.abspath(path)


def _refuse_large(into: str, every: Sequence[Ready]) -> None:
    """Refuse where the largest has no room: one is fetched at a time."""
    largest = max(every, key=lambda one: one.bytes)
    room = os.statvfs(into)
    free = room.f_bavail * room.f_frsize
    if largest.bytes > free:
        what = largest.drilled
        where = f" on {what.tier}" if what.tier else ""
        raise RefusedError(
            f"{into}: has {format_size(free)} free, and {what.checkpoint} of {what.run}{where} has "
            f"{format_size(largest.bytes)}; nothing was fetched",
            "name a directory with more room with --into, or drill the other runs by name",
        )


def _all(
    session: Session, every: Sequence[Ready], into: str, progress: Progress
) -> Iterator[Drilled]:
    for one in every:
        if one.resolution is None:
            yield one.drilled
        elif session.late():
            code = PartialError.code
            yield replace(one.drilled, error="not begun within --timeout", code=code)
        else:
            with _scratch(session, into) as folder:
                name = os.path.basename(one.drilled.run) or "run"
                yield rehearsed(session, one, os.path.join(folder, name), progress)


@contextmanager
def _scratch(session: Session, into: str) -> Iterator[str]:
    """Make a directory of our own, and remove it with all that is in it, a signal or not."""
    name = f"{SCRATCH}{secrets.token_hex(8)}"
    path = os.path.join(into, name)
    try:
        try:
            os.mkdir(path, 0o700)
        except OSError as error:
            raise UsageError(
                f"{into}: nothing can be made there ({error.strerror}); nothing was fetched",
                "name another directory with --into",
            ) from error
        yield path
    finally:
        with session.signals.noted(), closing(LocalStore(into)) as store:
            for left in store.remove_tree(name).left:
                session.say(f"warning: could not be removed: {printable.text(left)}")


def _end(session: Session, drilled: Sequence[Drilled], problems: Sequence[Problem]) -> None:
    """Write the result, and leave with the exit code."""
    session.warn()
    session.signals.heed()
    output = session.common.format
    if output == "json":
        session.print(json.dumps(drill_data(drilled, problems)) + "\n")
    elif output == "jsonl":
        session.print("".join(json.dumps(result_data(one)) + "\n" for one in drilled))
    elif output == "csv":
        session.print(drill_csv(drilled))
    elif output == "paths":
        end = "\0" if session.common.null else "\n"
        session.print("".join(f"{one.path}{end}" for one in drilled if one.error is None))
    else:
        lines = drill_table(drilled, problems, session.look())
        session.print("".join(f"{line}\n" for line in lines))
    for one in drilled if output in {"jsonl", "csv", "paths"} else ():
        if one.error is not None:
            where = f"{one.run} from {one.tier}" if one.tier else one.run
            session.say_error(CkptctlError(f"{where}: {one.error}"))
    if code := max(one.code for one in drilled):
        raise typer.Exit(code)
