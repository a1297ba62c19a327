"""The checks agree with JSON Schema, and no file makes them fail otherwise than in words."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptctl.configfile import example_text, read_config
from ckptctl.errors import UsageError
from ckptctl.schema import schema
from ckptctl.shape import check
from ckptctl.yaml_nodes import UnparsableError, parse

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLE = yaml.safe_load(example_text())
WORDS = [
    "", "x", "min", "0", "3", "24h", "15m ", "10%", "100%", "101%", "5GB", "5iB", "replace", "file",
    "version", "policies", "keep", "last", "best", "n", "tiers", "url", "copy_to", "settle", "max_delete",
    "(?P<step>.)", "a/b", "nvme\n", "\x00", "\u202e", "\ud7ff",
]  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**20), st.sampled_from([0.5, -1.5]), st.sampled_from(WORDS)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(part: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) below."""
    keys = part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    return [(part, key) for key in keys] + [place for key in keys for place in places(part[key])]


@settings(max_examples=400)
@given(seed=st.integers(0, 10**6), value=values, how=st.sampled_from(["set", "add", "drop"]))
def test_a_changed_example_is_refused_by_both_or_by_none(seed: int, value: Any, how: str) -> None:
    document = copy.deepcopy(EXAMPLE)
    container, key = random.Random(seed).choice(places(document))  # noqa: S311 - hypothesis gives the seed
    if how == "set":
        container[key] = value
    elif how == "drop":
        del container[key]
    elif isinstance(container, dict):
        container[random.Random(seed).choice(WORDS)] = value  # noqa: S311 - as above
    else:
        container.append(value)
    node, faults = parse(json.dumps(document).encode())
    assert not faults
    assert node.plain() == document
    refused = list(check(node, SCHEMA, SCHEMA))
    assert bool(refused) == (not VALIDATOR.is_valid(document)), [str(fault) for fault in refused]
    assert all(str(fault).isprintable() for fault in refused)


@settings(max_examples=300)
@given(
    text=st.text(st.sampled_from("version: 1\n -[]{}&*a!<>|'\"#%@?,tiers\t\x00\x85\ufeff~"), max_size=80)
)  # fmt: skip
def test_any_text_is_a_configuration_or_told(text: str) -> None:
    told = "policy.yaml: right"
    try:
        read_config(text.encode(), "policy.yaml")
    except UsageError as error:
        told = error.message
    assert all(line.startswith("policy.yaml:") for line in told.split("\n"))


@settings(max_examples=100)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_tree_or_told(data: bytes) -> None:
    line = 1
    try:
        parse(data)
    except UnparsableError as error:
        line = error.fault.line
    assert 1 <= line <= len(data) + 1


def test_the_same_without_the_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    with_c = parse(example_text().encode())
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert parse(example_text().encode()) == with_c
    for wrong in (b"a: [", b"\x07", b"a: b: c", b"[" * 1000, b"%YAML 9.9\n---\na: 1\n"):
        with pytest.raises(UnparsableError):
            parse(wrong)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("10_000", 10000), ("0", 0), ("3.5", 3.5), ("true", True), ("null", None),
        ("~", None), ("no", "no"), ("on", "on"), ("010", "010"), ("0x10", "0x10"), ("1e3", "1e3"),
        ("2026-01-01", "2026-01-01"), ("1:30", "1:30"), (".nan", ".nan"), ('"3"', "3"), ("'true'", "true"),
        ("9" * 5000, "9" * 5000), ("|\n    3\n", "3\n"), ("[1, [2]]", [1, [2]]),
    ],
)  # fmt: skip
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    node, faults = parse(f"a:\n  {text}\n".encode())
    assert (node.plain(), faults) == ({"a": value}, [])


def test_an_alias_stands_for_its_value_at_its_own_line() -> None:
    node, _ = parse(b"a: &x\n  b: [1]\n\nc: *x\n")
    assert node.plain() == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert (node["c"].line, node["c"]["b"].line) == (4, 2)
