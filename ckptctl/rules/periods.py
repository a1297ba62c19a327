"""Keep the newest of each of the last hours, days, weeks, months or years."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from typing import ClassVar

from ckptctl.decision import Context
from ckptctl.model import NS, Checkpoint
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Place, Rule, RuleSpec
from ckptctl.rules._values import COUNT_SCHEMA, count
from ckptctl.rules.every import AHEAD

_HOUR = 3600 * NS
_DAY = 24 * _HOUR
_EPOCH = date(1970, 1, 1).toordinal()


@cache
def _date(day: int) -> date:
    """Return the date of a day since the Unix epoch; what has no date counts as the nearest."""
    return date.fromordinal(min(max(day + _EPOCH, 1), date.max.toordinal()))


def _month(ns: int) -> int:
    day = _date(ns // _DAY)
    return day.year * 12 + day.month - 1


@dataclass(frozen=True, slots=True)
class _Period:
    """A kind of period, in UTC: which one a time is in, and how one is shown."""

    word: str
    number: Callable[[int], int]  # of nanoseconds; later periods have higher numbers
    show: Callable[[int], str]  # of the number


def _hour_shown(hour: int) -> str:
    return f"{_date(hour // 24)}T{hour % 24:02d}Z"


def _week_shown(week: int) -> str:
    year, number, _ = _date(week * 7 - 3).isocalendar()
    return f"{year}-W{number:02d}"


# 1970-01-01 was a Thursday: three days into its ISO week.
_HOURS = _Period("hour", lambda ns: ns // _HOUR, _hour_shown)
_DAYS = _Period("day", lambda ns: ns // _DAY, lambda day: str(_date(day)))
_WEEKS = _Period("week", lambda ns: (ns // _DAY + 3) // 7, _week_shown)
_MONTHS = _Period("month", _month, lambda month: f"{month // 12:04d}-{month % 12 + 1:02d}")
_YEARS = _Period("year", lambda ns: _date(ns // _DAY).year, lambda year: f"{year:04d}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Periodic:
    """Keep the newest of each of the last N periods that hold one.

    Each checkpoint of a place counts with its own time; a time ahead of the clock is kept and is
    in no period.
    """

    name: ClassVar[str]
    period: ClassVar[_Period]

    n: int

    def __post_init__(self) -> None:
        count(self.n)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge what is ahead of the clock, and the newest of each period."""
        newest: dict[int, tuple[Checkpoint, Place]] = {}
        number, show = self.period.number, self.period.show
        for place in family.places:
            for checkpoint in place.checkpoints:
                if checkpoint.future:
                    yield Judgement(place, kept=True, text=AHEAD)
                    continue
                period = number(checkpoint.saved_ns)
                known = newest.get(period)
                if known is None or checkpoint.saved_ns >= known[0].saved_ns:
                    newest[period] = (checkpoint, place)
        for rank, (period, (_, place)) in enumerate(sorted(newest.items(), reverse=True), 1):
            text = f"newest of {self.period.word} {show(period)}"
            if rank <= self.n:
                yield Judgement(place, kept=True, text=text)
            else:
                text = f"{text}: kept by --keep-{self.name} {rank}"
                yield Judgement(place, kept=False, text=text)


class Hourly(_Periodic):
    """Keep the newest of each of the last N hours that hold one."""

    __slots__ = ()
    name = "hourly"
    period = _HOURS


class Daily(_Periodic):
    """Keep the newest of each of the last N days that hold one."""

    __slots__ = ()
    name = "daily"
    period = _DAYS


class Weekly(_Periodic):
    """Keep the newest of each of the last N ISO weeks, Monday to Sunday, that hold one."""

    __slots__ = ()
    name = "weekly"
    period = _WEEKS


class Monthly(_Periodic):
    """Keep the newest of each of the last N months that hold one."""

    __slots__ = ()
    name = "monthly"
    period = _MONTHS


class Yearly(_Periodic):
    """Keep the newest of each of the last N years that hold one."""

    __slots__ = ()
    name = "yearly"
    period = _YEARS


def _make(kind: type[_Periodic], value: object, _metric: Metric | None) -> Rule:
    return kind(n=count(value))


for _kind in (Hourly, Daily, Weekly, Monthly, Yearly):
    RULES.add(_kind.name)(
        RuleSpec(
            key=_kind.name,
            flag=f"--keep-{_kind.name}",
            metavar="N",
            help=f"the newest of each of the last N {_kind.period.word}s (UTC) that hold one",
            schema=COUNT_SCHEMA,
            make=partial(_make, _kind),
        )
    )
