"""What `drill` prints: from where a resume works, how long it takes, and why one does not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckptctl.model import NS, Problem
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Column, Look, rows
from ckptctl.ui.data import VERSION
from ckptctl.units import format_duration, format_size

_STYLES = {"ok": "green", "failed": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """One rehearsal: a run from one tier."""

    run: str
    tier: str | None
    checkpoint: str | None = None
    path: str | None = None  # where a resume would take it from
    bytes: int = 0
    bytes_sent: int = 0
    fetch_seconds: float | None = None
    verify_seconds: float | None = None
    error: str | None = None
    code: int = 0  # of that error
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """Whether a resume works."""
        return "ok" if self.error is None else "failed"

    @property
    def rate(self) -> int | None:
        """Bytes a second, while it was fetched."""
        return round(self.bytes_sent / self.fetch_seconds) if self.fetch_seconds else None


def drill_data(drilled: Sequence[Drilled], problems: Sequence[Problem]) -> dict[str, object]:
    """Return the one JSON object."""
    return {
        "schema": "ckptctl/drill",
        "version": VERSION,
        "results": [result_data(one) for one in drilled],
        "problems": [problem._asdict() for problem in problems],
    }


def result_data(one: Drilled) -> dict[str, object]:
    """Return the JSON object of one rehearsal."""
    return {
        "run": one.run,
        "tier": one.tier,
        "checkpoint": one.checkpoint,
        "path": one.path,
        "status": one.status,
        "bytes": one.bytes,
        "fetch_seconds": one.fetch_seconds,
        "verify_seconds": one.verify_seconds,
        "rate": one.rate,
        "error": one.error,
        "notes": list(one.notes),
    }


def drill_csv(drilled: Sequence[Drilled]) -> str:
    """Return a line of headings and one a rehearsal (there is one); what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    lines = [{k: v for k, v in result_data(one).items() if k != "notes"} for one in drilled]
    writer.writerow(lines[0])
    for line in lines:
        writer.writerow("" if value is None else value for value in line.values())
    return text.getvalue()


def drill_table(
    drilled: Sequence[Drilled], problems: Sequence[Problem], look: Look
) -> Iterator[str]:
    """Yield the table for people, what went wrong below it, and what a resume would take."""
    columns = [
        Column(head="RUN", cells=[printable.name(one.run) for one in drilled]),
        Column(head="TIER", cells=[printable.name(one.tier or "-") for one in drilled]),
        Column(head="CHECKPOINT", cells=[printable.name(one.checkpoint or "-") for one in drilled]),
        Column(head="STATUS", cells=[one.status for one in drilled], style=lambda s: _STYLES.get(s, "")),
        Column(head="SIZE", cells=[format_size(one.bytes) for one in drilled], right=True),
        Column(head="FETCH", cells=[_seconds(one.fetch_seconds) for one in drilled], right=True),
        Column(head="RATE", cells=[_rate(one) for one in drilled], right=True),
        Column(head="VERIFY", cells=[_seconds(one.verify_seconds) for one in drilled], right=True),
    ]  # fmt: skip
    yield from rows(columns, look)
    for one in drilled:
        where = printable.name(one.run if one.tier is None else f"{one.run} from {one.tier}")
        if one.error is not None:
            yield from words.folded("! ", f"{where}: {printable.text(one.error)}", look)
        for note in one.notes:
            yield from words.note(f"{where}: {printable.text(note)}", look)
    yield from words.problems((), problems, look)
    yield _sum(drilled)


def _sum(drilled: Sequence[Drilled]) -> str:
    works = [one for one in drilled if one.error is None]
    said = f"{len(works):,} of {len(drilled):,} resumes work"
    slowest = max(works, key=lambda one: one.fetch_seconds or 0, default=None)
    if slowest is None:
        return said
    where = printable.name(f"{slowest.run} from {slowest.tier}" if slowest.tier else slowest.run)
    return f"{said}; the longest wait is {_seconds(slowest.fetch_seconds)} for {where}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f}s" if seconds < 60 else format_duration(round(seconds * NS))  # noqa: PLR2004 - a minute


def _rate(one: Drilled) -> str:
    return "-" if one.rate is None else f"{format_size(one.rate)}/s"
