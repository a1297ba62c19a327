"""Checks a YAML tree against a JSON Schema, and says what is wrong in words, with line and key path.

The schema is the one table of what may stand in a configuration; this reads the part of JSON
Schema (draft 2020-12) that it uses.  A sub-schema's `title` is what it wants, as a noun phrase
("a duration such as 6h"); without one the words follow from its keywords.  `writeOnly` marks
secrets: their value is not shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from ckptctl.yaml_nodes import Fault, Node, join, quote

Schema: TypeAlias = Mapping[str, object]

CHECKED = frozenset([
    "$ref", "type", "const", "enum", "anyOf", "oneOf", "minimum", "maximum", "minLength", "pattern",
    "properties", "required", "additionalProperties", "propertyNames", "minProperties",
    "items", "minItems",
])  # fmt: skip
"""The keywords that are checked."""
NOTES = frozenset([
    "$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "format",
    "writeOnly",
])  # fmt: skip
"""The keywords that only tell; a schema of ours has no others than these and the checked ones."""

_NOUNS = {
    "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "a mapping", "null": "nothing",
}  # fmt: skip


def check(node: Node, schema: Schema, root: Schema, path: str = "") -> Iterator[Fault]:
    """Yield what is wrong with a value; `root` is the schema that `$ref` points into."""
    schema = _resolved(schema, root)
    branches = _branches(schema, root)
    if branches:
        yield from _check_branches(node, schema, branches, root, path)
    elif not _fits(node.value, schema):
        yield Fault(node.line, path, _refusal(node, schema, root))
    elif isinstance(node.value, Mapping):
        yield from _check_mapping(node, node.value, schema, root, path)
    elif isinstance(node.value, tuple):
        items = cast("Schema", schema.get("items", {}))
        for index, item in enumerate(node.value):
            yield from check(item, items, root, join(path, index))


def nearest(word: str, known: Sequence[str]) -> str:
    """Return the known word that was probably meant, or ""."""
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else ""


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return `did you mean "keep"?`, or the known words where none is near."""
    meant = nearest(word, known)
    if meant:
        return f"did you mean {quote(meant)}?"
    return f"known are {', '.join(known)}" if known else "there are none"


def wanted(schema: Schema, root: Schema) -> str:
    """Return what a schema wants, as a noun phrase."""
    schema = _resolved(schema, root)
    branches = _branches(schema, root)
    if "title" in schema:
        return str(schema["title"])
    if branches:
        return _either([wanted(branch, root) for branch in branches])
    if "const" in schema or "enum" in schema:
        return _either([_word(value) for value in _choices(schema)])
    noun = _NOUNS[str(schema.get("type", "string"))]
    if "minimum" in schema:
        up_to = f" and at most {schema['maximum']}" if "maximum" in schema else ""
        return f"{noun} of at least {schema['minimum']}{up_to}"
    if "items" in schema:
        return f"{noun}, each {wanted(cast('Schema', schema['items']), root)}"
    if "properties" in schema:
        return f"{noun} with {', '.join(cast('Schema', schema['properties']))}"
    return noun


def _check_branches(
    node: Node, schema: Schema, branches: list[Schema], root: Schema, path: str
) -> Iterator[Fault]:
    """Yield nothing if one branch takes the value, else what the branch of its type says."""
    tried = [(branch, list(check(node, branch, root, path))) for branch in branches]
    if any(not faults for _, faults in tried):
        return
    if isinstance(node.value, Mapping | tuple):
        inner = [faults for branch, faults in tried if _typed(node.value, branch)]
        if inner:
            yield from min(inner, key=len)
            return
    yield Fault(node.line, path, _refusal(node, schema, root))


def _check_mapping(
    node: Node, members: Mapping[str, Node], schema: Schema, root: Schema, path: str
) -> Iterator[Fault]:
    """Yield what is wrong with the keys of a mapping and with what they hold."""
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    rest = schema.get("additionalProperties", {})
    missing = [
        key for key in cast("Sequence[str]", schema.get("required", ())) if key not in members
    ]
    names = cast("Schema", schema.get("propertyNames", {}))
    for key, member in members.items():
        inner = join(path, key)
        if key in properties:
            yield from check(member, properties[key], root, inner)
        elif rest is False:
            free = [name for name in properties if name not in members]
            meant = nearest(key, free) or nearest(key, list(properties))
            missing = [name for name in missing if name != meant]
            yield Fault(
                member.line, inner, f"unknown key; {suggestion(key, free or list(properties))}"
            )
        else:
            if not _fits(key, names):
                yield Fault(member.line, inner, f"must be {wanted(names, root)}")
            yield from check(member, cast("Schema", rest), root, inner)
    for key in missing:
        what = wanted(properties[key], root) if key in properties else "a value"
        yield Fault(node.line, join(path, key), f"is missing: it must be {what}")


def _fits(value: object, schema: Schema) -> bool:
    """Whether a value is what the schema says of it, what it holds aside."""
    if not _typed(value, schema) or not _listed(value, schema):
        return False
    if isinstance(value, str):
        if len(value) < cast("int", schema.get("minLength", 0)):
            return False
        pattern = re.sub(r"\$$", r"\\Z", str(schema.get("pattern", "")))  # as JSON Schema means it
        return re.search(pattern, value) is not None
    if isinstance(value, int | float):
        low = cast("float", schema.get("minimum", value))
        return low <= value <= cast("float", schema.get("maximum", value))
    if isinstance(value, tuple):
        return len(value) >= cast("int", schema.get("minItems", 0))
    if isinstance(value, Mapping):
        return len(value) >= cast("int", schema.get("minProperties", 0))
    return True


def _choices(schema: Schema) -> list[object]:
    """Return the values that the schema lists, if it lists any."""
    listed = list(cast("Sequence[object]", schema.get("enum", ())))
    return [*listed, schema["const"]] if "const" in schema else listed


def _listed(value: object, schema: Schema) -> bool:
    """Whether a value is one of those listed; 1, 1.0 and true are three things."""
    choices = _choices(schema)
    return not choices or any(value == one and type(value) is type(one) for one in choices)


def _typed(value: object, schema: Schema) -> bool:
    """Whether a value has the JSON type that the schema names, if it names one."""
    match schema.get("type"):
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, tuple)
        case "object":
            return isinstance(value, Mapping)
        case "null":
            return value is None
        case _:
            return True


def _refusal(node: Node, schema: Schema, root: Schema) -> str:
    """Return the words for a value that is not what was wanted."""
    want = f"must be {wanted(schema, root)}"
    if schema.get("writeOnly"):
        return want
    value = node.value
    if value is None:
        return f"{want}, but nothing stands there"
    if isinstance(value, tuple):
        return f"{want}, not {'a list' if value else 'an empty list'}"
    if isinstance(value, Mapping):
        return f"{want}, not {'a mapping' if value else 'an empty mapping'}"
    return f"{want}, not {quote(value) if isinstance(value, str) else _word(value)}"


def _branches(schema: Schema, root: Schema) -> list[Schema]:
    """Return the alternatives of a schema, those of alternatives included."""
    flat: list[Schema] = []
    for branch in cast("Sequence[Schema]", schema.get("anyOf", schema.get("oneOf", ()))):
        inner = _resolved(branch, root)
        flat += _branches(inner, root) or [inner]
    return flat


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Return the schema that a `$ref` names; what stands beside it goes first."""
    if "$ref" not in schema:
        return schema
    target: object = root
    for part in str(schema["$ref"]).removeprefix("#/").split("/"):
        target = cast("Schema", target)[part]
    return {**cast("Schema", target), **{k: v for k, v in schema.items() if k != "$ref"}}


def _either(words: list[str]) -> str:
    """Return `a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _word(value: object) -> str:
    """Return a scalar as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
