"""How often to save, for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from ckptctl.advice import CONFIDENCE, Answer, Cost, Source
from ckptctl.cadence import Observed
from ckptctl.errors import CkptctlError
from ckptctl.model import NS
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Column, Look, rows
from ckptctl.ui.data import VERSION, error_data
from ckptctl.units import format_duration, format_size

_FEW = 10
"""Seconds below which a fraction is shown."""
_PLANNED = (
    "planned stops (time limits, maintenance, your own hand) are no failures: "
    "what the time between failures is made of should leave them out"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The answer for one run, or (without a name) for what the command line gives."""

    answer: Answer | None
    name: str = ""
    location: str = ""
    seen: Observed | None = None
    error: CkptctlError | None = None


def interval_data(sections: list[Section]) -> dict[str, object]:
    """Return the one JSON object: the answer at the top where there is one, and each run."""
    only = sections[0].answer if len(sections) == 1 else None
    runs = [_run_data(section) for section in sections if section.name]
    return {
        "schema": "ckptctl/interval",
        "version": VERSION,
        **_answer_data(only),
        "confidence": CONFIDENCE,
        "runs": runs,
    }


def _run_data(section: Section) -> dict[str, object]:
    error = error_data(section.error) if section.error else None
    return {
        "name": section.name,
        "location": section.location,
        "observed": asdict(section.seen) if section.seen else None,
        **_answer_data(section.answer),
        "error": {k: error[k] for k in ("code", "kind", "message", "hint")} if error else None,
    }


def _answer_data(answer: Answer | None) -> Mapping[str, object]:
    if answer is None:
        return dict.fromkeys(_answer_keys)
    least, most = answer.between or (None, None)
    return {
        "young_s": answer.young_s,
        "daly_s": answer.daly_s,
        "optimal_s": answer.optimal_s,
        "every": {"seconds": answer.every_s, "steps": answer.every_steps},
        "save_cost_s": answer.save_cost_s,
        "save_duration_s": answer.save_duration_s,
        "mtbf_s": answer.mtbf_s,
        "mtbf_from": answer.source,
        "mtbf_low_s": least,
        "mtbf_high_s": None if most is None or math.isinf(most) else most,
        "restart_cost_s": answer.restart_cost_s,
        "overhead": _finite(answer.best.overhead),
        "lost_s": answer.best.lost_s,
        "present": _cost_data(answer.present) if answer.present else None,
        "what_if": [{**asdict(w), "overhead": _finite(w.overhead)} for w in answer.what_if],
    }


_answer_keys = (
    "young_s", "daly_s", "optimal_s", "every", "save_cost_s", "save_duration_s", "mtbf_s", "mtbf_from",
    "mtbf_low_s", "mtbf_high_s", "restart_cost_s", "overhead", "lost_s", "present", "what_if",
)  # fmt: skip


def _cost_data(cost: Cost) -> Mapping[str, object]:
    return {
        "interval_s": cost.interval_s,
        "overhead": _finite(cost.overhead),
        "lost_s": cost.lost_s,
    }


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def interval_text(section: Section, look: Look) -> Iterator[str]:
    """Yield the lines for people: the answer first, then what it costs, and how sure it is."""
    if section.name:
        where = printable.name(section.location)
        yield f"{look.paint(printable.name(section.name), 'bold')}  {where}"
    if section.seen is not None:
        yield from words.folded("  seen: ", _seen(section.seen), look)
    answer = section.answer
    if answer is None:
        return
    yield look.paint(f"save {_every(answer)}", "bold")
    costs = f"{_part(answer.best)}; a failure takes back {_span(answer.best.lost_s)} on average"
    yield from words.folded("  costs: ", costs, look)
    if answer.present is not None:
        yield from words.folded("  now: ", _now(answer, answer.present), look)
    yield from words.folded("  from: ", _from(answer), look)
    formulas = f"Young {_span(answer.young_s)}, Daly {_span(answer.daly_s)}, exact {_span(answer.optimal_s)}"
    yield from words.folded("  optimum: ", formulas, look)
    if answer.between is not None:
        yield from words.folded("  how sure: ", _sure(answer, section.seen), look)
    yield ""
    yield "what if, and what it would cost:"
    yield from _table(answer, look)
    yield ""
    yield from words.note(_PLANNED, look)


def _every(answer: Answer) -> str:
    time = _span(answer.every_s)
    if answer.every_steps is None:
        return f"after every {time} of computing"
    steps = words.count(answer.every_steps, "step")
    return f"every {steps} or {time} of computing, whichever comes first"


def _part(cost: Cost) -> str:
    if math.isinf(cost.overhead):
        return "the job would hardly ever end"
    return f"{100 * cost.overhead:,.1f}% more time, for saves, restarts and work done twice"


def _now(answer: Answer, present: Cost) -> str:
    said = f"a save after every {_span(present.interval_s)} of computing"
    if math.isinf(present.overhead):
        return f"{said}: the job would hardly ever end"
    more = 100 * (present.overhead - answer.best.overhead)
    worth = f"{more:.1f} points more" if more >= 0.05 else "as good"  # noqa: PLR2004 - what is shown
    lost = _span(present.lost_s)
    return f"{said}: {100 * present.overhead:,.1f}% ({worth}); a failure takes back {lost}"


def _from(answer: Answer) -> str:
    saves = f"a save stops the job for {_span(answer.save_cost_s)}"
    if answer.save_duration_s > answer.save_cost_s:
        saves += f" and takes {_span(answer.save_duration_s)}"
        if answer.every_s > answer.optimal_s:
            saves += ", and the next one should not begin before it has ended"
    failures = {
        Source.GIVEN: f"one failure in {_span(answer.mtbf_s)}",
        Source.NODES: f"one failure of any node in {_span(answer.mtbf_s)}",
        Source.RESTARTS: f"one restart in {_span(answer.mtbf_s)}, as seen",
        Source.BOUND: f"at most one failure in {_span(answer.mtbf_s)}, since none was seen",
    }[answer.source]
    restart = f", a restart takes {_span(answer.restart_cost_s)}" if answer.restart_cost_s else ""
    return f"{saves}; {failures}{restart}"


def _sure(answer: Answer, seen: Observed | None) -> str:
    assert seen is not None  # noqa: S101 - only a run leaves a range
    assert answer.between is not None  # noqa: S101 - the caller has looked
    assert answer.optimal_between is not None  # noqa: S101 - they come together
    percent = f"{100 * CONFIDENCE:.0f}%"
    if seen.restarts == 0:
        return (
            f"no restart in {_span(seen.observed_s)} of work says only that failures are rarer than one in "
            f"{_span(answer.between[0])} ({percent}); save less often only if you know more: --mtbf D"
        )
    low, high = map(_span, answer.between)
    best = " to ".join(map(_span, answer.optimal_between))
    return (
        f"{words.count(seen.restarts, 'restart')} in {_span(seen.observed_s)} of work fit one failure in {low} to "
        f"{high} as well ({percent}), and an optimum of {best}; if some were planned, failures are rarer: --mtbf D"
    )


def _seen(seen: Observed) -> str:
    parts = [words.count(seen.saves, "save")]
    if seen.copied:
        parts.append("with the times of a copy, from which nothing follows")
    if seen.period_s is not None:
        steps = f"{seen.steps_per_save:,.0f} steps, " if seen.steps_per_save else ""
        parts.append(f"one each {steps}{_span(seen.period_s)}")
    if seen.bytes is not None:
        parts.append(f"of {format_size(seen.bytes)}")
    if seen.save_s is not None:
        parts.append(f"written in at least {_span(seen.save_s)} (first to last file)")
    parts.append(words.count(seen.restarts, "restart"))
    return ", ".join(parts)


def _table(answer: Answer, look: Look) -> Iterator[str]:
    """Yield what would be best, and cost, where saves or failures were others."""
    mtbfs = list(dict.fromkeys(w.mtbf_s for w in answer.what_if))
    costs = list(dict.fromkeys(w.save_cost_s for w in answer.what_if))
    cells = {(w.save_cost_s, w.mtbf_s): w for w in answer.what_if}
    columns = [Column(head="a save costs", cells=[_span(c) for c in costs], right=True)]
    for mtbf in mtbfs:
        said = [_cell(cells[c, mtbf].optimal_s, cells[c, mtbf].overhead) for c in costs]
        columns.append(Column(head=f"failure in {_span(mtbf)}", cells=said, right=True))
    yield from rows(columns, look)


def _cell(interval: float, overhead: float) -> str:
    part = f"{100 * overhead:,.1f}%" if overhead < 100 else "endless"  # noqa: PLR2004 - a hundredfold
    return f"{_span(interval)} ({part})"


def _span(seconds: float) -> str:
    """Return seconds for people, with a fraction where there are few."""
    if math.isinf(seconds):
        return "any time"
    return f"{seconds:.2g}s" if seconds < _FEW else format_duration(round(seconds) * NS)
