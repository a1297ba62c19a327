"""The table of `prune`: what stays, what goes, and why; then what was really done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ckptctl.decision import Decision, Reason, Verdict
from ckptctl.model import Checkpoint
from ckptctl.report import Outcome, Report, RunReport, freed
from ckptctl.ui import printable, words
from ckptctl.ui.columns import GAP, Column, Look, rows, width_of
from ckptctl.ui.listing import numbers, shown_epoch, shown_step
from ckptctl.units import format_size

_WHY = 30
"""Columns below which reasons stand under their row, not beside it."""
_DONE = {
    "delete": "deleted", "clean": "removed", "trash": "trashed", "schedule": "scheduled",
    "purge": "purged",
}  # fmt: skip
_STYLES = {
    "delete": "yellow",
    "failed": "red",
    "skipped": "yellow",
    **dict.fromkeys(_DONE.values(), "dim"),
}


def prune_table(report: Report, look: Look) -> Iterator[str]:
    """Yield the lines for people, of a plan (a dry run) or of what became of it."""
    several = len(report.runs) > 1
    for run in report.runs:
        if several:
            yield words.title(run, look)
        yield from _run(run, look, dry_run=report.dry_run)
        if several:
            yield ""
    if not report.runs:
        yield "no checkpoints here: nothing to delete"
    if report.unmatched:
        names = words.listed(report.unmatched, look)
        said = f"left alone, as no entry of `runs` in the configuration matches them: {names}"
        yield from words.folded("", said, look)
    if several:
        begin = f"{words.count(len(report.runs), 'run')}: "
        yield from words.folded("", begin + _summary(report.runs, dry_run=report.dry_run), look)
        yield from words.failed(report.runs, look)
    yield from words.problems((), report.problems, look)


def why(decision: Decision) -> tuple[str, ...]:
    """Return every reason of what is kept, or what it would have taken to keep the rest."""
    if decision.reasons:
        return tuple(map(_reason, decision.reasons))
    return decision.short or ("no rule keeps it",)


def deleted(run: RunReport, *, dry_run: bool) -> Iterator[str]:
    """Yield the path of each checkpoint that was deleted, or that a dry run would delete.

    What an earlier prune had begun to delete counts, unless a checkpoint was saved there anew.
    """
    if dry_run:
        yield from (c.path for c in _doomed(run) if run.error is None)
        return
    kept = {d.checkpoint.path for d in run.decisions if d.verdict is Verdict.KEEP}
    for path, outcome in last_outcomes(run).items():
        if outcome.status == "done" and path not in kept:
            yield path


def last_outcomes(run: RunReport) -> Mapping[str, Outcome]:
    """Return by path what happened last: an earlier prune's deletion is finished before."""
    return {outcome.path: outcome for outcome in run.outcomes}


def _reason(reason: Reason) -> str:
    """Return a reason in words; the rule's name only where its text does not begin with it."""
    if reason.text.startswith(reason.rule):
        return reason.text
    return f"{reason.rule}{' ' if reason.text[:1] == '#' else ': '}{reason.text}"


def _doomed(run: RunReport) -> list[Checkpoint]:
    """Return what is to go now; what is scheduled for later is not."""
    return [d.checkpoint for d in run.decisions if d.verdict is Verdict.DELETE and not d.waits]


def _run(run: RunReport, look: Look, *, dry_run: bool) -> Iterator[str]:
    if run.decisions:
        yield from _table(run, look)
    if run.error is None or run.outcomes:
        yield from words.folded("", _summary([run], dry_run=dry_run), look)
    yield from _undone(run.outcomes, look)
    yield from words.problems((d.checkpoint for d in run.decisions), run.problems, look)
    if run.error is not None:
        yield from words.error(run.error, look)


def _table(run: RunReport, look: Look) -> Iterator[str]:
    """Yield the rows, reasons beside them where there is room, else indented below them."""
    found = [decision.checkpoint for decision in run.decisions]
    verdicts = _verdicts(run)
    name = Column(head="name", cells=[printable.name(c.name) for c in found])
    optional = [
        numbers("step", [shown_step(c) for c in found]),
        numbers("epoch", ["" if c.step is not None else shown_epoch(c) for c in found]),
        numbers("size", [format_size(c.bytes) for c in found]),
    ]
    columns = [
        Column(head="", cells=verdicts, style=lambda cell: _STYLES.get(cell, "")),
        name,
        *(column for column in optional if column is not None),
    ]
    reasons = [[printable.text(reason) for reason in why(d)] for d in run.decisions]
    room = look.width - width_of(columns) - len(GAP)
    if room >= _WHY:
        yield from _beside(columns, reasons, room, look)
        return
    excess = width_of(columns) - look.width
    if excess > 0:
        space = max(name.width - excess, _WHY)
        columns[1] = Column(head="name", cells=printable.elide_all(name.cells, space))
    indent = " " * (columns[0].width + 2 * len(GAP))
    lines = rows(columns, look)
    yield next(lines)
    for line, reason in zip(lines, reasons, strict=True):
        yield line
        yield from (indent + text for text in printable.pack(reason, look.width - len(indent)))
    if columns[1].cells != name.cells:
        yield from words.shortened(look)


def _beside(
    columns: Sequence[Column], reasons: Sequence[Sequence[str]], room: int, look: Look
) -> Iterator[str]:
    """Yield rows with a last column that may take several lines; the one before it ends each row."""
    lines = rows(columns, look)
    yield next(lines) + GAP + look.paint("why", "bold")
    indent = " " * width_of(columns)
    for line, reason in zip(lines, reasons, strict=True):
        first, *others = printable.pack(reason, room)
        yield line + GAP + first
        yield from (indent + GAP + other for other in others)


def _verdicts(run: RunReport) -> list[str]:
    """Return the first word of each row: what was decided, or what came of it."""
    done = last_outcomes(run)
    return [_verdict(decision, done.get(decision.checkpoint.path)) for decision in run.decisions]


def _verdict(decision: Decision, outcome: Outcome | None) -> str:
    if outcome is None and decision.waits:
        return "scheduled"
    if outcome is None or decision.verdict is Verdict.KEEP:
        return decision.verdict
    return _DONE.get(outcome.action, outcome.action) if outcome.status == "done" else outcome.status


def _summary(runs: Sequence[RunReport], *, dry_run: bool) -> str:
    """Return how many of how many, and their sizes."""
    every = [d.checkpoint for run in runs for d in run.decisions]
    doomed = [c for run in runs for c in _doomed(run)]
    gone = {path for run in runs for path in deleted(run, dry_run=dry_run)}
    chosen = [c for c in doomed if c.path in gone]
    size = format_size(words.total_bytes(every))
    of_all = f"of {words.count(len(every), 'checkpoint')}"
    if not doomed:
        said = f"nothing to delete: {words.count(len(every), 'checkpoint')} kept ({size})"
    elif dry_run:
        said = f"would delete {len(chosen):,} {of_all}"
    else:
        short = f" ({len(doomed):,} were to go)" if len(chosen) < len(doomed) else ""
        later = {o.action for run in runs for o in run.outcomes} == {"schedule"}
        said = f"{'scheduled' if later else 'deleted'} {len(chosen):,} {of_all}{short}"
    if doomed:
        said += f", {format_size(words.total_bytes(chosen))} of {size}"
    if dry_run:
        return f"{said}; nothing was changed"
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    finished = sum(outcome.status == "done" for outcome in outcomes) - len(chosen)
    if finished:
        said += f"; finished {words.count(finished, 'deletion')} of an earlier prune"
    size = format_size(sum(freed(run) for run in runs))
    return f"{said}; freed {size}" if outcomes else said


def _undone(outcomes: Sequence[Outcome], look: Look) -> Iterator[str]:
    """Yield a line for each reason why something failed or was skipped, with those it befell."""
    befell: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.status != "done":
            befell[outcome.status, outcome.error or "no reason is known"].append(outcome.checkpoint)
    for (status, error), names in sorted(befell.items()):
        many = f"{len(names):,}: " if len(names) > 1 else ""
        said = f"{many}{words.listed(names, look)}: {printable.text(error)}"
        for index, line in enumerate(words.folded(f"{status} ", said, look)):
            begin = status if index == 0 else ""
            yield look.paint(begin, _STYLES[status]) + line[len(begin) :]
