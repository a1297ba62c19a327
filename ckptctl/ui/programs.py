"""What programs read line by line: JSON lines, CSV and paths.

Paths, and names in CSV, are the exact bytes of the file system once written with the error handler
`surrogateescape`; only `shown=True`, for a terminal, escapes what one would obey.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import chain

from ckptctl.decision import Verdict
from ckptctl.model import Checkpoint
from ckptctl.patterns import later
from ckptctl.report import Report
from ckptctl.ui import printable
from ckptctl.ui.data import checkpoint_data, decision_data
from ckptctl.ui.pruning import deleted, last_outcomes, why

_BEFORE = ("run", "name", "path", "format", "kind", "family", "step", "epoch", "saved_at", "bytes")
_AFTER = ("state", "resumable", "tags", "pinned", "pointers", "aliases", "doomed_at", "problems")
LIST_COLUMNS = (*_BEFORE, *_AFTER)
"""Columns of `list -o csv`, before one for each metric; several values are joined by `;`."""
PRUNE_COLUMNS = ("verdict", "status", "why", "error", *LIST_COLUMNS)
"""Columns of `prune -o csv`, before one for each metric: `status` is done, failed, skipped or empty."""
_NO_BYTE = later("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that stand for no byte


def json_lines(report: Report) -> Iterator[str]:
    """Yield one checkpoint a line (`list`), or one decision a line (`prune`)."""
    dumps = json.JSONEncoder(allow_nan=False).encode
    for run in report.runs:
        for checkpoint in run.checkpoints:
            yield dumps(checkpoint_data(checkpoint)) + "\n"
        for decision in run.decisions:
            yield dumps({"run": run.name, **decision_data(decision)}) + "\n"


def paths(report: Report, *, null: bool, shown: bool) -> Iterator[str]:
    """Yield the path of each checkpoint listed, deleted, or that a dry run would delete."""
    end = "\0" if null else "\n"
    for run in report.runs:
        listed = [c.path for c in run.checkpoints]
        for path in [*listed, *deleted(run, dry_run=report.dry_run)]:
            yield (printable.name(path) if shown else path) + end


def csv_lines(report: Report, *, shown: bool) -> Iterator[str]:
    """Yield a header and a row for each checkpoint.

    A metric has its own name as its column, or `metrics.NAME` where that is one of ours.
    """
    pruned = report.command != "list"
    columns = PRUNE_COLUMNS if pruned else LIST_COLUMNS
    found = list(_pruned(report) if pruned else _listed(report))
    metrics = list(dict.fromkeys(name for _, c in found for name in c.metrics))
    heads = [f"metrics.{name}" if name in columns else name for name in metrics]
    writer = csv.writer(_Line(), lineterminator="\n")
    for row in chain([[*columns, *heads]], (_row(own, c, metrics) for own, c in found)):
        cells = [printable.text(cell) if shown else _NO_BYTE.sub("\ufffd", cell) for cell in row]
        yield str(writer.writerow(cells))


class _Line:
    """A file for `csv.writer` whose write returns the line, which writerow hands on."""

    def write(self, line: str) -> str:
        """Return the line."""
        return line


def _listed(report: Report) -> Iterator[tuple[Sequence[str], Checkpoint]]:
    for run in report.runs:
        yield from (((), checkpoint) for checkpoint in run.checkpoints)


def _pruned(report: Report) -> Iterator[tuple[Sequence[str], Checkpoint]]:
    """Yield the columns of a decision, and its checkpoint."""
    for run in report.runs:
        outcomes = last_outcomes(run)
        for decision in run.decisions:
            doomed = decision.verdict is Verdict.DELETE
            outcome = outcomes.get(decision.checkpoint.path) if doomed else None
            status, error = (outcome.status, outcome.error or "") if outcome else ("", "")
            yield (decision.verdict, status, "; ".join(why(decision)), error), decision.checkpoint


def _row(own: Sequence[str], checkpoint: Checkpoint, metrics: Sequence[str]) -> list[str]:
    data = checkpoint_data(checkpoint)
    data["problems"] = [problem.code for problem in checkpoint.problems]
    values = [data[column] for column in LIST_COLUMNS]
    return [*own, *map(_cell, values), *(_cell(checkpoint.metrics.get(name)) for name in metrics)]


def _cell(value: object) -> str:
    """Return a value as text: null is empty, booleans are as in JSON, several joined by `;`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ";".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
