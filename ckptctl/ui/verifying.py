"""What `verify` prints: each checkpoint's status, what is wrong with which file, and the sum."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptctl.errors import CkptctlError
from ckptctl.model import NS, Problem
from ckptctl.report import RunReport
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Column, Look, rows
from ckptctl.ui.data import VERSION, error_data
from ckptctl.units import format_duration, format_size
from ckptctl.verdicts import BAD, Level, Result, Status

_FEW = 50
"""Checkpoints of a run that are all shown, sound ones too."""

_STYLES = {
    Status.OK: "green",
    Status.INCOMPLETE: "yellow",
    Status.DAMAGED: "red",
    Status.SAVING: "cyan",
    Status.UNRECORDED: "dim",
    Status.PART: "cyan",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One run as `verify` found it; `error` where something of it could not be read."""

    name: str
    location: str
    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = ()
    error: CkptctlError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The whole result of one `verify`."""

    level: Level
    runs: tuple[Verified, ...]
    problems: tuple[Problem, ...] = ()
    recorded: bool = False  # manifests were asked for
    took_ns: int = 0

    @property
    def results(self) -> Iterator[Result]:
        """Yield the checkpoints of all runs."""
        for run in self.runs:
            yield from run.results


def verification_data(report: Verification) -> dict[str, object]:
    """Return the one JSON object; section 6 of the contract."""
    return {
        "schema": "ckptctl/verify",
        "version": VERSION,
        "level": report.level,
        "results": [result_data(result) for result in report.results],
        "runs": [
            {
                "name": run.name,
                "location": run.location,
                "problems": _problems(run.problems),
                "error": _error(run.error),
            }
            for run in report.runs
        ],
        "problems": _problems(report.problems),
    }


def result_data(result: Result) -> dict[str, object]:
    """Return the JSON object of one checkpoint."""
    return {
        "run": result.checkpoint.run,
        "name": result.checkpoint.name,
        "path": result.checkpoint.path,
        "status": result.status,
        "files_checked": result.files_checked,
        "bytes_read": result.bytes_read,
        "findings": [finding._asdict() for finding in result.findings],
    }


def result_csv(report: Verification, *, shown: bool) -> str:
    """Return a line of headings and one a checkpoint; `shown` where a person would get it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "name", "path", "status", "files_checked", "bytes_read", "findings"])
    clean: Callable[[str], str] = printable.text if shown else str
    for result in report.results:
        c = result.checkpoint
        findings = "; ".join(f"{f.file}: {f.text}" for f in result.findings)
        cells = [c.run, c.name, c.path, str(result.status)]
        numbers = [str(result.files_checked), str(result.bytes_read)]
        writer.writerow([clean(cell) for cell in (*cells, *numbers, findings)])
    return text.getvalue()


def wrong_paths(report: Verification, *, null: bool, shown: bool) -> str:
    """Return the paths of what is incomplete or damaged, one a line."""
    end = "\0" if null else "\n"
    clean: Callable[[str], str] = printable.text if shown and not null else str
    return "".join(
        clean(result.checkpoint.path) + end for result in report.results if result.status in BAD
    )


def verification_table(report: Verification, look: Look) -> Iterator[str]:
    """Yield the table for people, what is wrong below it, and the sum."""
    for run in report.runs:
        if len(report.runs) > 1:
            yield words.title(RunReport(name=run.name, location=run.location), look)
        shown = [r for r in run.results if r.status is not Status.OK]
        if look.verbose or len(run.results) <= _FEW:
            shown = list(run.results)
        if shown:
            yield from rows(list(_columns(shown)), look)
        if len(shown) < len(run.results):
            said = f"{len(run.results) - len(shown):,} more are ok: -v or --json shows them all"
            yield from words.note(said, look)
        yield from words.problems((), _told(run), look)
        if run.error is not None and len(report.runs) > 1:
            yield from words.error(run.error, look)
    yield from words.problems((), report.problems, look)
    yield from words.folded("", _sum(report), look)
    if any(result.status is Status.UNRECORDED for result in report.results):
        yield from words.note(
            "unrecorded: nothing to compare the bytes with; --record notes it", look
        )


def _columns(results: Sequence[Result]) -> Iterator[Column]:
    yield Column(head="name", cells=[printable.name(r.checkpoint.name) for r in results])
    yield Column(head="status", cells=[r.status for r in results], style=_style)
    yield Column(head="files", cells=[f"{r.files_checked:,}" for r in results], right=True)
    if any(r.bytes_read for r in results):
        read = [format_size(r.bytes_read) if r.bytes_read else "" for r in results]
        yield Column(head="read", cells=read, right=True)


def _style(cell: str) -> str:
    return _STYLES[Status(cell)]


def _told(run: Verified) -> list[Problem]:
    """Return the findings of a run as lines, what is wrong before what is only to be known."""
    found = [
        (result.status not in BAD, Problem(f.code, f"{result.checkpoint.name}: {f.file} {f.text}"))
        for result in run.results
        for f in result.findings
    ]
    found.sort(key=lambda each: each[0])
    return [*run.problems, *(problem for _, problem in found)]


def _sum(report: Verification) -> str:
    count = Counter(result.status for result in report.results)
    if not count:
        failed = any(run.error is not None for run in report.runs)
        return "nothing was verified" if failed else "no checkpoints to verify"
    said = ", ".join(f"{count[status]:,} {status}" for status in Status if count[status])
    read = sum(result.bytes_read for result in report.results)
    if not read:
        return f"{said} (level {report.level})"
    said = f"{said}; {format_size(read)} read"
    if report.took_ns < NS:
        return said
    rate = format_size(round(read * NS / report.took_ns))
    return f"{said} in {format_duration(report.took_ns)} ({rate}/s)"


def _problems(problems: Sequence[Problem]) -> list[Mapping[str, str]]:
    return [{"code": problem.code, "text": problem.text} for problem in problems]


def _error(error: CkptctlError | None) -> Mapping[str, object] | None:
    if error is None:
        return None
    data = error_data(error)
    return {key: data[key] for key in ("code", "kind", "message", "hint")}
