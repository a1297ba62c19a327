"""What `sync` prints: what became of each checkpoint, what went wrong, and the sum."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ckptctl.model import NS, Problem
from ckptctl.report import RunReport
from ckptctl.transfer.outcome import Shipped, Status, Synced
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Column, Look, rows
from ckptctl.ui.data import VERSION, error_data
from ckptctl.units import format_duration, format_size

_STYLES = {
    Status.DONE: "green",
    Status.EQUAL: "dim",
    Status.FAILED: "red",
    Status.CONFLICT: "red",
    Status.SKIPPED: "yellow",
    Status.PLANNED: "cyan",
}
_FEW = 50
"""Equal ones of a run that are shown one by one."""


def sync_data(report: Synced) -> dict[str, object]:
    """Return the one JSON object; section 7 of the contract."""
    return {
        "schema": "ckptctl/sync",
        "version": VERSION,
        "dry_run": report.dry_run,
        "results": [result_data(result) for result in report.results],
        "runs": [
            {
                "name": run.name,
                "location": run.location,
                "destination": run.destination,
                "problems": _problems(run.problems),
                "error": None if run.error is None else _error(error_data(run.error)),
            }
            for run in report.runs
        ],
        "problems": _problems(report.problems),
    }


def result_data(result: Shipped) -> dict[str, object]:
    """Return the JSON object of one checkpoint or pointer."""
    return {
        "run": result.run,
        "checkpoint": result.checkpoint,
        "path": result.path,
        "action": result.action,
        "status": result.status,
        "bytes": result.bytes,
        "bytes_sent": result.bytes_sent,
        "seconds": result.seconds,
        "error": result.error,
    }


def result_csv(report: Synced, *, shown: bool) -> str:
    """Return a line of headings and one a result; `shown` where a person would get it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    clean: Callable[[str], str] = printable.text if shown else str
    writer.writerow(
        result_data(Shipped(run="", checkpoint="", path="", action="", status=Status.DONE))
    )
    for result in report.results:
        cells = ("" if value is None else str(value) for value in result_data(result).values())
        writer.writerow([clean(cell) for cell in cells])
    return text.getvalue()


def result_paths(report: Synced, *, null: bool, shown: bool) -> str:
    """Return the paths at the destination of what is whole there now, one a line."""
    end = "\0" if null else "\n"
    clean: Callable[[str], str] = printable.text if shown and not null else str
    whole = {Status.DONE, Status.EQUAL}
    return "".join(clean(r.path) + end for r in report.results if r.status in whole)


def sync_table(report: Synced, look: Look) -> Iterator[str]:
    """Yield the table for people, what went wrong below it, and the sum."""
    for run in report.runs:
        if len(report.runs) > 1:
            yield words.title(RunReport(name=run.name, location=run.location), look)
        shown = [r for r in run.results if r.status is not Status.EQUAL]
        if look.verbose or len(run.results) <= _FEW:
            shown = list(run.results)
        if shown:
            yield from rows(_columns(shown), look)
        if len(shown) < len(run.results):
            yield from words.note(
                f"{len(run.results) - len(shown):,} more are there already: -v or --json shows them all",
                look,
            )
        for result in run.results:
            if result.error is not None:
                said = f"{printable.name(result.checkpoint)}: {printable.text(result.error)}"
                yield from words.folded("! ", said, look)
        yield from words.problems((), run.problems, look)
        if run.error is not None and len(report.runs) > 1:
            yield from words.error(run.error, look)
    yield from words.problems((), report.problems, look)
    yield _sum(report)


def _columns(results: Sequence[Shipped]) -> list[Column]:
    def style(cell: str) -> str:
        return _STYLES.get(Status(cell), "") if cell in set(Status) else ""

    return [
        Column(head="CHECKPOINT", cells=[printable.name(r.checkpoint) for r in results]),
        Column(head="ACTION", cells=[r.action for r in results]),
        Column(head="STATUS", cells=[str(r.status) for r in results], style=style),
        Column(head="SIZE", cells=[format_size(r.bytes) for r in results], right=True),
        Column(head="SENT", cells=[format_size(r.bytes_sent) for r in results], right=True),
        Column(head="TO", cells=[printable.name(r.path) for r in results]),
    ]


def _sum(report: Synced) -> str:
    results = [r for r in report.results if r.action != "point"]
    if not results:
        failed = any(run.error is not None for run in report.runs)
        return "no checkpoint was copied and proven" if failed else "nothing to copy"
    moved = sum(r.action == "move" and r.status is Status.DONE for r in results)
    moving = sum(r.action == "move" and r.status is Status.PLANNED for r in results)
    counts = Counter(r.status for r in results)
    counts[Status.DONE] -= moved
    counts[Status.PLANNED] -= moving
    said = [f"{moved:,} proven there and deleted here"] if moved else []
    said += [f"{moving:,} to be deleted here once proven there"] if moving else []
    said += [f"{counts[status]:,} {_WORDS[status]}" for status in Status if counts[status]]
    sent = sum(r.bytes_sent for r in results)
    seconds = sum(r.seconds for r in results)
    if sent:
        rate = f" at {format_size(round(sent / seconds))}/s" if seconds > 0 else ""
        said.append(f"{format_size(sent)} sent in {format_duration(round(seconds * NS))}{rate}")
    return ", ".join(said)


_WORDS = {
    Status.DONE: "copied and proven",
    Status.EQUAL: "there already",
    Status.PART: "sent in part",
    Status.FAILED: "failed",
    Status.SKIPPED: "skipped",
    Status.CONFLICT: "in conflict",
    Status.PLANNED: "to be copied",
}


def _problems(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [problem._asdict() for problem in problems]


def _error(data: dict[str, object]) -> dict[str, object]:
    return {key: data[key] for key in ("code", "kind", "message", "hint")}
