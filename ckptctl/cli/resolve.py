"""`ckptctl resolve`: the path of the checkpoint from which a job is to go on."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from ckptctl.cli.completing import selectors
from ckptctl.cli.naming import apart, near
from ckptctl.cli.options import Common, Location
from ckptctl.cli.resolving import NOTHING_LOST, Resolution, resolve_in
from ckptctl.cli.runtime import Session
from ckptctl.cli.tasks import caller_of, step_name
from ckptctl.cli.tier_runs import Everywhere, run_everywhere
from ckptctl.errors import PartialError, UsageError
from ckptctl.selecting import Selector, parse_selector
from ckptctl.ui import printable
from ckptctl.ui.data import VERSION, checkpoint_data
from ckptctl.ui.progress import Progress

if TYPE_CHECKING:
    from ckptctl.cli.fetching import Fetched
    from ckptctl.cli.step_fetch import Take

SelectorText = Annotated[
    str,
    typer.Argument(
        metavar="SELECTOR",
        help="A name, latest, saved, best[:METRIC[:min|max]], step:N, alias:A or tag:T.",
        show_default=False,
        autocompletion=selectors,
    ),
]
MetricName = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME[:min|max]", help="What `best` goes by."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """The options of `resolve` alone."""

    fetch: Annotated[
        str | None,
        typer.Option(
            "--fetch",
            metavar="DIR",
            help="Copy it, with its pointers, to this directory of the run, and print its path there.",
        ),
    ] = None
    reachable: Annotated[
        bool,
        typer.Option(
            "--reachable", help="Where a tier cannot be read, take the newest of the rest (exit 5)."
        ),
    ] = False
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--files",
            metavar="GLOB",
            help="With --fetch: only files that match, %t being the SLURM task, %n the node; repeatable.",
        ),
    ] = None
    metric: MetricName = None


def resolve(
    common: Common, options: ResolveOptions, selector: SelectorText, location: Location = None
) -> None:
    """Print the path of a checkpoint to resume from: the newest that is whole, on any tier.

    Each is proven whole at that moment, whatever its age; one that is not falls back to the next,
    and stderr says so. Exit 8 only where every tier was read and holds none, 7 where one cannot be
    read. It writes nothing, but with --fetch a hold at the source while it copies: what is there and
    equal is not sent again, and nothing is printed where the copy is not whole (exit 5). All tasks
    of a SLURM step fetch the same one.
    """
    # A checkpoint is proven here, so that its age says nothing.
    session = Session(common=replace(common, settle="0s"))
    if options.fetch == "":
        raise UsageError("--fetch is empty; nothing was touched")
    if options.files and options.fetch is None:
        raise UsageError("--files goes with --fetch; nothing was touched")
    selector, location = apart(selector, location)
    wanted = parse_selector(selector, options.metric)
    session.open(near(selector, location))
    with session.progress() as progress:

        def looked(lost: Mapping[str, str] = NOTHING_LOST) -> Resolution:
            progress.started("listing")
            everywhere = run_everywhere(session, location)
            return resolve_in(session, everywhere, wanted, reachable=options.reachable, lost=lost)

        if options.fetch is None:
            found, copy = looked(), None
        else:
            to = session.locate(options.fetch)
            take = _taking(session, to, options.files, progress)
            together = _together(session, location, wanted, options, take, progress)
            found, copy = together or _fetched(session, looked, take)
    for note in (*found.notes, *(copy.notes if copy else ())):
        session.say(f"warning: {printable.text(note)}")
    session.warn()
    session.print(_text(found, copy, common))
    if found.errors:
        for error in found.errors:
            session.say_error(error)
        raise typer.Exit(PartialError.code)


def _taking(session: Session, to: str, files: list[str] | None, progress: Progress) -> Take:
    """Return what fetches a checkpoint, or the files of it that are meant.  UsageError."""
    if not files:
        from ckptctl.cli.fetching import fetch  # noqa: PLC0415 - most calls copy nothing

        return lambda resolved: fetch(session, resolved, to, progress)
    from ckptctl.cli.fetch_files import fetch_files, globs_of  # noqa: PLC0415 - the same

    globs = globs_of(files, os.environ)
    return lambda resolved: fetch_files(session, resolved, to, globs, progress)


def _together(
    session: Session, location: str | None, wanted: Selector, options: ResolveOptions, take: Take, progress: Progress,
) -> tuple[Resolution, Fetched] | None:  # fmt: skip
    """Fetch what all tasks of this step fetch; None where there are no others, or no place to meet them."""
    caller = caller_of(None, os.environ)
    step = step_name(os.environ, f"{location} {wanted.text} {options.metric}")
    if caller is None or step is None:
        return None
    from ckptctl.cli.step_fetch import fetched_together  # noqa: PLC0415 - most calls are no step's
    from ckptctl.cli.step_place import Task  # noqa: PLC0415 - the same

    def look() -> Everywhere:
        progress.started("listing")
        return run_everywhere(session, location)

    task = Task(caller=caller, step=step, reachable=options.reachable)
    return fetched_together(session, look, wanted, task, take, progress)


def _fetched(
    session: Session, looked: Callable[[Mapping[str, str]], Resolution], take: Take
) -> tuple[Resolution, Fetched]:
    """Fetch what is found; what turns out damaged when it is read falls back to the next.

    Where it went meanwhile all is looked at anew: a run that goes on has a newer one by then.
    """
    from ckptctl.cli.fetching import LostError, refuse_endless  # noqa: PLC0415 - most calls copy nothing

    lost: dict[str, str] = {}
    changed = 0
    while True:
        found = looked(lost)
        try:
            return found, take(found.resolved)
        except LostError as error:
            if error.damaged:
                lost[error.path] = error.text
                continue
            changed += 1
            refuse_endless(error, changed)
            session.say(f"warning: {printable.text(error.text)}; looking anew")


def _text(found: Resolution, copy: Fetched | None, common: Common) -> str:
    """Return what goes to stdout: the path alone, unless a program asked for more."""
    one = found.resolved
    path = copy.path if copy else one.checkpoint.path
    data = {**checkpoint_data(one.checkpoint), "path": path, "tier": one.tier, "why": one.why}
    if copy:
        data["fetched"] = {
            "from": copy.source,
            "status": copy.status,
            "bytes": copy.bytes,
            "bytes_sent": copy.bytes_sent,
            "seconds": copy.seconds,
            "files": copy.files,
        }
    if common.format == "json":
        problems = [{"code": "unreadable", "text": error.message} for error in found.errors]
        problems += [{"code": "warning", "text": note} for note in found.notes]
        whole = {"schema": "ckptctl/resolve", "version": VERSION, "results": [data]}
        return json.dumps({**whole, "problems": problems}) + "\n"
    if common.format == "jsonl":
        return json.dumps(data) + "\n"
    if common.format == "csv":
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("tier", "name", "step", "path", "why"))
        rows.writerow((one.tier, one.checkpoint.name, one.checkpoint.step, path, one.why))
        return text.getvalue()
    if common.null:
        return f"{path}\0"
    return f"{printable.text(path) if sys.stdout.isatty() else path}\n"
