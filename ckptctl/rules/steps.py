"""Keep the steps that are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ckptctl.decision import Context
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Rule, RuleSpec
from ckptctl.rules._values import several, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Keep the checkpoints of given steps, whatever their family is ordered by; 0 is a step."""

    name: ClassVar[str] = "steps"

    steps: frozenset[int]

    def __post_init__(self) -> None:
        for step in self.steps:
            whole(step, least=0)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge the places that hold one of the steps."""
        for place in family.places:
            for checkpoint in place.checkpoints:
                if checkpoint.step in self.steps:
                    yield Judgement(place, kept=True, text=f"step {checkpoint.step} is asked for")


def _make(value: object, _metric: Metric | None) -> Rule:
    steps = several(value, "[1000, 2000]")
    return Steps(steps=frozenset(whole(step, least=0) for step in steps))


RULES.add("steps")(
    RuleSpec(
        key="steps",
        flag="--keep-step",
        metavar="S",
        repeat=True,
        help="the checkpoints of these steps",
        schema={"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        make=_make,
    )
)
