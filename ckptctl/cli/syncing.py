"""How every command that copies ends: its result on stdout, its exit code."""

from __future__ import annotations

import json
import sys

import typer

from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, Interrupted, PartialError, UsageError
from ckptctl.transfer.outcome import Synced, is_unfinished
from ckptctl.ui.data import error_data
from ckptctl.ui.syncing import result_csv, result_data, result_paths, sync_data, sync_table
from ckptctl.units import parse_size


def end(session: Session, report: Synced) -> None:
    """Write the result, and leave with the exit code where that is not 0."""
    with session.signals.noted():
        session.warn()
        code, error = verdict(session, report)
        output = session.common.format
        shown = sys.stdout.isatty()
        if output == "json":
            also = error_data(error) if error else {}
            session.print(json.dumps({**sync_data(report), **also}) + "\n")
        elif output == "jsonl":
            session.print("".join(json.dumps(result_data(r)) + "\n" for r in report.results))
        elif output == "csv":
            session.print(result_csv(report, shown=shown))
        elif output == "paths":
            session.print(result_paths(report, null=session.common.null, shown=shown))
        else:
            lines = sync_table(report, session.look())
            session.print("".join(f"{line}\n" for line in lines))
        if error is not None and output != "json":
            session.say_error(error)
        lost = session.log.lost() if session.log is not None else None
        if lost is not None:
            session.say_error(PartialError(lost))
            code = code or PartialError.code
    if code:
        raise typer.Exit(code)


def verdict(session: Session, report: Synced) -> tuple[int, CkptctlError | None]:
    """Return the exit code, and the error where it is that of the whole."""
    arrived = session.signals.arrived
    if arrived is not None:
        return 128 + arrived, Interrupted(arrived)
    errors = [run.error for run in report.runs if run.error is not None]
    done = any(run.did for run in report.runs)
    if errors and len(report.runs) == 1:
        # What was copied before stays copied: that is no plain refusal.
        return (PartialError.code if done else errors[0].code), errors[0]
    unfinished = any(is_unfinished(result) for result in report.results)
    return (PartialError.code if errors or unfinished else 0), None


def rate_of(text: str | None) -> int | None:
    """Return the bytes a second of --bwlimit.  UsageError."""
    if text is None:
        return None
    try:
        rate = parse_size(text.removesuffix("/s"))
    except ValueError as error:
        raise UsageError(f"--bwlimit: {error}") from None
    if rate <= 0:
        raise UsageError("--bwlimit: must be more than 0; leave it out for no limit")
    return rate
