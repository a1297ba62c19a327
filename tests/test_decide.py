from __future__ import annotations

import pytest

from ckptctl.decide import decide, guarded, metrics_asked
from ckptctl.decision import Context
from ckptctl.errors import UsageError
from ckptctl.families import oldest_first
from ckptctl.rules._base import RULES, Metric, Mode
from tests.checkpoints import NOW, checkpoint, run

CONTEXT = Context(NOW)


def test_decisions_come_in_the_order_of_the_checkpoints() -> None:
    them = [checkpoint(step=step) for step in (3, 1, 2)]
    decisions = decide(run(them), [RULES["last"].make(1, None)], CONTEXT)
    assert [decision.checkpoint.step for decision in decisions] == [3, 1, 2]


def test_a_sibling_names_the_same_keeper_in_whatever_order_they_come() -> None:
    them = [
        checkpoint(family="a_#.pt", name="a_1-first", step=1),
        checkpoint(family="a_#.pt", name="a_1-second", step=1),
        checkpoint(family="b_#.pt", step=1),
        checkpoint(family="b_#.pt", step=2),
    ]
    for order in (them, them[::-1]):
        decisions = decide(run(order), [RULES["last"].make(1, None)], CONTEXT)
        (reason,) = next(d.reasons for d in decisions if d.checkpoint.name == "b_1")
        assert (reason.rule, reason.text) == ("sibling", "of a_1-first, which is kept")


def test_guards_alone_know_neither_rules_nor_siblings() -> None:
    them = [
        checkpoint(family="a_#.pt", step=1, pinned=True),
        checkpoint(family="b_#.pt", step=1, tags=["release"]),
        checkpoint(family="a_#.pt", step=2),
        checkpoint(family="b_#.pt", step=2),
    ]
    answer = guarded(run(them), (), CONTEXT)
    assert {member: [r.rule for r in reasons] for member, reasons in answer.items()} == {
        "a_1.pt": ["pinned"],
        "a_2.pt": ["newest", "newest-saved"],
        "b_2.pt": ["newest", "newest-saved"],
    }


def test_guards_wait_for_the_metrics_that_the_rules_ask_for() -> None:
    them = [
        checkpoint(step=1, metrics={"loss": 1}),
        checkpoint(step=2),
        checkpoint(step=3),
    ]
    rules = [RULES["best"].make(2, Metric("loss")), RULES["best"].make(1, Metric("loss"))]
    assert metrics_asked(rules) == (Metric("loss", Mode.MIN),)
    answer = guarded(run(them), metrics_asked(rules), CONTEXT)
    assert [reason.rule for reason in answer["step_2.pt"]] == ["unmeasured"]


def test_no_rules_say_what_to_do_about_it() -> None:
    with pytest.raises(UsageError) as caught:
        decide(run([]), [], CONTEXT)
    assert "--keep-last" in caught.value.hint


def test_going_oldest_first_no_deletion_makes_a_guard_keep_the_next() -> None:
    them = [
        checkpoint(step=1, saved="5h", metrics={"loss": 1}),
        checkpoint(step=9, saved="4h", metrics={"loss": 2}),  # the newest with a value goes
        checkpoint(step=10, saved="3h"),
        checkpoint(step=5, saved="40m"),  # after a rollback: not later than 9, later than 1
        checkpoint(step=6, saved="30m"),
    ]
    rules = [RULES["best"].make(1, Metric("loss"))]
    goes = {d.checkpoint.step for d in decide(run(them), rules, CONTEXT) if not d.reasons}
    assert goes == {5, 9}
    left = list(them)
    for each in oldest_first(run(them)):
        if each.step in goes:
            assert each.member not in guarded(run(left), metrics_asked(rules), CONTEXT)
            left.remove(each)
