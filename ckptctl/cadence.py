"""What a run shows of how it is saved: how often, how long that takes, and how often it began anew."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from ckptctl.group import SIDECAR_NAMES
from ckptctl.model import NS, Checkpoint, Kind, Run, State

_JOB_KEYS = frozenset({"slurm_job_id", "slurm_jobid", "job_id", "jobid"})
_AGAIN_KEYS = frozenset({"slurm_restart_count", "restart_count"})
_GAP = 3.0
"""A gap is longer than that many medians (an often used sign of a restart)."""
_SHORTEST = 1.0
"""Seconds: saves closer than that have the times of a copy, not of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the checkpoints that are there tell; what was deleted they cannot tell."""

    saves: int = 0  # of the family that has most
    period_s: float | None = None  # median between two saves, within a session
    steps_per_save: float | None = None  # median, within a session
    seconds_per_step: float | None = None  # median, within a session, saves included
    save_s: float | None = None  # median from first to last file of a save: at least that long
    bytes: int | None = None  # median of a checkpoint
    restarts: int = 0
    observed_s: float = 0.0  # that the job was at work
    copied: bool = False  # the times are those of a copy, so nothing follows from them


@dataclass(frozen=True, slots=True)
class _Between:
    """From one save to the next."""

    seconds: float
    advance: float | None  # in steps, else in epochs
    steps: int | None  # None where only epochs are known
    new_job: bool

    @property
    def back(self) -> bool:
        """Whether the later one has no higher number: the job began anew from an older one."""
        return self.advance is not None and self.advance <= 0


def observe(run: Run, logs: Iterable[bytes] = ()) -> Observed:
    """Return what a run shows, with the logs that may carry the ids of SLURM jobs.

    A restart is a step that goes back or repeats, another job, or a gap of more than three times
    the median that its steps do not account for (they do where checkpoints between were deleted).
    A gap counts as one period of work: how long nothing ran cannot be seen.
    """
    saves = _saves(run.checkpoints)
    jobs = max((len(set(job_ids(log))) for log in logs), default=0)
    between = [_between(one, two) for one, two in pairwise(saves)]
    onward = [each for each in between if not each.back and each.seconds > 0]
    seen = Observed(
        saves=len(saves),
        bytes=round(median(c.bytes for c in saves)) if saves else None,
        restarts=max(jobs - 1, 0),
    )
    if between and median(each.seconds for each in between) < _SHORTEST:
        return replace(seen, copied=True)
    if not onward:
        return seen
    usual = median(each.seconds for each in onward)
    pace = _pace(onward)
    restarts = [each for each in between if _restarted(each, usual, pace)]
    within = [each for each in onward if each not in restarts]
    steady = [each for each in within if each.seconds <= _GAP * usual] or within
    if not steady:
        return seen
    period = median(each.seconds for each in steady)
    steps = [each.steps for each in steady if each.steps]
    worked = sum(each.seconds for each in within)
    return replace(
        seen,
        period_s=period,
        steps_per_save=median(steps) if steps else None,
        seconds_per_step=_pace(steady) if steps else None,
        save_s=_save_time(saves, period),
        restarts=max(len(restarts), seen.restarts),
        observed_s=worked + sum(min(each.seconds, period) for each in restarts),
    )


def job_ids(log: bytes) -> list[str]:
    """Return the job of each row of a log that names one (CSV or JSON lines).

    A job that SLURM put back into the queue keeps its id: its count of restarts is part of it.
    """
    found = []
    for row in _rows(log.decode(errors="replace")):
        job = _first(row, _JOB_KEYS)
        if job:
            again = _first(row, _AGAIN_KEYS)
            found.append(f"{job}+{again}" if again else job)
    return found


def _first(row: Mapping[str, object], keys: frozenset[str]) -> str:
    return next((str(v) for k, v in row.items() if str(k).strip().lower() in keys and v), "")


def _rows(text: str) -> Iterator[Mapping[str, object]]:
    if not text.lstrip().startswith("{"):
        try:
            yield from csv.DictReader(io.StringIO(text))
        except csv.Error:
            return  # its rows up to there count
        return
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue  # torn, or not meant for us
        if isinstance(value, dict):
            yield value


def _saves(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the complete checkpoints of the family that has most, in the order of saving.

    Other families are parts of the same steps, or copies of them under a fixed name.
    """
    families: dict[str, list[Checkpoint]] = {}
    for c in checkpoints:
        if c.state is State.COMPLETE and not c.named and not c.future:
            families.setdefault(c.family, []).append(c)
    most = max(families.values(), key=len, default=[])
    return sorted(most, key=lambda c: (c.saved_ns, c.step or 0, c.epoch or 0))


def _between(one: Checkpoint, two: Checkpoint) -> _Between:
    steps = two.step - one.step if one.step is not None and two.step is not None else None
    epochs = two.epoch - one.epoch if one.epoch is not None and two.epoch is not None else None
    jobs = _job(one), _job(two)
    return _Between(
        seconds=(two.saved_ns - one.saved_ns) / NS,
        advance=epochs if steps is None else steps,
        steps=steps,
        new_job="" not in jobs and jobs[0] != jobs[1],
    )


def _job(c: Checkpoint) -> str:
    """Return the job that a sidecar or log names beside the metrics, "" where none does."""
    return _first(c.metrics, _JOB_KEYS)


def _pace(each: Sequence[_Between]) -> float | None:
    """Return the median of seconds per step (or epoch); None without numbers."""
    paces = [one.seconds / one.advance for one in each if one.advance]
    return median(paces) if paces else None


def _restarted(each: _Between, usual: float, pace: float | None) -> bool:
    if each.back or each.new_job:
        return True
    if each.seconds <= _GAP * usual:
        return False
    accounted = each.advance * pace if each.advance and pace else usual
    return each.seconds - accounted > (_GAP - 1) * usual


def _save_time(saves: Sequence[Checkpoint], period: float) -> float | None:
    """Return the median from first to last file of a save; None where files do not tell.

    Files that may be written later (metrics of an evaluation) do not count, and what takes half of
    the time between saves is no save.
    """
    spans = []
    for c in saves:
        times = [
            entry.mtime_ns
            for path, entry in c.files.items()
            if path not in c.sidecars
            and not (c.kind is Kind.DIRECTORY and path.split("/", 1)[-1] in SIDECAR_NAMES)
        ]
        if len(times) > 1:
            spans.append((max(times) - min(times)) / NS)
    span = median(spans) if spans else 0.0
    return span if 0 < span < period / 2 else None
