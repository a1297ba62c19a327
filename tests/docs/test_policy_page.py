"""docs/policy.md and ckptctl-policy(5): no key, rule, flag, guard or word is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ckptctl.configfile import read_config
from ckptctl.flags import flag_of
from ckptctl.rules._base import RULES
from ckptctl.rules.guards import GUARDS
from ckptctl.rules.metric import LESS_IS_BETTER, MORE_IS_BETTER
from ckptctl.schema import schema
from docs.policypage import policy_page
from docs.texts import POLICY_EXAMPLE

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
MAN = policy_page().replace(r"\-", "-")


def _keys(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        yield from part.get("properties", {})
        for value in part.values():
            yield from _keys(value)
    elif isinstance(part, list):
        for item in part:
            yield from _keys(item)


def _every() -> set[str]:
    keys, flags = set(_keys(dict(schema()))), {flag_of(key) for key in RULES.names()}
    assert len(keys) > 30
    return keys | flags | {*GUARDS}


def test_every_key_rule_flag_and_guard_is_on_the_page() -> None:
    told = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    assert _every() - told == set()


def test_every_key_rule_flag_and_guard_is_in_the_man_page() -> None:
    """As the tag of an item, where a user of `man` looks for it."""
    tags = re.findall(r"^\.TP\n(.*)$", MAN, re.MULTILINE)
    told = {word for tag in tags for word in re.findall(r"\\fB([\w-]+):?\\fP", tag)}
    assert _every() - told == set()


def test_the_example_of_the_man_page_is_right() -> None:
    assert len(read_config(POLICY_EXAMPLE.encode(), "ckptctl.yaml").policies) == 2


def test_every_word_that_tells_the_mode_is_there() -> None:
    for mode, words in (("min", LESS_IS_BETTER), ("max", MORE_IS_BETTER)):
        found = re.search(rf"^- `{mode}`: (.*)$", PAGE, re.MULTILINE)
        assert found is not None
        assert set(found[1].split(", ")) == words
        shown = re.search(rf"^\\fB{mode}\\fP\n([^.]*)\n\.", MAN, re.MULTILINE)
        assert shown is not None
        assert set(re.split(r",\s+", shown[1])) == words
