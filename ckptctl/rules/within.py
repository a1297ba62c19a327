"""Keep what was saved shortly before the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ckptctl.decision import Context
from ckptctl.model import NS
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Rule, RuleSpec
from ckptctl.rules._values import DURATION_SCHEMA, count, duration
from ckptctl.rules.every import AHEAD
from ckptctl.units import format_duration

_HOUR = 3600 * NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Keep what was saved at most so long before the one saved last.

    Not before now: a run that ended a year ago keeps its end.  A time ahead of the clock is kept
    and is no reference.
    """

    name: ClassVar[str] = "within"

    within_ns: int

    def __post_init__(self) -> None:
        count(self.within_ns)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge every place, by the one of it that was saved last."""
        end = max((p.saved_ns for p in family.places if not p.future), default=0)
        for place in family.places:
            if any(c.future for c in place.checkpoints):
                yield Judgement(place, kept=True, text=AHEAD)
                continue
            age = end - place.saved_ns
            if age <= self.within_ns:
                text = f"saved {format_duration(age)} before the last" if age else "saved last"
                yield Judgement(place, kept=True, text=text)
            else:
                text = (
                    f"saved {format_duration(age)} before the last: "
                    f"kept by --keep-within {-(-age // _HOUR)}h"
                )
                yield Judgement(place, kept=False, text=text)


def _make(value: object, _metric: Metric | None) -> Rule:
    return Within(within_ns=duration(value))


RULES.add("within")(
    RuleSpec(
        key="within",
        flag="--keep-within",
        metavar="D",
        help="what was saved at most D before the one saved last (not before now)",
        schema=DURATION_SCHEMA,
        make=_make,
    )
)
