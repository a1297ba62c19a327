"""man/ckptctl-policy.5, from the JSON Schema, the registered rules and the guards."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import cast

from ckptctl.cli.commands import COMMANDS
from ckptctl.flags import flag_of
from ckptctl.rules._base import RULES, Metric, Mode, Rule, RuleSpec
from ckptctl.rules.guards import GUARDS
from ckptctl.rules.metric import LESS_IS_BETTER, MORE_IS_BETTER
from ckptctl.schema import schema
from docs.roff import block, bold, item, page, paragraphs, plain, section, see_also, slanted
from docs.roff import subsection as part
from docs.texts import POLICY, POLICY_EXAMPLE, POLICY_FOUND, POLICY_RULES

_VALUES = ("1", "1d", ["1"])
"""Each rule takes at least one of these; one that takes two is made of two classes."""
_Keys = Mapping[str, "_Keys | str | int | bool | list[str]"]


def policy_page() -> str:
    """Return the page."""
    root = dict(schema())
    defs = cast("_Keys", root["$defs"])
    file = _of(root, "properties")
    policy = _of(defs, "policy")
    here, there = _of(policy, "properties"), _of(defs, "override", "properties")
    only_there = {key: value for key, value in there.items() if key not in here}
    return page(
        "ckptctl-policy",
        5,
        [
            section("NAME", f"{plain('ckptctl-policy - configuration of ckptctl: which checkpoints are kept')}\n"),
            section("SYNOPSIS", f"{slanted('ckptctl.yaml')}\n"),
            section("DESCRIPTION", paragraphs(POLICY), block(POLICY_EXAMPLE)),
            section("WHERE IT IS FOUND", paragraphs(POLICY_FOUND)),
            section(
                "KEYS",
                part("The file", *_keys(file)),
                part("Each of tiers", *_keys(_of(file, "tiers", "additionalProperties", "properties"))),
                part("Each of runs", *_keys(_of(file, "runs", "items", "properties"))),
                part("Each of formats", *_keys(_of(file, "formats", "items", "properties"))),
                part("Each of policies", *_keys(here)),
                part("Each of the tiers of a policy", paragraphs("All keys of a policy but `tiers`, and:"), *_keys(only_there)),
            ),
            section("RULES", paragraphs(POLICY_RULES), *map(_rule, RULES)),
            section("MODE OF A METRIC", *_modes()),
            section("GUARDS", _GUARDS_TEXT, *(item(bold(name), f"{text}.") for name, text in GUARDS.items())),
            see_also([("ckptctl", 1), *((f"ckptctl-{name}", 1) for name in ("config", "prune") if name in COMMANDS)]),
        ],
    )  # fmt: skip


_GUARDS_TEXT = paragraphs(
    "Always on; no rule and no flag can switch one off. Each is a reason of its own in the output."
)


def _of(table: Mapping[str, object], *path: str) -> _Keys:
    """Return a table inside a table."""
    for key in path:
        table = cast("_Keys", table[key])
    return cast("_Keys", table)


def _keys(table: _Keys) -> Iterator[str]:
    for key, value in table.items():
        keys = cast("_Keys", value)
        yield item(bold(key), _sentence(keys))
        yield from _inner(keys)


def _inner(keys: Mapping[str, object]) -> Iterator[str]:
    """Yield the keys of a value that is a mapping, or may be one."""
    ways = (keys, *cast("list[_Keys]", keys.get("anyOf", keys.get("oneOf", []))))
    for way in ways:
        if "properties" in way:
            yield from (".RS\n", *_keys(_of(way, "properties")), ".RE\n")


def _sentence(keys: _Keys) -> str:
    """Return what a key means, what it takes, and what it is by default."""
    value, said = _value(keys), str(keys.get("description", ""))
    said = f"{said} ({value})" if said else value
    if "default" in keys:
        default = keys["default"]
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        said += f"; by default `{shown}`"
    return said + "."


def _value(keys: _Keys) -> str:
    """Return in words what a key takes."""
    if "const" in keys:
        return f"`{keys['const']}`"
    words = keys.get("enum")
    if isinstance(words, list):
        return ", ".join(f"`{word}`" for word in words[:-1]) + f" or `{words[-1]}`"
    if "title" in keys:
        return str(keys["title"])
    kinds = {"boolean": "`true` or `false`", "integer": "a whole number", "string": "a name"}
    return kinds[str(keys["type"])]


def _rule(spec: RuleSpec) -> str:
    tag = f"{bold(f'{spec.key}:')} {slanted(_in_yaml(spec))}, {bold(flag_of(spec.key))} {slanted(spec.metavar)}"
    texts = [text for kind in _classes(spec) for text in (inspect.getdoc(kind) or "").split("\n\n")]
    inner = "".join(_inner(spec.schema))
    return item(tag, *texts, *(["Its value may also be a mapping:"] if inner else [])) + inner


def _in_yaml(spec: RuleSpec) -> str:
    return f"[{spec.metavar}, ...]" if spec.repeat else spec.metavar


def _classes(spec: RuleSpec) -> Iterator[type[Rule]]:
    """Yield the classes that a rule is made of, which say what it does."""
    seen = set()
    for value in _VALUES:
        try:
            kind = type(spec.make(value, Metric("loss", Mode.MIN)))
        except ValueError:
            continue
        if kind not in seen:
            seen.add(kind)
            yield kind


def _modes() -> Iterator[str]:
    yield paragraphs(
        "Where neither `min` nor `max` is given, the words of the metric's name tell, split at anything but "
        "letters and digits; a word counts as it is, and without its trailing digits. Words of both kinds, or of "
        "none, are an error."
    )
    yield item(bold("min"), ", ".join(sorted(LESS_IS_BETTER)))
    yield item(bold("max"), ", ".join(sorted(MORE_IS_BETTER)))
