"""The table of `list`: what is there, how old, how large, in what state, and what marks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ckptctl.model import Checkpoint, State
from ckptctl.report import Report, RunReport
from ckptctl.ui import printable, words
from ckptctl.ui.columns import GAP, Column, Look, rows, width_of
from ckptctl.units import format_duration, format_size

_MARKS = 24
"""Columns that the marks may take before less important columns make room for them."""
_NAME = 16
"""Columns that are left for a name, however narrow the terminal is."""
_MOST, _LEAST = 3 / 4, 1 / 3
"""Parts of the width: a name over the first is shortened, to the second at least, before columns go."""
_METRIC = "metric "
_STATES = {"damaged": "red", "incomplete": "red", "saving": "yellow"}


def list_table(report: Report, look: Look, metrics: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines for people; `metrics` are asked for and come first."""
    several = len(report.runs) > 1
    for run in report.runs:
        if several:
            yield words.title(run, look)
        yield from _run(run, look, metrics)
        if several:
            yield ""
    if not report.runs:
        yield "no checkpoints here (`ckptctl list --formats` says what is recognised)"
    if several:
        everything = [checkpoint for run in report.runs for checkpoint in run.checkpoints]
        yield f"{words.count(len(report.runs), 'run')}: {_total(everything)}"
        yield from words.failed(report.runs, look)
    yield from words.problems((), report.problems, look)


def _run(run: RunReport, look: Look, metrics: Sequence[str]) -> Iterator[str]:
    if run.checkpoints:
        yield from _Table(run.checkpoints, look, metrics).lines()
        yield _total(run.checkpoints)
    elif run.error is None:
        yield f"no checkpoints in {printable.name(run.location)}"
    yield from words.problems(run.checkpoints, run.problems, look)
    if run.error is not None:
        yield from words.error(run.error, look)


def _total(checkpoints: Sequence[Checkpoint]) -> str:
    states = Counter(checkpoint.state for checkpoint in checkpoints)
    states.pop(State.COMPLETE, None)
    size = format_size(words.total_bytes(checkpoints))
    total = f"{words.count(len(checkpoints), 'checkpoint')}, {size}"
    if states:
        each = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
        total += f", {states.total():,} not complete ({each})"
    return total


class _Table:
    """The rows of one run, and which columns fit."""

    def __init__(
        self, checkpoints: Sequence[Checkpoint], look: Look, metrics: Sequence[str]
    ) -> None:
        self._rows = checkpoints
        self._look = look
        there = Counter(name for c in checkpoints for name in c.metrics)
        self._asked = list(dict.fromkeys(metrics))
        self._others = [name for name, _ in there.most_common() if name not in self._asked]
        self._marks = [tuple(_marks(c, look.now_ns)) for c in checkpoints]

    def lines(self) -> Iterator[str]:
        """Yield the headings, the rows, and what was left out of them."""
        columns, left_out = self._fitting()
        names = columns["name"].cells
        whole = columns.pop("marks", None)
        room = self._look.width - width_of(list(columns.values()))
        marks = _mark_column(self._marks, room - len(GAP)) if whole else None
        if marks:
            room -= len(GAP) + marks.width
        if room < 0:
            space = max(columns["name"].width + room, _NAME)
            columns["name"] = Column(head="name", cells=printable.elide_all(names, space))
        yield from rows([*columns.values(), *([marks] if marks else [])], self._look)
        if columns["name"].cells != names:
            yield from words.shortened(self._look)
        if left_out:
            shown = words.listed(left_out, self._look)
            yield from words.note(f"no room for {shown}: --metric NAME asks for one", self._look)

    def _fitting(self) -> tuple[dict[str, Column], list[str]]:
        """Return the columns that fit the width, and the metrics that do not.

        What tells least goes first; where nothing makes the rest fit, only the metrics go.
        """
        columns = {key: column for key, column in self._all() if column is not None}
        same = [name for name in reversed(self._others) if self._same(name)]
        others = [name for name in reversed(self._others) if name not in same]

        def without(gone: Sequence[str]) -> dict[str, Column]:
            return {key: column for key, column in columns.items() if key not in gone}

        spare = [_METRIC + name for name in (*same, *others)]
        ways = self._ways(spare, telling=bool(others))
        gone = next((gone for gone in ways if self._excess(without(gone)) <= 0), spare)
        return without(gone), [name for name in self._others if _METRIC + name in gone]

    def _ways(self, spare: Sequence[str], *, telling: bool) -> Iterator[Sequence[str]]:
        """Yield what to leave out, the least first.

        The last metric, where it is `telling`, says more than a step that the name says too.
        """
        twice = list(self._dispensable())
        yield from (spare[:number] for number in range(len(spare)))
        if telling and "step" in twice:
            yield [*spare[:-1], "step"]
        yield from ([*spare, *twice[:number]] for number in range(len(twice) + 1))

    def _excess(self, columns: dict[str, Column]) -> int:
        """Return by how much the columns are too wide, marks and names cut to what they need."""
        marks = columns.get("marks")
        spared = max(marks.width - _MARKS, 0) if marks else 0
        name, width = columns["name"].width, self._look.width
        if name > width * _MOST:
            spared += max(name - max(int(width * _LEAST), _NAME), 0)
        return width_of(list(columns.values())) - spared - width

    def _dispensable(self) -> Iterator[str]:
        """Yield the columns that say what other places say too."""
        if all(c.step is None or str(c.step) in c.name for c in self._rows):
            yield "step"
        if all(c.state is State.COMPLETE for c in self._rows):
            yield "state"
        yield "age"

    def _same(self, metric: str) -> bool:
        values = {str(c.metrics.get(metric)) for c in self._rows}
        return len(values) == 1 and len(self._rows) > 1

    def _all(self) -> Iterator[tuple[str, Column | None]]:
        found = self._rows
        yield "name", Column(head="name", cells=[printable.name(c.name) for c in found])
        yield "step", numbers("step", [shown_step(c) for c in found])
        epochs = ["" if c.step is not None else shown_epoch(c) for c in found]
        yield "epoch", numbers("epoch", epochs)
        yield "age", numbers("age", [_age(self._look.now_ns - c.saved_ns) for c in found])
        yield "size", numbers("size", [format_size(c.bytes) for c in found])
        yield "state", Column(head="state", cells=[c.state for c in found], style=_state_style)
        for name in (*self._asked, *self._others):
            cells = [_metric(c.metrics.get(name)) for c in found]
            yield _METRIC + name, Column(head=printable.name(name), cells=cells, right=True)
        yield "marks", _mark_column(self._marks, None)


def numbers(head: str, cells: Sequence[str]) -> Column | None:
    """Return a column of numbers, right-aligned; None where there are none."""
    return Column(head=head, cells=cells, right=True) if any(cells) else None


def shown_step(checkpoint: Checkpoint) -> str:
    """Return the step as it is shown, empty where there is none."""
    return "" if checkpoint.step is None else str(checkpoint.step)


def shown_epoch(checkpoint: Checkpoint) -> str:
    """Return the epoch as it is shown, empty where there is none."""
    return "" if checkpoint.epoch is None else words.epoch(checkpoint.epoch)


def _age(ns: int) -> str:
    return format_duration(ns) if ns >= 0 else f"in {format_duration(-ns)}"


def _metric(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _state_style(cell: str) -> str:
    return _STATES.get(cell, "")


def _marks(checkpoint: Checkpoint, now_ns: int) -> Iterator[str]:
    """Yield what marks a checkpoint, what matters most first; tags as a selector spells them."""
    if checkpoint.problems:
        yield "!"
    if checkpoint.pinned:
        yield "pinned"
    yield from (f"<- {_word(pointer)}" for pointer in checkpoint.pointers)
    yield from (_word(f"held:{hold.by}") for hold in checkpoint.holds if hold.until_ns > now_ns)
    if checkpoint.doomed_ns is not None:
        left = checkpoint.doomed_ns - now_ns
        yield "doomed" if left <= 0 else f"doomed:{format_duration(left).replace(' ', '')}"
    yield from (_word(f"alias:{alias}") for alias in checkpoint.aliases)
    yield from (_word(f"tag:{tag}") for tag in checkpoint.tags)
    if checkpoint.named:
        yield "named"
    if checkpoint.resumable is False:
        yield "weights-only"
    yield from dict.fromkeys(_word(f"copy:{copy.tier}") for copy in checkpoint.copies)


def _word(said: str) -> str:
    return printable.name(said).replace(" ", "\\x20")


def _mark_column(marks: Sequence[tuple[str, ...]], room: int | None) -> Column | None:
    """Return the column of marks, as many of each row as `room` holds and how many more."""
    if not any(marks):
        return None
    cells = [_fit(row, room) if room is not None else " ".join(row) for row in marks]
    return Column(head="marks", cells=cells, style=_mark_style)


def _fit(row: tuple[str, ...], room: int) -> str:
    for kept in range(len(row), 0, -1):
        more = [f"+{len(row) - kept}"] if kept < len(row) else []
        if printable.cells(shown := " ".join([*row[:kept], *more])) <= max(room, _MARKS):
            return shown
    return f"+{len(row)}" if row else ""


def _mark_style(cell: str) -> str:
    return "yellow" if cell.startswith("!") else "cyan"
