"""What each rule takes, and that its JSON Schema says the same."""

from __future__ import annotations

import jsonschema
import pytest

from ckptctl.rules._base import RULES, Metric, Mode

LOSS = Metric("loss", Mode.MIN)
COUNTED = ["last", "best", "hourly", "daily", "weekly", "monthly", "yearly"]
GOOD = [
    *((key, value) for key in COUNTED for value in (1, 1000)),
    ("best", {"n": 2}),
    ("best", {"n": 2, "metric": "acc", "mode": "max"}),
    ("every", 10_000),
    ("every", "24h"),
    ("every", "1.5d"),
    ("within", "2w"),
    ("steps", [0, 5]),
    ("tags", ["release", "v1"]),
]
BAD: list[tuple[str, object]] = [
    *((key, value) for key in COUNTED for value in (0, -1, True, 1.5, "three", None, [1])),
    ("best", {}),
    ("best", {"n": 0}),
    ("best", {"n": 1, "metric": 5}),
    ("best", {"n": 1, "mode": "lowest"}),
    ("best", {"n": 1, "top": 5}),
    ("every", 0),
    ("every", False),
    ("every", "24x"),
    ("every", None),
    ("within", 3600),
    ("within", "soon"),
    ("steps", []),
    ("steps", 1000),
    ("steps", [True]),
    ("steps", [-1]),
    ("tags", []),
    ("tags", "release"),
    ("tags", [1.0]),
    ("tags", [""]),
]


@pytest.mark.parametrize(("key", "value"), GOOD)
def test_what_the_schema_allows_makes_a_rule(key: str, value: object) -> None:
    spec = RULES[key]
    jsonschema.validate(value, spec.schema)
    assert spec.make(value, LOSS).name == key


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_makes_no_rule_is_not_allowed_by_the_schema(key: str, value: object) -> None:
    spec = RULES[key]
    with pytest.raises(ValueError, match=r"\w{4}"):
        spec.make(value, LOSS)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, spec.schema)


def test_a_flag_gives_texts() -> None:
    assert RULES["last"].make("3", None) == RULES["last"].make(3, None)
    assert RULES["every"].make("10000", None) == RULES["every"].make(10_000, None)
    assert RULES["steps"].make(["5", "7"], None) == RULES["steps"].make([7, 5], None)


@pytest.mark.parametrize("text", ["0", "0h", "0.0s"])
def test_an_interval_has_a_length(text: str) -> None:
    with pytest.raises(ValueError, match=r"longer than 0|at least 1"):
        RULES["every"].make(text, None)


def test_a_rule_cannot_name_a_mode_twice_and_differently() -> None:
    with pytest.raises(ValueError, match="both"):
        RULES["best"].make({"n": 1, "metric": "loss:min", "mode": "max"}, None)


def test_a_mode_alone_is_that_of_the_policys_metric() -> None:
    rule = RULES["best"].make({"n": 1, "mode": "max"}, LOSS)
    assert rule == RULES["best"].make({"n": 1, "metric": "loss:max"}, None)
