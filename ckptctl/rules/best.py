"""Keep the best few by a metric."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ckptctl.decision import Context
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Mode, Rule, RuleSpec
from ckptctl.rules._values import COUNT_SCHEMA, count
from ckptctl.rules.metric import parse_metric, values, with_mode

_KEYS = ("n", "metric", "mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Keep the N best by a metric, in each family that has it.

    A value that is missing, not finite or no measurement is not ranked.  Ties go to the later
    one: it has trained longer for the same result.
    """

    name: ClassVar[str] = "best"

    n: int
    metric: Metric  # with its mode

    def __post_init__(self) -> None:
        count(self.n)

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge every place, where the family has the metric at all."""
        sign = 1 if self.metric.mode is Mode.MIN else -1
        found = values(family, self.metric)
        ranked = sorted(
            (sign * value, -index) for index, value in enumerate(found) if value is not None
        )
        for rank, (value, index) in enumerate(ranked, 1):
            text = f"#{rank} by {self.metric.name} ({sign * value:g})"
            kept = rank <= self.n
            yield Judgement(
                family.places[-index], kept, text if kept else f"{text}: kept by --keep-best {rank}"
            )
        if ranked:
            for place, value_here in zip(family.places, found, strict=True):
                if value_here is None:
                    yield Judgement(
                        place, kept=False, text=f"not ranked: no finite {self.metric.name}"
                    )


def _make(value: object, metric: Metric | None) -> Rule:
    """Make it from N, or from a mapping with `n` and, where it differs, `metric` and `mode`."""
    number: object = value
    if isinstance(value, Mapping):
        for key in value:
            if key not in _KEYS:
                near = difflib.get_close_matches(str(key), _KEYS, 1)
                hint = f"did you mean {near[0]!r}?" if near else "only n, metric and mode"
                raise ValueError(f"has no key {key!r}: {hint}")
        if "n" not in value:
            raise ValueError("needs n: how many to keep")
        number = value["n"]
        metric = _own(value, metric)
    n = count(number)
    if metric is None:
        raise ValueError("needs a metric: --metric NAME, or {n: 2, metric: NAME} in YAML")
    return Best(n=n, metric=with_mode(metric))


def _own(value: Mapping[object, object], default: Metric | None) -> Metric | None:
    """Return the metric of a mapping; what it does not say is as in the default."""
    mode = value.get("mode")
    if "mode" in value and mode not in tuple(Mode):
        raise ValueError(f"mode must be min or max, not {mode!r}")
    given = Mode(str(mode)) if "mode" in value else None
    if "metric" not in value:
        return default and Metric(default.name, given or default.mode)
    text = value["metric"]
    if not isinstance(text, str):
        raise ValueError(f"metric must be a name, not {text!r}")  # noqa: TRY004 - callers ask only for ValueError
    own = parse_metric(text)
    if own.mode and given and own.mode is not given:
        raise ValueError(f"says both {text!r} and mode {given}")
    same = default is not None and default.name == own.name
    return Metric(own.name, given or own.mode or (default.mode if default and same else None))


RULES.add("best")(
    RuleSpec(
        key="best",
        flag="--keep-best",
        metavar="N",
        help="the N best by a finite metric, in each family that has it; ties go to the later",
        schema={
            "oneOf": [
                COUNT_SCHEMA,
                {
                    "type": "object",
                    "properties": {
                        "n": COUNT_SCHEMA,
                        "metric": {"type": "string", "minLength": 1},
                        "mode": {"enum": ["min", "max"]},
                    },
                    "required": ["n"],
                    "additionalProperties": False,
                },
            ]
        },
        make=_make,
    )
)
