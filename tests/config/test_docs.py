"""docs/policy.md: every block works, and nothing is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from ckptctl.configfile import read_config
from ckptctl.flags import flag_of
from ckptctl.rules._base import RULES
from ckptctl.rules.guards import GUARDS
from ckptctl.rules.metric import LESS_IS_BETTER, MORE_IS_BETTER
from ckptctl.schema import schema

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_is_right(number: int) -> None:
    """A block without a version is the inside of a policy."""
    text = BLOCKS[number]
    if not text.startswith("version:"):
        text = "version: 1\npolicies:\n  default:\n" + indent(text, "    ")
    read_config(text.encode(), "policy.yaml")


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 4


def _keys(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        yield from part.get("properties", {})
        for value in part.values():
            yield from _keys(value)
    elif isinstance(part, list):
        for item in part:
            yield from _keys(item)


def test_every_key_rule_flag_and_guard_is_there() -> None:
    told = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    assert set(_keys(dict(schema()))) - told == set()
    assert {flag_of(key) for key in RULES.names()} - told == set()
    assert {*GUARDS} - told == set()


def test_every_word_that_tells_the_mode_is_there() -> None:
    for mode, words in (("min", LESS_IS_BETTER), ("max", MORE_IS_BETTER)):
        found = re.search(rf"^- `{mode}`: (.*)$", PAGE, re.MULTILINE)
        assert found is not None
        assert set(found[1].split(", ")) == words
