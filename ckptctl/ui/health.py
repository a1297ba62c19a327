"""How well runs are saved: as a table, for Nagios, as JSON and for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ckptctl.at_risk import AtRisk
from ckptctl.errors import CkptctlError
from ckptctl.health import Copied, Health, Level, Limits, worst
from ckptctl.model import NS, Problem, State
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Column, Look, rows, width_of
from ckptctl.ui.data import VERSION, error_data
from ckptctl.units import format_duration, format_size, format_time

_NAME = 16
"""Columns that are left for a name, however narrow the terminal is."""
_MOST = 3
"""Runs that the first line names; the table below it shows all."""


def status_data(
    runs: Sequence[Health], problems: Sequence[Problem], level: Level | None
) -> dict[str, object]:
    """Return the one JSON object."""
    return {
        "schema": "ckptctl/status",
        "version": VERSION,
        "level": level,
        "runs": [run_data(run) for run in runs],
        "problems": _problems(problems),
    }


def run_data(run: Health) -> dict[str, object]:
    """Return the JSON object of one run; what could not be read is null."""
    error = error_data(run.error) if run.error else None
    return {
        "name": run.name,
        "location": run.location,
        "level": run.level,
        "newest": run.newest.name if run.newest else None,
        "saved_at": format_time(run.newest.saved_ns) if run.newest else None,
        "step": run.newest.step if run.newest else None,
        "age_seconds": None if run.age_ns is None else run.age_ns / NS,
        "checkpoints": {str(state): number for state, number in run.counts.items()},
        "bytes": run.bytes,
        "leftovers": {"entries": run.leftovers, "bytes": run.leftover_bytes},
        "trash": {
            "entries": run.trash.entries,
            "bytes": run.trash.bytes,
            "gone_bytes": run.trash.gone_bytes,
        },
        "next_purge_at": None if run.trash.purge_ns is None else format_time(run.trash.purge_ns),
        "tier": run.tier,
        "copies": _copied(run.copied) if run.copied else None,
        "purge": _purge(run.risk) if run.risk else None,
        "disk": {"free": run.disk.free, "size": run.disk.size} if run.disk else None,
        "problems": _problems(run.problems),
        "error": {k: error[k] for k in ("code", "kind", "message", "hint")} if error else None,
    }


def _copied(copied: Copied) -> dict[str, object]:
    return {
        "to": copied.to,
        "required": copied.required,
        "backlog": {"checkpoints": copied.backlog, "bytes": copied.backlog_bytes},
        "conflicts": copied.conflicts,
        "proven": copied.proven,
        "missing": copied.missing,
        "unreachable": list(copied.unreachable),
    }


def _purge(risk: AtRisk) -> dict[str, object]:
    first, expiry = risk.first, risk.expiry
    return {
        "after_seconds": risk.purge.after_ns / NS,
        "by": risk.purge.by,
        "warn_seconds": risk.purge.margin_ns / NS,
        "first": first.name if first else None,
        "first_file": expiry.file if expiry else None,
        "first_at": format_time(expiry.at_ns) if expiry else None,
        "at_risk": {"checkpoints": risk.checkpoints, "bytes": risk.bytes, "files": risk.files},
        "due": risk.due,
        "without_copy": list(risk.uncopied),
        "without_copy_due": risk.uncopied_due,
    }


def _problems(problems: Sequence[Problem]) -> list[Mapping[str, str]]:
    return [{"code": problem.code, "text": problem.text} for problem in problems]


def status_table(
    runs: Sequence[Health], problems: Sequence[Problem], where: str, look: Look
) -> Iterator[str]:
    """Yield the table for people, and below it what a person should know."""
    if runs:
        columns = [column for column in _columns(runs, look.now_ns) if any(column.cells)]
        fitting = _fitted(columns, look.width)
        yield from rows(fitting, look)
        if fitting != columns:
            yield from words.shortened(look)
    else:
        yield f"no checkpoints in {printable.name(where)}"
    for run in runs:
        yield from _notes(run, len(runs) > 1, look)
    yield from words.problems((), problems, look)


def _columns(runs: Sequence[Health], now_ns: int) -> Iterator[Column]:
    def column(head: str, cell: Callable[[Health], str], *, right: bool = True) -> Column:
        return Column(head=head, cells=[cell(run) for run in runs], right=right)

    yield column("run", lambda run: printable.name(run.name), right=False)
    yield column("tier", lambda run: printable.name(run.tier or ""), right=False)
    yield Column(head="level", cells=[run.level or "" for run in runs], style=_style)
    yield column("newest", lambda r: printable.name(r.newest.name) if r.newest else "", right=False)
    yield column("age", lambda r: "" if r.age_ns is None else format_duration(r.age_ns))
    yield column("complete", lambda r: f"{r.counts[State.COMPLETE]:,}" if r.counts else "")
    for state in (State.SAVING, State.INCOMPLETE, State.DAMAGED):
        counts = [run.counts.get(state, 0) for run in runs]
        yield Column(head=state, cells=[f"{n:,}" if n else "" for n in counts], right=True)
    yield column("size", lambda r: format_size(r.bytes) if r.counts else "")
    yield column("trash", lambda r: format_size(r.trash.bytes) if r.trash.entries else "")
    yield column("purge in", lambda r: _in(r.trash.purge_ns, now_ns))
    yield column("to copy", lambda r: _to_copy(r.copied) if r.copied else "")
    yield column("copies", lambda r: _copies(r.copied) if r.copied else "")
    yield column("at risk", lambda r: _at_risk(r.risk) if r.risk else "")
    yield column("site purge", lambda r: _first(r.risk, now_ns) if r.risk else "")
    yield column("free", lambda r: format_size(r.disk.free) if r.disk else "")


def _in(at_ns: int | None, now_ns: int) -> str:
    return "" if at_ns is None else format_duration(max(at_ns - now_ns, 0))


def _at_risk(risk: AtRisk) -> str:
    if not risk.checkpoints:
        return "-"
    alone = f", {len(risk.uncopied):,} without copy" if risk.uncopied else ""
    return f"{risk.checkpoints:,} ({format_size(risk.bytes)}){alone}"


def _first(risk: AtRisk, now_ns: int) -> str:
    if risk.expiry is None:
        return ""
    return "due" if risk.expiry.due else _in(risk.expiry.at_ns, now_ns)


def _to_copy(copied: Copied) -> str:
    if copied.to in copied.unreachable:
        return "unknown"
    return f"{copied.backlog:,} ({format_size(copied.backlog_bytes)})" if copied.backlog else "-"


def _copies(copied: Copied) -> str:
    missing = f", {copied.missing:,} missing" if copied.missing else ""
    conflicts = f", {words.count(copied.conflicts, 'conflict')}" if copied.conflicts else ""
    return f"{copied.proven:,} proven{missing}{conflicts}"


def _fitted(columns: list[Column], width: int) -> list[Column]:
    """Return the columns with names shortened where a row is too wide: of checkpoints, then of runs."""
    for name in ("newest", "run"):
        excess = width_of(columns) - width
        if excess > 0:
            columns = [_narrowed(c, c.width - excess) if c.head == name else c for c in columns]
    return columns


def _narrowed(column: Column, room: int) -> Column:
    cells = printable.elide_all(column.cells, max(room, _NAME))
    return Column(head=column.head, cells=cells)


def _style(cell: str) -> str:
    return {"critical": "red", "unknown": "red", "warning": "yellow"}.get(cell, "")


def _notes(run: Health, several: bool, look: Look) -> Iterator[str]:  # noqa: FBT001 - private
    begin = f"{printable.name(run.name)}: " if several else ""
    if run.trash.gone_bytes:
        size = format_size(run.trash.gone_bytes)
        yield from words.note(
            f"{begin}{size} are deleted, and their bytes still to be removed: the next prune does it",
            look,
        )
    if run.leftovers:
        size = format_size(run.leftover_bytes)
        yield from words.note(
            f"{begin}{words.count(run.leftovers, 'leftover')} of unfinished saves, {size}: "
            "prune --delete-incomplete D removes them",
            look,
        )
    yield from words.problems((), [Problem(p.code, f"{begin}{p.text}") for p in run.problems], look)
    if run.error is not None and several:
        yield from words.error(run.error, look)


def nagios_line(runs: Sequence[Health], limits: Limits, where: str) -> str:
    """Return the first line that a monitor shows: the level, the worst runs, and numbers."""
    level = worst(run.level for run in runs) or Level.CRITICAL
    if not runs:
        return f"CRITICAL: no checkpoints in {_plain(where)}"
    of_it = [run for run in runs if run.level is level]
    said = "; ".join(_about(run) for run in of_it[:_MOST])
    if len(of_it) > _MOST:
        said += f"; and {len(of_it) - _MOST} more"
    if len(runs) > 1:
        said = f"{len(of_it)} of {len(runs)} runs: {said}"
    several = len(runs) > 1
    numbers = " ".join(number for run in runs for number in _numbers(run, limits, several))
    return f"{level.upper()}: {said}" + (f" | {numbers}" if numbers else "")


def unknown_line(error: CkptctlError) -> str:
    """Return the first line where nothing could be looked at."""
    return f"UNKNOWN: {_plain(error.message)}"


def _about(run: Health) -> str:
    name = f"run {_named(run)}"
    if run.error is not None:
        return f"{name}: {_plain(run.error.message)}"
    if run.age_ns is None:
        return f"{name}: no complete checkpoint"
    return (
        f"{name}: newest complete checkpoint is {format_duration(run.age_ns)} old{_torn(run.risk)}"
    )


def _torn(risk: AtRisk | None) -> str:
    """Return what a monitor is told of a site's purge."""
    if risk is None or not risk.uncopied:
        return ""
    due = f", {risk.uncopied_due} of them due" if risk.uncopied_due else ""
    return (
        f", {words.count(len(risk.uncopied), 'checkpoint')} without a proven copy "
        f"about to be purged{due}"
    )


def _numbers(run: Health, limits: Limits, several: bool) -> Iterator[str]:  # noqa: FBT001 - private
    """Yield Nagios's performance data: label=value;warn;critical, the label quoted where it must be."""
    if run.error is not None:
        return

    def label(name: str) -> str:
        if not several:
            return name
        whose = _named(run).replace("'", "''").replace("=", "_")
        return f"'{whose} {name}'"

    warn, critical = (
        "" if ns is None else f"{ns / NS:.15g}" for ns in (limits.warn_ns, limits.critical_ns)
    )
    age = "U" if run.age_ns is None else str(run.age_ns // NS)
    yield f"{label('age_seconds')}={age};{warn};{critical}".rstrip(";")
    yield f"{label('bytes')}={run.bytes}B"
    if run.disk is not None:
        yield f"{label('free_bytes')}={run.disk.free}B"
    if run.risk is not None:
        yield f"{label('purge_at_risk')}={run.risk.checkpoints}"
        yield f"{label('purge_without_copy')}={len(run.risk.uncopied)}"


def _named(run: Health) -> str:
    """Return what tells a run from the others: on each tier it has the same name."""
    return _plain(f"{run.name} on {run.tier}" if run.tier else run.name)


def _plain(said: str) -> str:
    """Return a name or message as one line in which no `|` begins the numbers."""
    return printable.text(said.replace("\n", " ")).replace("|", "\\x7c")
