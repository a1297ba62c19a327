"""Sidecar JSON with all that users put into it."""

from __future__ import annotations

import json
import math

import pytest

from ckptctl.sidecar import parse_sidecar


def test_any_other_number_at_the_top_level_is_a_metric_and_booleans_are_none() -> None:
    found = parse_sidecar(
        "a.json", b'{"step": 7, "val_ppl": 12.5, "done": true, "note": "x", "n": 3}'
    )
    assert found.step == 7
    assert dict(found.metrics) == {"val_ppl": 12.5, "n": 3}
    assert not found.problems


def test_bare_nan_and_infinity_are_read() -> None:
    found = parse_sidecar("a.json", b'{"metrics": {"a": NaN, "b": Infinity, "c": -Infinity}}')
    assert math.isnan(found.metrics["a"])
    assert (found.metrics["b"], found.metrics["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize("key", ["step", "global_step", "iteration"])
def test_each_spelling_of_the_step(key: str) -> None:
    assert parse_sidecar("a.json", json.dumps({key: 10**20}).encode()).step == 10**20


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02T03:04:05Z", 1767323045 * 10**9),
        ("2026-01-02T03:04:05", 1767323045 * 10**9),
        ("2026-01-02T04:04:05.25+01:00", 1767323045 * 10**9 + 250_000_000),
        (1767323045, 1767323045 * 10**9),
        (1767323045.5, 1767323045 * 10**9 + 500_000_000),
        (1750000000.123, 1750000000123000000),
    ],
)
def test_times(value: object, expected: int) -> None:
    assert parse_sidecar("a.json", json.dumps({"saved_at": value}).encode()).saved_ns == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"  ",
        b"\x00\xff\xfe binary",
        b"[1, 2]",
        b"3",
        b"null",
        b'{"step": ',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "blank", "binary", "list", "number", "null", "cut", "deep", "huge-number"],
)
def test_what_cannot_be_understood_keeps_the_checkpoint(content: bytes) -> None:
    found = parse_sidecar("a.json", content)
    assert found.unread
    assert found.unread.startswith("a.json ")
    assert [problem.code for problem in found.problems] == ["sidecar-unreadable"]


def test_a_number_of_thousands_of_digits_is_told_without_advice_on_python() -> None:
    found = parse_sidecar("a.json", b'{"step": ' + b"9" * 5000 + b"}")
    assert found.unread == "a.json holds a number of thousands of digits, which is not read"


@pytest.mark.parametrize(
    "content",
    [
        {"step": "seven"},
        {"step": 1.5},
        {"epoch": "x"},
        {"time": "yesterday"},
        {"time": 1e300},
        {"metrics": [1]},
        {"resumable": 1},
        {"step": True},
    ],
)
def test_a_single_value_of_a_wrong_type_is_a_problem_and_counts_as_absent(
    content: dict[str, object],
) -> None:
    found = parse_sidecar("a.json", json.dumps(content).encode())
    assert [problem.code for problem in found.problems] == ["sidecar-value"]
    assert found.unread is None
    assert (found.step, found.epoch, found.saved_ns, dict(found.metrics), found.resumable) == (
        None,
        None,
        None,
        {},
        None,
    )


@pytest.mark.parametrize(
    "content", [{"pinned": "yes"}, {"pinned": 1}, {"tags": "release"}, {"tags": [1]}]
)
def test_pins_and_tags_of_a_wrong_type_keep_the_checkpoint(content: dict[str, object]) -> None:
    found = parse_sidecar("a.json", json.dumps(content).encode())
    assert found.unread


def test_pins_tags_and_resumable() -> None:
    found = parse_sidecar("a.json", b'{"pinned": true, "tags": ["a", "b"], "resumable": false}')
    assert (found.pinned, found.tags, found.resumable) == (True, ("a", "b"), False)


def test_a_sidecar_of_too_many_values_is_never_a_tree_in_memory() -> None:
    found = parse_sidecar("a.json", b'{"a": [[]' + b",[]" * 700_000 + b"]}")
    assert found.unread == "a.json holds too many values to be read"
