"""Keep what carries a tag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ckptctl.decision import Context
from ckptctl.rules._base import RULES, Family, Judgement, Metric, Rule, RuleSpec
from ckptctl.rules._values import several


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Keep the checkpoints that carry one of the given tags."""

    name: ClassVar[str] = "tags"

    tags: frozenset[str]

    def judge(self, family: Family, context: Context) -> Iterator[Judgement]:
        """Judge the places that carry one of the tags."""
        for place in family.places:
            for checkpoint in place.checkpoints:
                if found := sorted(self.tags.intersection(checkpoint.tags)):
                    yield Judgement(place, kept=True, text=f"tagged {', '.join(found)}")


def _make(value: object, _metric: Metric | None) -> Rule:
    tags: set[str] = set()
    for tag in several(value, "[release]"):
        if not isinstance(tag, str) or not tag.strip():
            raise ValueError(f"must be a list of tags, not {tag!r}; quote what YAML takes for more")
        tags.add(tag)
    return Tags(tags=frozenset(tags))


RULES.add("tags")(
    RuleSpec(
        key="tags",
        flag="--keep-tag",
        metavar="T",
        repeat=True,
        help="the checkpoints that carry one of these tags",
        schema={"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        make=_make,
    )
)
