"""Globs for names of runs."""

from __future__ import annotations

import pytest

from ckptctl.globs import matches


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("llm-*", ["llm-", "llm-7b"], ["llm", "llm-7b/a", "a/llm-7b", "LLM-7b"]),
        ("*", ["a", ".a"], ["a/b"]),
        ("**", ["a", "a/b/c", "a\nb"], []),
        ("team/**", ["team/a", "team/a/b"], ["team", "teams/a"]),
        ("**/llm", ["llm", "a/llm", "a/b/llm"], ["allm", "a/llm/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("a**b", ["ab", "a/b", "a/x/b"], ["a"]),
        ("exp_?", ["exp_1"], ["exp_", "exp_12", "exp_/"]),
        ("exp_[0-9]", ["exp_1"], ["exp_a"]),
        ("exp_[!0-9]", ["exp_a"], ["exp_1", "exp_/"]),
        ("a.b+(c)", ["a.b+(c)"], ["axb+(c)", "a.bb(c)"]),
        ("[", ["["], ["a"]),
        ("a[]]b", ["a]b"], ["ab"]),
    ],
)
def test_matches(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [name for name in yes if not matches(pattern, name)] == []
    assert [name for name in no if matches(pattern, name)] == []
