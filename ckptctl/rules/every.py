"""Keep one of every so many steps, or of every so long a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ckptctl.decision import Context
from ckptctl.model import Checkpoint
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Place, Rule, RuleSpec
from ckptctl.rules._values import COUNT_SCHEMA, DURATION_SCHEMA, count, duration
from ckptctl.units import format_duration, format_time

AHEAD = "its time is ahead of the clock"
"""Why a time rule keeps a checkpoint whose time tells nothing."""

_Shown = Callable[[int], str]


class Point(NamedTuple):
    """Where a checkpoint stands on the grid: a step, or nanoseconds from the earliest."""

    number: int
    checkpoint: Checkpoint
    place: Place


def closest(points: Iterable[Point], interval: int, first: int) -> dict[int, Point]:
    """Return, for each multiple from `first` on, the point closest to it within half an interval.

    The points come in ascending order, so that of two equally close the lower wins.  Only the
    multiples beside a point are looked at: cost does not grow with their number.
    """
    chosen: dict[int, Point] = {}
    for point in points:
        for multiple in _beside(point.number, interval):
            other = chosen.get(multiple)
            if multiple >= first and (
                other is None or abs(point.number - multiple) < abs(other.number - multiple)
            ):
                chosen[multiple] = point
    return chosen


def _beside(number: int, interval: int) -> list[int]:
    """Return the one or two multiples within half an interval, the nearest first."""
    rest = number % interval
    below, above = number - rest, number - rest + interval
    if 2 * rest == interval:
        return [below, above]
    return [below] if 2 * rest < interval else [above]


@dataclass(frozen=True, slots=True, kw_only=True)
class EverySteps:
    """Keep, for each positive multiple of N, the checkpoint closest to it within N/2.

    It goes by the steps that there are: checkpoints without one are neither kept nor in the way.
    """

    name: ClassVar[str] = "every"

    n: int

    def __post_init__(self) -> None:
        count(self.n)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge every place that has a step."""
        points = sorted(
            (
                Point(checkpoint.step, checkpoint, place)
                for place in family.places
                for checkpoint in place.checkpoints
                if checkpoint.step is not None
            ),
            key=lambda point: point.number,
        )
        return _judge(points, self.n, self.n, str, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryTime:
    """Keep, for each multiple of a duration since the earliest, the one saved closest to it.

    The earliest is closest to the multiple 0, so the grid never moves.  Each checkpoint of a place
    counts with its own time; a time ahead of the clock is kept and is no reference.
    """

    name: ClassVar[str] = "every"

    every_ns: int

    def __post_init__(self) -> None:
        count(self.every_ns)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge every place."""
        ahead = [place for place in family.places if any(c.future for c in place.checkpoints)]
        for place in ahead:
            yield Judgement(place, kept=True, text=AHEAD)
        timed = [(c, place) for place in family.places for c in place.checkpoints if not c.future]
        if not timed:
            return
        start = min(c.saved_ns for c, _ in timed)
        points = sorted(
            (Point(c.saved_ns - start, c, place) for c, place in timed),
            key=lambda point: point.number,
        )
        yield from _judge(
            points, self.every_ns, 0, lambda ns: format_time(start + ns), format_duration
        )


def _judge(
    points: list[Point], interval: int, first: int, at: _Shown, away: _Shown
) -> Iterator[Judgement]:
    """Judge the places of all points; `at` and `away` show a multiple and a distance."""
    chosen = closest(points, interval, first)
    takes: defaultdict[str, list[int]] = defaultdict(list)
    kept: set[str] = set()
    for multiple, point in chosen.items():
        takes[point.checkpoint.member].append(multiple)
        kept.update(c.member for c in point.place.checkpoints)
    for point in points:
        member = point.checkpoint.member
        if member in takes:
            text = "closest to " + " and ".join(map(at, takes[member]))
            yield Judgement(point.place, kept=True, text=text)
        elif member not in kept:
            nearest = _beside(point.number, interval)[0]
            if nearest in chosen:
                distance = away(abs(point.number - nearest))
                text = (
                    f"{distance} from {at(nearest)}, which {chosen[nearest].checkpoint.name} takes"
                )
                yield Judgement(point.place, kept=False, text=text)


def _make(value: object, _metric: Metric | None) -> Rule:
    """Make it from steps (`10000`) or a duration (`24h`)."""
    if isinstance(value, str) and value.strip()[-1:].isalpha():
        return EveryTime(every_ns=duration(value))
    try:
        return EverySteps(n=count(value))
    except ValueError:
        raise ValueError(
            f"must be steps, a whole number of at least 1, or a duration like 24h, not {value!r}"
        ) from None


RULES.add("every")(
    RuleSpec(
        key="every",
        flag="--keep-every",
        metavar="N|DURATION",
        help="of every N steps, or every so long (24h), the checkpoint closest to it",
        schema={"oneOf": [COUNT_SCHEMA, DURATION_SCHEMA]},
        make=_make,
    )
)
