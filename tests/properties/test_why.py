"""Each change that `why` names does change the decision, on any run and any rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptctl import variants
from ckptctl.decision import Context, Verdict
from ckptctl.errors import RefusedError, UsageError
from ckptctl.flags import PolicyFlags
from ckptctl.model import Checkpoint, Hold, State
from ckptctl.rules._base import RULES, Rule
from ckptctl.why import Case, Explanation, explain
from tests.checkpoints import HOUR, NOW, checkpoint, run
from tests.properties.test_rules import CONTEXT, MAKERS, any_rule, any_run, made

many = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def explained(case: Case) -> list[Explanation]:
    """Explain every checkpoint, or nothing where the policy is refused."""
    try:
        return [explain(case, each.member) for each in case.run.checkpoints]
    except (UsageError, RefusedError):
        return []


def flipped(before: Verdict) -> Verdict:
    return Verdict.KEEP if before is Verdict.DELETE else Verdict.DELETE


@many
@given(
    any_run(),
    st.lists(any_rule(), min_size=1, max_size=4),
    st.sampled_from([None, 0, 30 * HOUR // 60, 3 * HOUR]),
    st.sampled_from([0, 6 * HOUR]),
)
def test_each_stated_change_alone_flips_the_decision(
    checkpoints: list[Checkpoint], rules: list[Rule], after_ns: int | None, await_ns: int
) -> None:
    held = [
        replace(c, holds=(Hold("eval", "node7", NOW + HOUR),)) if index % 5 == 4 else c
        for index, c in enumerate(checkpoints)
    ]
    case = Case(run(held), tuple(rules), Context(NOW, await_metric_ns=await_ns), after_ns)
    for explanation in explained(case):
        decision = explanation.decision
        for change in explanation.changes:
            after = change.case.decision(decision.checkpoint.member)
            assert after is not None
            assert after.verdict is flipped(decision.verdict), change.text
        assert (explanation.fixed is None) == bool(explanation.changes)
        assert explanation.changes or decision.verdict is Verdict.KEEP


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_where_no_change_is_stated_not_even_the_least_policy_deletes_it(
    checkpoints: list[Checkpoint], rules: list[Rule]
) -> None:
    case = Case(run(checkpoints), tuple(rules), CONTEXT)
    for explanation in explained(case):
        each = explanation.decision.checkpoint
        if explanation.fixed is not None:
            least = replace(case, rules=(made("last", 1),))
            assert not least.deletes(each.member)
            assert not least.having(replace(each, pinned=False)).deletes(each.member)


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_what_was_raised_was_raised_no_further_than_needed(
    checkpoints: list[Checkpoint], rules: list[Rule]
) -> None:
    case = Case(run(checkpoints), tuple(rules), CONTEXT)
    for explanation in explained(case):
        if explanation.decision.verdict is Verdict.KEEP:
            continue
        for change in explanation.changes:
            for old, new in zip(case.rules, change.case.rules, strict=False):
                n = getattr(new, "n", 0)
                if old != new and old.name in {"last", "best", "daily"} and n > 1:
                    less = replace(new, n=n - 1)  # type: ignore[type-var]  # these have it
                    tried = tuple(less if each == new else each for each in change.case.rules)
                    again = replace(case, rules=tried)
                    assert again.deletes(explanation.decision.checkpoint.member)


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_each_rule_is_told_with_its_own_judgement(
    checkpoints: list[Checkpoint], rules: list[Rule]
) -> None:
    case = Case(run(checkpoints), tuple(rules), CONTEXT)
    for explanation in explained(case):
        assert [said.rule for said in explanation.rules] == list(dict.fromkeys(rules))
        by_rules = {
            reason.rule for reason in explanation.decision.reasons if reason.rule in RULES.names()
        }
        assert {said.rule.name for said in explanation.rules if said.kept} == by_rules


@pytest.mark.parametrize("key", RULES.names())
def test_a_rule_is_written_as_the_flags_that_make_it(key: str) -> None:
    for value in MAKERS[key]:
        rule = made(key, value)
        written = variants.flags([rule])
        assert written
        values = [t for f, t in zip(written[::2], written[1::2], strict=True) if f != "--metric"]
        metrics = [t for f, t in zip(written[::2], written[1::2], strict=True) if f == "--metric"]
        keep = {key: values if RULES[key].repeat else values[0]}
        policy = PolicyFlags(keep=keep, metrics=metrics).draft().policy()
        assert policy.keep == (rule,)


@pytest.mark.parametrize("ns", [1, 10**9 - 1, 10**9, 90 * 10**9, HOUR, 36 * HOUR, 14 * 24 * HOUR])
def test_a_duration_is_written_exactly(ns: int) -> None:
    assert made("within", variants.duration(ns)) == made("within", f"{ns / 10**9:.9f}s")


RULES_OF_THE_ISSUE = (made("last", 3), made("best", {"n": 2, "metric": "loss"}))


def case_of(losses: list[float], **said: object) -> Case:
    them = [
        checkpoint(NOW, step=step, saved=f"{len(losses) - step}h", metrics={"loss": loss}, **said)
        for step, loss in enumerate(losses)
    ]
    return Case(run(them), RULES_OF_THE_ISSUE, CONTEXT)


def texts(case: Case, name: str) -> list[str]:
    member = next(c.member for c in case.run.checkpoints if c.name == name)
    return [change.text for change in explain(case, member).changes]


def test_what_would_keep_one_that_goes_in_words() -> None:
    case = case_of([5, 1, 3, 2, 9, 8, 7, 6])
    assert texts(case, "step_2") == [
        "raise last from 3 to 6 (--keep-last 6)",
        "raise best by loss from 2 to 3 (--keep-best 3)",
        "add --keep-step 2",
        "pin it (ckptctl annotate --pin)",
    ]
    tags = replace(
        case, rules=(*case.rules, made("tags", ["release"]), made("within", "1h"), made("every", 6))
    )
    assert texts(tags, "step_2")[2:6] == [
        "add --keep-tag release"
        if case.run.checkpoints[2].tags
        else "tag it release (ckptctl annotate --tag release)",
        "raise within from 1h to 5h (--keep-within 5h)",
        "--keep-every 2 instead of 6",
        "add --keep-step 2",
    ]


def test_all_that_would_let_go_of_a_kept_one_stands_in_one_change() -> None:
    case = case_of([5, 1, 3, 2, 9, 8, 0.5, 6])
    assert texts(case, "step_6") == [
        "lower last from 3 to 1 (--keep-last 1); leave out best 2 by loss"
    ]
    assert texts(case, "step_1") == ["lower best by loss from 2 to 1 (--keep-best 1)"]
    pinned = case_of([5, 1, 3, 2, 9, 8, 7, 6])
    first = pinned.run.checkpoints[0]
    assert texts(pinned.having(replace(first, pinned=True)), "step_0") == ["unpin it"]


def test_without_any_rule_left_the_least_one_is_asked_for() -> None:
    case = replace(case_of([5, 1, 3]), rules=(made("steps", [1]),))
    assert texts(case, "step_1") == ["leave out steps 1; ask for last 1 (--keep-last 1)"]


def test_what_a_guard_holds_no_rule_lets_go() -> None:
    case = case_of([5, 1, 3, 2, 9, 8, 7, 6])
    explanation = explain(case, case.run.checkpoints[-1].member)
    assert explanation.changes == ()
    assert explanation.fixed == (
        "no rule can let go of it, since no rule switches a guard off: newest, newest-saved"
    )
    assert [guard.rule for guard in explanation.guards] == ["newest", "newest-saved"]


def test_what_waits_for_its_metric_goes_without_the_rule_that_asks_for_it() -> None:
    case = case_of([5, 1, 3, 4, 2])
    waiting = replace(case.run.checkpoints[3], metrics={})
    newest = replace(case.run.checkpoints[4], metrics={})
    rules = (made("best", {"n": 1, "metric": "loss"}),)
    explanation = explain(replace(case.having(waiting).having(newest), rules=rules), waiting.member)
    assert [guard.rule for guard in explanation.guards] == ["unmeasured"]
    assert [change.text for change in explanation.changes] == [
        "leave out best 1 by loss; ask for last 1 (--keep-last 1)"
    ]


def test_an_incomplete_one_goes_by_delete_incomplete_only() -> None:
    case = case_of([5, 1, 3])
    torn = replace(case.run.checkpoints[0], state=State.INCOMPLETE)
    kept = case.having(torn)
    assert texts(kept, "step_0") == ["--delete-incomplete with at most 3h"]
    gone = replace(kept, incomplete_after_ns=HOUR)
    assert texts(gone, "step_0") == [
        "do not ask for --delete-incomplete",
        "pin it (ckptctl annotate --pin)",
    ]
    assert [said.text for said in explain(gone, torn.member).rules] == [
        "counts complete checkpoints only"
    ] * 2


def test_parts_of_one_step_are_named_as_siblings() -> None:
    them = [
        checkpoint(NOW, step=step, saved=f"{9 - step}h", family=family, name=f"{family[0]}{step}")
        for step in range(4)
        for family in ("model_#.pt", "optim_#.pt")
    ]
    case = Case(run(them), (made("last", 1),), CONTEXT)
    explanation = explain(case, them[2].member)
    assert [c.name for c in explanation.siblings] == ["o1"]
