"""What `undo` and `purge` print: one line for each checkpoint that came back or went for good."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping

from ckptctl.report import Outcome, Report, RunReport
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Look
from ckptctl.units import format_size

_SAID = {
    ("restore", "done"): "brought back",
    ("restore", "planned"): "can come back",
    ("purge", "done"): "freed",
    ("purge", "planned"): "would go",
}
COLUMNS = ("run", "checkpoint", "path", "action", "status", "bytes", "error")


def results(report: Report) -> list[Mapping[str, object]]:
    """Return the JSON objects of `results`."""
    return [_row(run, outcome) for run in report.runs for outcome in run.outcomes]


def _row(run: RunReport, outcome: Outcome) -> Mapping[str, object]:
    return {
        "run": run.name,
        "checkpoint": outcome.checkpoint,
        "path": outcome.path,
        "action": outcome.action,
        "status": outcome.status,
        "bytes": outcome.bytes,
        "error": outcome.error,
    }


def render_trash(report: Report, output: str, look: Look, *, null: bool, shown: bool) -> str:
    """Return the result as jsonl, csv, paths, or lines for people."""
    rows = results(report)
    if output == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    if output == "paths":
        end = "\0" if null else "\n"
        paths = [str(row["path"]) for row in rows if row["status"] in {"done", "planned"}]
        return "".join((printable.name(path) if shown else path) + end for path in paths)
    if output == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(
            [str(row[key] if row[key] is not None else "") for key in COLUMNS] for row in rows
        )
        return text.getvalue()
    return "".join(f"{line}\n" for line in _lines(report, look))


def _lines(report: Report, look: Look) -> Iterator[str]:
    outcomes = [outcome for run in report.runs for outcome in run.outcomes]
    room = max((printable.cells(printable.name(o.checkpoint)) for o in outcomes), default=0)
    for outcome in outcomes:
        said = _SAID.get((outcome.action, outcome.status), outcome.status)
        name = printable.name(outcome.checkpoint)
        pad = " " * (room - printable.cells(name))
        line = f"{said:<12}  {name}{pad}  {format_size(outcome.bytes):>9}"
        yield from words.folded(
            "", f"{line}  {printable.text(outcome.error)}" if outcome.error else line, look
        )
    done = [outcome for outcome in outcomes if outcome.status in {"done", "planned"}]
    size = format_size(sum(outcome.bytes for outcome in done))
    if not outcomes:
        yield f"nothing to {'free' if report.command == 'purge' else 'bring back'}"
    elif report.command == "undo" and not report.dry_run:
        yield f"brought back {words.count(len(done), 'checkpoint')}, {size}"
    elif report.command == "purge" and not report.dry_run:
        yield f"freed {format_size(report.freed_bytes)} of {words.count(len(done), 'checkpoint')}"
    else:
        yield f"{words.count(len(done), 'checkpoint')}, {size}; nothing was changed"
