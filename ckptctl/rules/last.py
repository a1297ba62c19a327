"""Keep the last few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ckptctl.decision import Context
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Rule, RuleSpec
from ckptctl.rules._values import COUNT_SCHEMA, count


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """Keep the N last in the family's order, and the N saved last.

    These are the same ones, except after a rollback: a run that went back to step 500 writes 600
    after 900.  A time ahead of the clock is saved last only where no other is left.
    """

    name: ClassVar[str] = "last"

    n: int

    def __post_init__(self) -> None:
        count(self.n)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge every place by the better of its two ranks."""
        keys = [
            (not last.future, last.saved_ns, index)
            for index, last in enumerate(place.last for place in family.places)
        ]
        by_time = {index: rank for rank, (*_, index) in enumerate(sorted(keys, reverse=True), 1)}
        count_of, number = len(family.places), family.order.shown
        for index, place in enumerate(family.places):
            rank, by = count_of - index, number
            if rank > self.n and by_time[index] < rank:
                rank, by = by_time[index], "time saved"
            if rank <= self.n:
                yield Judgement(place, kept=True, text=f"#{rank} by {by}")
            else:
                text = f"#{rank} by {by}: kept by --keep-last {rank}"
                yield Judgement(place, kept=False, text=text)


def _make(value: object, _metric: Metric | None) -> Rule:
    return Last(n=count(value))


RULES.add("last")(
    RuleSpec(
        key="last",
        flag="--keep-last",
        metavar="N",
        help="the N last by step (or epoch, or time), and the N saved last",
        schema=COUNT_SCHEMA,
        make=_make,
    )
)
