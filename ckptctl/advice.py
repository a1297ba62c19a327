"""How often to save, from what the user gives and what a run shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ckptctl.cadence import Observed
from ckptctl.errors import UsageError
from ckptctl.interval import daly_s, lost_s, mtbf_between, optimal_s, overhead, young_s

CONFIDENCE = 0.95
_COSTS = (0.25, 0.5, 1.0, 2.0, 4.0)
_MTBFS = (0.5, 1.0, 2.0)


class Source(StrEnum):
    """Where the time between failures comes from."""

    GIVEN = "given"
    NODES = "nodes"
    RESTARTS = "restarts"  # observed time by restarts
    BOUND = "bound"  # no restart was seen: the least that it can be


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says, in seconds; None where it says nothing."""

    save_cost: float | None = None
    blocking: float | None = None
    restart_cost: float = 0.0
    mtbf: float | None = None
    nodes: int | None = None
    node_mtbf: float | None = None

    def checked(self) -> Given:
        """Return this, if it can be.  UsageError names the flag that cannot."""
        for flag, value in (
            ("--save-cost", self.save_cost),
            ("--blocking", self.blocking),
            ("--mtbf", self.mtbf),
            ("--node-mtbf", self.node_mtbf),
        ):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{flag}: must be longer than 0")
        if self.nodes is not None and self.nodes < 1:
            raise UsageError("--nodes: must be at least 1")
        if (self.nodes is None) != (self.node_mtbf is None):
            raise UsageError("--nodes and --node-mtbf: one means nothing without the other")
        if self.mtbf is not None and self.nodes is not None:
            raise UsageError("--mtbf: is that of the whole job; leave out --nodes and --node-mtbf")
        if self.blocking and self.save_cost and self.blocking > self.save_cost:
            raise UsageError("--blocking: a save cannot stop the job for longer than it takes")
        return self

    @property
    def job_mtbf(self) -> float | None:
        """Return the mean time between failures of the whole job: any node stops all."""
        if self.nodes is not None and self.node_mtbf is not None:
            return self.node_mtbf / self.nodes
        return self.mtbf

    @property
    def enough(self) -> bool:
        """Whether no run has to be read for an answer."""
        return bool(self.save_cost or self.blocking) and self.job_mtbf is not None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one interval costs: a part of the computing, and seconds lost to a failure."""

    interval_s: float
    overhead: float
    lost_s: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The optimum where saves or failures were others."""

    save_cost_s: float
    mtbf_s: float
    optimal_s: float
    overhead: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How often to save, and what it costs."""

    save_cost_s: float  # what a save stops the job for
    save_duration_s: float  # what it takes altogether
    mtbf_s: float
    source: Source
    between: tuple[float, float] | None  # the mtbf that the restarts seen leave possible
    restart_cost_s: float
    young_s: float
    daly_s: float
    optimal_s: float
    every_s: float  # the optimum, but no shorter than a save takes
    every_steps: int | None
    best: Cost  # of every_s
    present: Cost | None  # at the cadence of the run
    what_if: tuple[WhatIf, ...]  # row by row: each save cost with each mtbf

    @property
    def optimal_between(self) -> tuple[float, float] | None:
        """Return the optima at both ends of `between`; the upper may be infinite."""
        if self.between is None:
            return None
        least, most = self.between
        longest = math.inf if math.isinf(most) else optimal_s(self.save_cost_s, most)
        return optimal_s(self.save_cost_s, least), longest


def answer(given: Given, seen: Observed | None = None) -> Answer:
    """Return how often to save.  UsageError where neither the flags nor the run say enough."""
    duration = given.save_cost or (seen.save_s if seen else None) or given.blocking
    cost = given.blocking or duration
    if cost is None or duration is None:
        raise UsageError(
            "what a save costs cannot be seen here: no checkpoint has several files written one after the other",
            "give it: --save-cost 60s",
        )
    mtbf, source, between = _mtbf(given, seen)
    best = optimal_s(cost, mtbf)
    every = max(best, duration - cost)
    computing = seen.period_s - cost if seen and seen.period_s and seen.period_s > cost else None
    return Answer(
        save_cost_s=cost,
        save_duration_s=max(duration, cost),
        mtbf_s=mtbf,
        source=source,
        between=between,
        restart_cost_s=given.restart_cost,
        young_s=young_s(cost, mtbf),
        daly_s=daly_s(cost, mtbf),
        optimal_s=best,
        every_s=every,
        every_steps=_steps(every, cost, seen) if seen else None,
        best=_cost(every, cost, mtbf, given.restart_cost),
        present=_cost(computing, cost, mtbf, given.restart_cost) if computing else None,
        what_if=tuple(
            _what_if(cost * dear, mtbf * rare, given.restart_cost)
            for dear in _COSTS
            for rare in _MTBFS
        ),
    )


def _mtbf(given: Given, seen: Observed | None) -> tuple[float, Source, tuple[float, float] | None]:
    if given.job_mtbf is not None:
        return given.job_mtbf, Source.NODES if given.nodes else Source.GIVEN, None
    if seen is None or not seen.observed_s:
        why = (
            "its files have the times of a copy, or of a test of seconds"
            if seen is not None and seen.copied
            else "it takes a run with several saves"
        )
        raise UsageError(
            f"how often the job fails cannot be seen here: {why}",
            "give it: --mtbf 12h, or --nodes N --node-mtbf D",
        )
    between = mtbf_between(seen.observed_s, seen.restarts, CONFIDENCE)
    if seen.restarts:
        return seen.observed_s / seen.restarts, Source.RESTARTS, between
    return between[0], Source.BOUND, between


def _cost(interval: float, save_cost: float, mtbf: float, restart_cost: float) -> Cost:
    return Cost(
        interval,
        overhead(interval, save_cost, mtbf, restart_cost),
        lost_s(interval, save_cost, mtbf),
    )


def _what_if(save_cost: float, mtbf: float, restart_cost: float) -> WhatIf:
    best = optimal_s(save_cost, mtbf)
    return WhatIf(save_cost, mtbf, best, overhead(best, save_cost, mtbf, restart_cost))


def _steps(interval: float, save_cost: float, seen: Observed) -> int | None:
    """Return the steps that are computed in an interval, in two digits; None without steps.

    The time of a step as seen holds its share of a save, which is taken out.
    """
    if not seen.seconds_per_step or not seen.steps_per_save:
        return None
    alone = seen.seconds_per_step - save_cost / seen.steps_per_save
    steps = interval / (alone if alone > 0 else seen.seconds_per_step)
    step: int = 10 ** max(len(str(int(steps))) - 2, 0)
    return max(int(steps) // step * step, 1)
