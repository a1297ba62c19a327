"""What must hold for any rules and any checkpoints, and plain oracles for what each rule keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptctl.decide import decide, guarded, metrics_asked
from ckptctl.decision import Context, Decision
from ckptctl.errors import RefusedError, UsageError
from ckptctl.families import families, oldest_first
from ckptctl.model import Checkpoint, State
from ckptctl.rules._base import RULES, Family, Metric, Mode, Rule
from tests.checkpoints import HOUR, NOW, checkpoint, run

CONTEXT = Context(NOW)
LOSS = Metric("loss", Mode.MIN)
VALUES = [math.nan, math.inf, -math.inf, -0.1, 0.0, 0.1, 0.2, 0.2000001]
TIMES = ["+30h", "+1h", "0s", "30m", "59m", "1h", "90m", "5h", "23h", "25h", "8d", "40d", "500d"]
MAKERS: dict[str, list[object]] = {
    "last": [1, 2, 3],
    "best": [1, 2, {"n": 1, "metric": "acc"}, {"n": 3, "metric": "loss", "mode": "max"}],
    "every": [1, 2, 3, 7, 1000, "1h", "90m", "24h", "365d"],
    "within": ["30m", "1h", "2d"],
    "hourly": [1, 2, 5],
    "daily": [1, 2, 5],
    "weekly": [1, 2],
    "monthly": [1, 2],
    "yearly": [1, 2],
    "steps": [[0], [3, 5], [100]],
    "tags": [["release"], ["release", "paper"]],
}


def made(key: str, value: object) -> Rule:
    return RULES[key].make(value, LOSS)


def any_rule() -> st.SearchStrategy[Rule]:
    return st.sampled_from([made(key, value) for key, values in MAKERS.items() for value in values])


@st.composite
def some_checkpoints(
    draw: st.DrawFn, *, family: str = "step_#.pt", complete: bool = False, most: int = 9
) -> list[Checkpoint]:
    """Draw a family numbered in one way, with twins, rollbacks, ties and times ahead of the clock."""
    number = draw(st.sampled_from(["step", "epoch", "neither"]))
    found: list[Checkpoint] = []
    for index in range(draw(st.integers(0, most))):
        said: dict[str, Any] = {
            "family": family,
            "name": f"{family[0]}{index}",
            "saved": draw(st.sampled_from(TIMES)),
            "metrics": draw(
                st.dictionaries(st.sampled_from(["loss", "acc"]), st.sampled_from(VALUES))
            ),
            "tags": draw(st.sampled_from([(), ("release",), ("paper", "release")])),
            "resumable": draw(st.sampled_from([None, True, False])),
        }
        said["zeros"] = [m for m, v in said["metrics"].items() if v == 0 and draw(st.booleans())]
        if number != "neither":
            said[number] = draw(st.integers(0, 6))
        if not complete:
            said["state"] = draw(st.sampled_from([State.COMPLETE] * 5 + list(State)))
            said["pinned"] = draw(st.sampled_from([False] * 7 + [True]))
            if draw(st.integers(0, 9)) == 0:
                said |= {"named": True, "step": None, "epoch": None}
        found.append(checkpoint(NOW, **said))
    return found


@st.composite
def any_run(draw: st.DrawFn) -> list[Checkpoint]:
    """Draw up to three families."""
    return [
        each
        for name in ("a#.pt", "b#.pt", "c#.pt")
        for each in draw(some_checkpoints(family=name, most=5))
    ]


def keeps(rule: Rule, checkpoints: Sequence[Checkpoint]) -> set[str]:
    return {
        each.name
        for family in families(run(checkpoints))
        for place, kept, _ in rule.judge(family, CONTEXT)
        if kept
        for each in place.checkpoints
    }


def decided(checkpoints: Sequence[Checkpoint], rules: Sequence[Rule]) -> tuple[Decision, ...]:
    """Decide; where that is refused nothing goes, which is told by a reason of its own."""
    try:
        return decide(run(checkpoints), rules, CONTEXT)
    except (UsageError, RefusedError):
        return ()


def kept(checkpoints: Sequence[Checkpoint], rules: Sequence[Rule]) -> set[str]:
    decisions = decided(checkpoints, rules)
    if not decisions:
        return {each.name for each in checkpoints}
    return {decision.checkpoint.name for decision in decisions if decision.reasons}


many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("key", RULES.names())
@many
@given(data=st.data())
def test_deleting_what_a_rule_did_not_keep_never_changes_what_it_keeps(
    key: str, data: st.DataObject
) -> None:
    everything = data.draw(some_checkpoints(complete=True))
    rule = made(key, data.draw(st.sampled_from(MAKERS[key])))
    before = keeps(rule, everything)
    left = [each for each in everything if each.name in before or data.draw(st.booleans())]
    assert keeps(rule, left) == before


def test_every_rule_is_tried() -> None:
    assert MAKERS.keys() == set(RULES.names())


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4), st.randoms())
def test_neither_the_order_of_checkpoints_nor_of_rules_matters(
    checkpoints: list[Checkpoint], rules: list[Rule], random: Any
) -> None:
    def reasons(them: Sequence[Checkpoint], by: Sequence[Rule]) -> dict[str, set[tuple[str, str]]]:
        return {d.checkpoint.name: {(r.rule, r.text) for r in d.reasons} for d in decided(them, by)}

    shuffled, others = checkpoints[:], rules[:]
    random.shuffle(shuffled)
    random.shuffle(others)
    before, after = reasons(checkpoints, rules), reasons(shuffled, others)
    assert before == after
    assert [d.checkpoint for d in decided(shuffled, rules)] in ([], shuffled)


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=3), any_rule())
def test_one_more_rule_never_deletes_more(
    checkpoints: list[Checkpoint], rules: list[Rule], another: Rule
) -> None:
    before = decided(checkpoints, rules)
    if before:
        assert kept(checkpoints, rules) <= kept(checkpoints, [*rules, another])


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_kept_is_exactly_what_a_rule_a_guard_or_a_sibling_keeps(
    checkpoints: list[Checkpoint], rules: list[Rule]
) -> None:
    decisions = decided(checkpoints, rules)
    if not decisions:
        return
    by_rules = set().union(*(keeps(rule, checkpoints) for rule in rules))
    guards = guarded(run(checkpoints), metrics_asked(rules), CONTEXT)
    first = by_rules | {each.name for each in checkpoints if each.member in guards}
    everything = siblings_one_by_one(checkpoints, first)
    assert {d.checkpoint.name for d in decisions if d.reasons} == everything
    for decision in decisions:
        named = {reason.rule for reason in decision.reasons}
        assert ("sibling" in named) == (decision.checkpoint.name in everything - first)
        assert not (decision.reasons and decision.short)


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_a_second_prune_deletes_nothing(checkpoints: list[Checkpoint], rules: list[Rule]) -> None:
    first = kept(checkpoints, rules)
    left = [each for each in checkpoints if each.name in first]
    assert kept(left, rules) == first


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4), st.data())
def test_after_an_interrupted_prune_the_next_keeps_what_the_first_kept(
    checkpoints: list[Checkpoint], rules: list[Rule], data: st.DataObject
) -> None:
    first = kept(checkpoints, rules)
    left = [each for each in checkpoints if each.name in first or data.draw(st.booleans())]
    assert kept(left, rules) >= first


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_no_deletion_on_the_way_makes_a_guard_keep_the_next(
    checkpoints: list[Checkpoint], rules: list[Rule]
) -> None:
    stays = kept(checkpoints, rules)
    left = {each.member: each for each in checkpoints}
    for each in oldest_first(run(checkpoints)):
        if each.name not in stays:
            guards = guarded(run(list(left.values())), metrics_asked(rules), CONTEXT)
            assert each.member not in guards
            del left[each.member]


@many
@given(any_run(), st.lists(any_rule(), min_size=1, max_size=4))
def test_the_newest_complete_one_of_each_family_always_stays(
    checkpoints: list[Checkpoint], rules: list[Rule]
) -> None:
    stays = kept(checkpoints, rules)
    for family in families(run(checkpoints)):
        if family.places:
            saved = [c for p in family.places for c in p.checkpoints if not c.future]
            assert {c.name for c in family.places[-1].checkpoints} <= stays
            if saved:
                assert any(
                    each.name in stays and each.saved_ns == max(c.saved_ns for c in saved)
                    for each in saved
                )


def number(family: Family, each: Checkpoint) -> float | None:
    return each.step if family.order.value == "step" else each.epoch


def measured(family: Family, at: float | None, metric: str) -> set[float | str]:
    return {
        "nan" if math.isnan(c.metrics[metric]) else c.metrics[metric]
        for place in family.places
        for c in place.checkpoints
        if number(family, c) == at and metric in c.metrics and metric not in c.zeros
    }


def rivals(one: Family, other: Family) -> bool:
    for at in {number(one, c) for place in one.places for c in place.checkpoints}:
        for metric in ("loss", "acc"):
            mine, theirs = measured(one, at, metric), measured(other, at, metric)
            if mine and theirs and not mine & theirs:
                return True
    return False


def siblings_one_by_one(checkpoints: Sequence[Checkpoint], first: set[str]) -> set[str]:
    """Return what stays, by comparing all with all until nothing changes."""
    found = families(run(checkpoints))
    pairs = [
        (one, other)
        for one in found
        for other in found
        if one is not other
        and one.order is other.order
        and one.order.value in {"step", "epoch"}
        and not rivals(one, other)
    ]
    stays, before = set(first), set[str]()
    while stays != before:
        before = set(stays)
        for one, other in pairs:
            kept_here = [c for c in one.checkpoints if c.name in stays and not c.named]
            numbers = {number(one, c) for c in kept_here} - {None}
            stays |= {
                c.name
                for place in other.places
                for c in place.checkpoints
                if number(other, c) in numbers
            }
    return stays


VALUE_SETS = [
    (0.1, 0.2, 0.2, 0.3, math.nan, math.inf),
    (0.2, 0.2, 0.2, math.nan, math.nan, -math.inf),
    (-0.1, 0.0, 0.0, 1e-7, -math.inf, 0.3),
]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("values", VALUE_SETS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_keeps_those_that_fewer_than_n_others_beat(
    n: int, values: tuple[float, ...], mode: Mode
) -> None:
    rule = made("best", {"n": n, "metric": "loss", "mode": mode.value})
    sign = -1 if mode is Mode.MIN else 1
    for size in range(1, len(values) + 1):
        for row in set(permutations(values, size)):
            them = [
                checkpoint(NOW, step=step, metrics={"loss": value})
                for step, value in enumerate(row)
            ]
            ranked = [(sign * v, step) for step, v in enumerate(row) if math.isfinite(v)]
            expected = {
                f"step_{each[1]}" for each in ranked if sum(other > each for other in ranked) < n
            }
            assert keeps(rule, them) == expected


@many
@given(st.sets(st.integers(0, 60), min_size=1, max_size=8), st.integers(1, 25))
def test_every_n_keeps_the_closest_to_each_multiple(steps: set[int], n: int) -> None:
    expected = set()
    multiple = n
    while 2 * multiple <= 2 * max(steps) + n:
        distance, step = min((abs(step - multiple), step) for step in steps)
        if 2 * distance <= n:
            expected.add(f"step_{step}")
        multiple += n
    assert keeps(made("every", n), [checkpoint(NOW, step=step) for step in steps]) == expected


@many
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 25))
def test_every_duration_keeps_the_closest_to_each_multiple_since_the_earliest(
    ages: list[int], hours: int
) -> None:
    them = [checkpoint(NOW, step=step, saved=f"{age}h") for step, age in enumerate(ages)]
    start = min(each.saved_ns for each in them)
    at = {each.step: (each.saved_ns - start) // HOUR for each in them}
    expected = set()
    multiple = 0
    while 2 * multiple <= 2 * max(at.values()) + hours:
        distance, _, step = min((abs(hour - multiple), hour, step) for step, hour in at.items())
        if 2 * distance <= hours:
            expected.add(f"step_{step}")
        multiple += hours
    assert keeps(made("every", f"{hours}h"), them) == expected


@many
@given(st.data(), st.integers(1, 4))
def test_last_keeps_what_fewer_than_n_follow(data: st.DataObject, n: int) -> None:
    ages = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    them = [checkpoint(NOW, step=step, saved=f"{age}h") for step, age in enumerate(ages)]
    expected = {
        each.name
        for each in them
        if sum((o.step or 0) > (each.step or 0) for o in them) < n
        or sum((o.saved_ns, o.step or 0) > (each.saved_ns, each.step or 0) for o in them) < n
    }
    assert keeps(made("last", n), them) == expected


PERIODS: dict[str, Callable[[datetime], object]] = {
    "hourly": lambda t: t.strftime("%Y-%m-%d %H"),
    "daily": lambda t: t.strftime("%Y-%m-%d"),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: t.year,
}


@pytest.mark.parametrize("key", PERIODS)
@many
@given(data=st.data(), n=st.integers(1, 4))
def test_periods_keep_the_newest_of_each_of_the_last_n(
    key: str, data: st.DataObject, n: int
) -> None:
    moments = st.datetimes(datetime(1999, 12, 25), datetime(2026, 1, 14))  # noqa: DTZ001 - hypothesis wants them naive; UTC is set below
    near = st.builds(
        lambda base, hours: base + timedelta(hours=hours), moments, st.integers(-500, 0)
    )
    base = data.draw(near).replace(microsecond=0, tzinfo=UTC)
    hours = data.draw(st.lists(st.integers(0, 9000), min_size=1, max_size=9, unique=True))
    times = [base - timedelta(hours=hour) for hour in hours]
    them = [
        checkpoint(NOW, step=step, saved=time.strftime("%Y-%m-%dT%H:%M:%SZ"))
        for step, time in enumerate(times)
    ]
    newest: dict[object, int] = {}
    for time, step in sorted((time, step) for step, time in enumerate(times)):
        newest.pop(PERIODS[key](time), None)
        newest[PERIODS[key](time)] = step
    assert keeps(made(key, n), them) == {f"step_{step}" for step in list(newest.values())[-n:]}


@many
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 9))
def test_within_keeps_what_was_saved_near_the_end(ages: list[int], hours: int) -> None:
    them = [checkpoint(NOW, step=step, saved=f"{age}h") for step, age in enumerate(ages)]
    expected = {f"step_{step}" for step, age in enumerate(ages) if age - min(ages) <= hours}
    assert keeps(made("within", f"{hours}h"), them) == expected


def test_every_step_of_huge_numbers_costs_nothing() -> None:
    them = [checkpoint(NOW, step=step) for step in (1, 10**18, 3 * 10**18)]
    assert len(keeps(made("every", 1), them)) == 3
    assert len(keeps(made("every", "1s"), [*them, checkpoint(NOW, step=5, saved="3650d")])) == 2
