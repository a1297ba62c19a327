"""Each file in `cases/` is one promise about what is kept and why.

A case has `why` it must be so, the rules (`policy`; with `require_copies` those of `copy`), the `checkpoints`, and what to `keep`: for
each name its reasons, `best` (only the rule) or `best #1 by loss (0.2)` (its words too).  All
others must go; `gone` may say what one that goes would have taken.  `error` is the exit code and a
part of the message instead.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckptctl.chosen import demand
from ckptctl.decide import decide
from ckptctl.decision import Context, Decision
from ckptctl.errors import CkptctlError
from ckptctl.rules._base import RULES
from ckptctl.rules.guards import GUARDS
from ckptctl.rules.metric import parse_metric
from ckptctl.units import parse_duration, parse_time
from tests.checkpoints import NOW, run, several

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
KEYS = {
    "why", "now", "metric", "await_metric", "require_copies", "copy", "policy", "checkpoints", "keep", "gone",
    "error",
}  # fmt: skip


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = yaml.safe_load(path.read_text())
    assert case.keys() <= KEYS, f"unknown keys: {case.keys() - KEYS}"
    return case


def decided(case: dict[str, Any]) -> tuple[Decision, ...]:
    now_ns = parse_time(case["now"]) if "now" in case else NOW
    metric = parse_metric(case["metric"]) if "metric" in case else None
    rules, copied = (
        [
            RULES[key].make(value, metric)
            for item in case.get(part, ())
            for key, value in item.items()
        ]
        for part in ("policy", "copy")
    )
    context = Context(
        now_ns,
        await_metric_ns=parse_duration(str(case.get("await_metric", "6h"))),
        demand=demand(case.get("require_copies", 0), copied),
    )
    return decide(run(several(case["checkpoints"], now_ns)), rules, context)


def listed(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) else said


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_is_kept_and_why(path: Path) -> None:
    case = load(path)
    if "error" in case:
        with pytest.raises((CkptctlError, ValueError)) as caught:
            decided(case)
        # A rule that cannot be made is a ValueError; whoever reads the policy adds file and line.
        code = caught.value.code if isinstance(caught.value, CkptctlError) else 2
        assert code == case["error"]["code"]
        for part in listed(case["error"]["says"]):
            assert part in str(caught.value)
        return
    decisions = decided(case)
    kept = {
        decision.checkpoint.name: sorted(
            f"{reason.rule} {reason.text}"
            if with_words(case, decision, reason.rule)
            else reason.rule
            for reason in decision.reasons
        )
        for decision in decisions
        if decision.reasons
    }
    assert kept == {str(name): sorted(listed(said)) for name, said in case["keep"].items()}
    for name, said in case.get("gone", {}).items():
        (gone,) = (d for d in decisions if d.checkpoint.name == name)
        assert list(gone.short) == listed(said)


def with_words(case: dict[str, Any], decision: Decision, rule: str) -> bool:
    """Whether the case gives the words of a rule's reason too, not only its name."""
    return any(
        said.startswith(f"{rule} ")
        for said in listed(case["keep"].get(decision.checkpoint.name, []))
    )


def test_each_rule_and_guard_has_a_case_where_it_is_the_reason() -> None:
    reasons = {
        said.split()[0]
        for path in CASES
        for each in load(path).get("keep", {}).values()
        for said in listed(each)
    }
    assert reasons >= {*RULES.names(), *GUARDS, "sibling"}


def test_cases_are_named_by_what_they_show_and_say_why() -> None:
    for path in CASES:
        assert len(re.findall(r"[a-z]{2,}", path.stem)) >= 3, path.name
        assert len(load(path)["why"]) > 20, path.name


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 110
