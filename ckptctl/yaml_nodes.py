"""YAML as plain values that know their line: no tags, no Python objects, no alias bombs.

The tree is built from parser events instead of by a YAML loader: so nothing is ever constructed,
depth and expansion are bounded while reading, and a duplicate key is seen.  Plain scalars follow
YAML 1.2 (`no`, `on` and `2026-01-01` are texts, `010` is no octal number); underscores in whole
numbers are allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import yaml

MAX_BYTES = 2**20
"""The largest file that is read."""
MAX_DEPTH = 50
"""The deepest nesting, aliases expanded."""
MAX_NODES = 100_000
"""The most values of a file, aliases expanded."""

Scalar: TypeAlias = str | int | float | bool | None

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,30})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")


class Fault(NamedTuple):
    """One thing that is wrong with a file."""

    line: int
    path: str  # the key path, "" for the file as a whole
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class UnparsableError(Exception):
    """The text is no YAML that we read; `fault` says where and why."""

    def __init__(self, line: int, text: str, path: str = "") -> None:
        super().__init__(text)
        self.fault = Fault(line, path, text)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a YAML file; its line is that of its key, where it has one."""

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    line: int

    def plain(self) -> object:
        """Return it as lists, dicts and scalars."""
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, Mapping):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def get(self, key: str) -> Node | None:
        """Return what a mapping has under a key, if it is one and has it."""
        return self.value.get(key) if isinstance(self.value, Mapping) else None

    def __getitem__(self, key: str) -> Node:
        node = self.get(key)
        if node is None:
            raise KeyError(key)
        return node


def join(path: str, part: str | int) -> str:
    """Return the key path with a key or an index added: `policies.default.keep[2]`."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    key = part if re.fullmatch(r"[\w-]{1,60}", part) else quote(part)
    return f"{path}.{key}" if path else key


def quote(text: str, most: int = 60) -> str:
    """Return a text in quotes, shortened, with nothing in it that a terminal would obey."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return json.dumps(cut, ensure_ascii=not cut.isprintable())


def parse(data: bytes) -> tuple[Node, list[Fault]]:
    """Return the tree of one YAML document, and its duplicate keys and tags as faults.

    Raises UnparsableError where there is no tree: no UTF-8, a syntax error, no document or
    several, or one of the limits above.
    """
    if len(data) > MAX_BYTES:
        raise UnparsableError(1, f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnparsableError(data[: error.start].count(b"\n") + 1, "is no UTF-8 text") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        builder = _Builder(yaml.parse(text, Loader=loader))
        return builder.document(), builder.faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise UnparsableError(mark.line + 1 if mark else 1, f"is no YAML: {said}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnparsableError(line, f"is no YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise UnparsableError(1, f"is no YAML: {error}") from None


class _Anchored(NamedTuple):
    """A value with a name, and what it costs to use it again."""

    node: Node
    nodes: int
    height: int


class _Builder:
    """Builds the tree from the events of a parser."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.faults: list[Fault] = []
        self._events = events
        self._anchors: dict[str, _Anchored | None] = {}  # None: not finished yet
        self._nodes = 0
        self._deepest = 0

    def document(self) -> Node:
        """Return the tree of the only document."""
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise UnparsableError(_line(event), "holds more than one YAML document")
                root = self._node(next(self._events), "", 0, None)
        if root is None or root.value is None:
            raise UnparsableError(1, "is empty")
        return root

    def _node(self, event: yaml.Event, path: str, depth: int, line: int | None) -> Node:
        """Return the tree that an event begins, reading on to its end."""
        line = line or _line(event)
        self._count(1, depth, line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth, line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            name = tag.replace("tag:yaml.org,2002:", "!!")
            self.faults.append(Fault(line, path, f"has the tag {quote(name)}: tags are not read"))
        anchor = getattr(event, "anchor", None)
        if anchor is None:
            return Node(self._value(event, path, depth), line)
        self._anchors[anchor] = None
        before, outer, self._deepest = self._nodes, self._deepest, depth
        node = Node(self._value(event, path, depth), line)
        self._anchors[anchor] = _Anchored(node, self._nodes - before, self._deepest - depth)
        self._deepest = max(outer, self._deepest)
        return node

    def _alias(self, event: yaml.AliasEvent, path: str, depth: int, line: int) -> Node:
        name = str(event.anchor)
        known = self._anchors.get(name)
        if known is None:
            what = "refers to itself" if name in self._anchors else "is defined nowhere"
            raise UnparsableError(line, f"the alias *{name} {what}", path)
        self._count(known.nodes, depth + known.height, line)
        return Node(known.node.value, line)

    def _value(
        self, event: yaml.Event, path: str, depth: int
    ) -> Scalar | tuple[Node, ...] | Mapping[str, Node]:
        if isinstance(event, yaml.ScalarEvent):
            return _resolve(event.value) if event.implicit[0] else str(event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(item, join(path, len(items)), depth + 1, None))
            return tuple(items)
        members: dict[str, Node] = {}
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            line = _line(key)
            if not isinstance(key, yaml.ScalarEvent):
                raise UnparsableError(line, "has a key that is no plain text", path)
            inner = join(path, key.value)
            node = self._node(next(self._events), inner, depth + 1, line)
            if key.value in members:
                first = members[key.value].line
                self.faults.append(Fault(line, inner, f"is given twice, first on line {first}"))
            members[key.value] = node
        return members

    def _count(self, nodes: int, depth: int, line: int) -> None:
        self._nodes += nodes
        self._deepest = max(self._deepest, depth)
        if depth > MAX_DEPTH:
            raise UnparsableError(line, f"is nested more than {MAX_DEPTH} deep")
        if self._nodes > MAX_NODES:
            raise UnparsableError(line, f"holds more than {MAX_NODES} values, aliases expanded")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _resolve(text: str) -> Scalar:
    """Return what a plain scalar means."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    return float(text) if _FLOAT.fullmatch(text) else text
