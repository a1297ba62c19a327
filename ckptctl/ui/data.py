r"""What a command prints as JSON: plain dicts whose keys are always there; no terminal, no rich.

Names are kept as Python has them: an undecodable byte is a lone surrogate, which `json.dumps`
writes as `\udcXX`, so that the output is ASCII and Python reads the very same bytes back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence

from ckptctl.decision import Decision, Reason
from ckptctl.errors import CkptctlError, Interrupted
from ckptctl.model import Checkpoint, Copy, Hold, Problem
from ckptctl.report import Outcome, Report, RunReport
from ckptctl.ui.trash import results
from ckptctl.units import format_time

_Made = Callable[[object], object]
VERSION = 1
"""Of every schema that is printed; a key that is added does not change it."""


def checkpoint_data(c: Checkpoint) -> dict[str, object]:
    """Return the JSON object of one checkpoint; section 3 of the contract."""
    return {
        "run": c.run,
        "name": c.name,
        "path": c.path,
        "format": c.format,
        "kind": c.kind,
        "family": c.family,
        "step": c.step,
        "epoch": None if c.epoch is None else _number(c.epoch),
        "saved_at": format_time(c.saved_ns),
        "bytes": c.bytes,
        "files": sorted(c.files),
        "state": c.state,
        "resumable": c.resumable,
        "metrics": {name: metric_data(value) for name, value in c.metrics.items()},
        "tags": c.tags,
        "pinned": c.pinned,
        "pointers": c.pointers,
        "aliases": c.aliases,
        "holds": [_hold(hold) for hold in c.holds],
        "copies": [_copy(copy) for copy in c.copies],
        "doomed_at": None if c.doomed_ns is None else format_time(c.doomed_ns),
        "problems": _problems(c.problems),
    }


def metric_data(value: float) -> float | str:
    """Return a metric as JSON can hold it: `nan`, `inf` and `-inf` are strings."""
    return value if math.isfinite(value) else str(value)


def decision_data(decision: Decision) -> dict[str, object]:
    """Return the JSON object of one decision; section 5 of the contract."""
    return {
        "checkpoint": checkpoint_data(decision.checkpoint),
        "verdict": decision.verdict,
        "reasons": [_reason(reason) for reason in decision.reasons],
    }


def report_data(report: Report) -> dict[str, object]:
    """Return the one JSON object that `list` or `prune` prints."""
    return _report(report, _data)


def run_data(run: RunReport) -> dict[str, object]:
    """Return the JSON object of one run that was pruned."""
    return _pruned(run, _data)


def report_text(report: Report, also: Mapping[str, object] | None = None) -> str:
    """Return that object as a line of JSON, with other keys laid over it.

    Each checkpoint becomes a dict only while it is written: of 50,000 that takes half the time.
    """
    data = {**_report(report, lambda thing: thing), **(also or {})}
    return json.dumps(data, default=_data, allow_nan=False) + "\n"


def error_data(error: CkptctlError) -> dict[str, object]:
    """Return the JSON object that is printed where a command fails as a whole."""
    return {"schema": "ckptctl/error", "version": VERSION, **_error(error)}


def _data(thing: object) -> object:
    """Return the JSON object of a checkpoint or a decision.  TypeError for anything else."""
    if isinstance(thing, Checkpoint):
        return checkpoint_data(thing)
    if isinstance(thing, Decision):
        return decision_data(thing)
    raise TypeError(f"no JSON for {type(thing).__name__}")


def _report(report: Report, made: _Made) -> dict[str, object]:
    head: dict[str, object] = {"schema": f"ckptctl/{report.command}", "version": VERSION}
    problems = {"problems": _problems(report.problems)}
    if report.command == "list":
        return {**head, "runs": [_listed(run, made) for run in report.runs], **problems}
    told = {"dry_run": report.dry_run, "freed_bytes": report.freed_bytes}
    if report.command in {"undo", "purge"}:
        return {**head, **told, "results": results(report), **problems}
    return {
        **head,
        **told,
        "runs": [_pruned(run, made) for run in report.runs],
        "unmatched": report.unmatched,
        **problems,
    }


def _listed(run: RunReport, made: _Made) -> dict[str, object]:
    return {
        "name": run.name,
        "location": run.location,
        "checkpoints": list(map(made, run.checkpoints)),
        "problems": _problems(run.problems),
        "error": _error(run.error) if run.error else None,
    }


def _pruned(run: RunReport, made: _Made) -> dict[str, object]:
    return {
        "name": run.name,
        "location": run.location,
        "error": _error(run.error) if run.error else None,
        "decisions": list(map(made, run.decisions)),
        "outcomes": [_outcome(outcome) for outcome in run.outcomes],
        "problems": _problems(run.problems),
    }


def _number(value: float) -> float | str:
    """Return a whole epoch as the integer that people write."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if value == int(value) else value


def _hold(hold: Hold) -> Mapping[str, object]:
    return {"by": hold.by, "host": hold.host, "until": format_time(hold.until_ns)}


def _copy(copy: Copy) -> Mapping[str, object]:
    return {"tier": copy.tier, "path": copy.path, "proven_at": format_time(copy.proven_ns)}


def _problems(problems: Sequence[Problem]) -> list[Mapping[str, object]]:
    return [{"code": problem.code, "text": problem.text} for problem in problems]


def _reason(reason: Reason) -> Mapping[str, object]:
    return {"rule": reason.rule, "text": reason.text}


def _outcome(outcome: Outcome) -> Mapping[str, object]:
    return {
        "checkpoint": outcome.checkpoint,
        "path": outcome.path,
        "action": outcome.action,
        "status": outcome.status,
        "bytes": outcome.bytes,
        "error": outcome.error,
    }


def _error(error: CkptctlError) -> Mapping[str, object]:
    code = 128 + error.signal if isinstance(error, Interrupted) else error.code
    return {"code": code, "kind": error.kind, "message": error.message, "hint": error.hint}
