"""`ckptctl config`, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from ckptctl.cli.config import app
from ckptctl.configfile import load
from ckptctl.errors import UsageError
from ckptctl.rules._base import RULES
from ckptctl.schema import schema
from ckptctl.shape import CHECKED, NOTES


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, standalone_mode=False)
    return result.stdout


def keys_of(part: object) -> set[str]:
    """Return every key that a schema knows, at any depth."""
    if not isinstance(part, dict):
        return {key for item in part for key in keys_of(item)} if isinstance(part, list) else set()
    own = set(part.get("properties", {}))
    return own.union(*(keys_of(value) for value in part.values()))


def keys_in(document: object) -> set[str]:
    if isinstance(document, dict):
        return set(document).union(*(keys_in(value) for value in document.values()))
    return (
        {key for item in document for key in keys_in(item)} if isinstance(document, list) else set()
    )


def keywords(part: object, *, names: bool = False) -> set[str]:
    """Return every keyword of a schema; below `properties` and `$defs` stand names."""
    if isinstance(part, list):
        return {word for item in part for word in keywords(item)}
    if not isinstance(part, dict):
        return set()
    found = set() if names else set(part)
    for key, value in part.items():
        if names or key not in ("const", "default", "examples"):
            found |= keywords(value, names=not names and key in ("properties", "$defs"))
    return found


def test_the_example_is_right_by_every_measure(tmp_path: Path) -> None:
    text = run("example")
    file = tmp_path / "example.yaml"
    file.write_text(text)
    assert load(str(file)).tiers
    jsonschema.Draft202012Validator(json.loads(run("schema"))).validate(yaml.safe_load(text))
    assert run("check", str(file)) == (
        f"{file}: valid: 3 tiers, 2 run patterns, 1 format, 2 policies\n"
    )


def test_the_example_has_every_key() -> None:
    assert keys_of(schema()) - keys_in(yaml.safe_load(run("example"))) == set()


def test_the_printed_schema_is_one() -> None:
    printed = json.loads(run("schema"))
    jsonschema.Draft202012Validator.check_schema(printed)
    assert set(printed["$defs"]["rule"]["properties"]) == set(RULES.names())


def test_no_schema_says_what_is_not_checked() -> None:
    """A keyword that `shape` does not know would be ignored."""
    assert keywords(dict(schema())) <= CHECKED | NOTES


def test_every_mapping_knows_its_keys() -> None:
    def objects(part: object) -> list[dict[str, object]]:
        if isinstance(part, list):
            return [found for item in part for found in objects(item)]
        if not isinstance(part, dict):
            return []
        own = [part] if "properties" in part and "type" in part else []
        return own + [found for value in part.values() for found in objects(value)]

    assert all(part["additionalProperties"] is False for part in objects(dict(schema())))


def test_check_finds_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CKPTCTL_CONFIG", "mine.yaml")
    (tmp_path / "mine.yaml").write_text(
        "version: 1\nruns: [{match: a, policy: p}]\npolicies: {p: {}, q: {}}\n"
    )
    assert run("check") == (
        "mine.yaml: valid: 0 tiers, 1 run pattern, 0 formats, 2 policies\n"
        "note: no run gets the policy q\n"
    )


def test_check_says_that_nothing_would_be_matched(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("version: 1\npolicies: {p: {keep: [{last: 1}]}}\n")
    assert "it matches no run; its policies work with --policy only" in run("check", str(file))


def test_check_refuses(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("version: 1\npolices: {}\n")
    with pytest.raises(
        UsageError, match=r'c.yaml:2: polices: unknown key; did you mean "policies"'
    ):
        run("check", str(file))
