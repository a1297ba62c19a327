"""From a YAML tree whose shape is right to tiers, layouts and drafts; and what no schema can say."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from ckptctl import globs
from ckptctl.expiry import PurgeBy, SitePurge
from ckptctl.flags import parse_max_delete
from ckptctl.formats._base import FORMATS
from ckptctl.model import Layout
from ckptctl.policy import Draft, Limits, RunMatch, Statement, Tier
from ckptctl.rules._base import Metric, Mode
from ckptctl.rules.metric import parse_metric
from ckptctl.shape import suggestion
from ckptctl.stores import is_local, settled
from ckptctl.units import parse_duration, parse_size
from ckptctl.yaml_nodes import Fault, Node, join

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decoder:
    """Reads the parts of one file; what is wrong goes to `faults`."""

    file: str
    root: Node
    faults: list[Fault] = field(default_factory=list)

    def tiers(self) -> tuple[Tier, ...]:
        """Return the tiers in their order, local URLs made absolute."""
        tiers: list[Tier] = []
        for name, node in self._members("tiers"):
            path = f"tiers.{name}"
            per_node = node.get("per_node")
            tier = Tier(
                name=name,
                url=self._url(node["url"], f"{path}.url"),
                storage_options={k: _option(v) for k, v in members(node, "storage_options")},
                per_node=per_node is not None and per_node.value is True,
                purge=self._purge(node, path),
            )
            twin = next((t for t in tiers if _spelled(t.url) == _spelled(tier.url)), None)
            if twin:
                self._fault(node["url"], f"{path}.url", f"is the place of {twin.name} already")
            tiers.append(tier)
        return tuple(tiers)

    def _purge(self, node: Node, path: str) -> SitePurge | None:
        """Return what a tier's site purges there."""
        after, by, warn = (node.get(f"purge_{key}") for key in ("after", "by", "warn"))
        if after is None:
            for key, value in (("purge_by", by), ("purge_warn", warn)):
                if value is not None:
                    self._fault(value, f"{path}.{key}", "needs purge_after beside it")
            return None
        purge = SitePurge(
            _duration(after),
            PurgeBy.ANY if by is None else PurgeBy(str(by.value)),
            None if warn is None else _duration(warn),
        )
        if not is_local(str(node["url"].value)):
            text = "is for file systems: what a bucket's lifecycle rules delete is not known here"
            self._fault(after, f"{path}.purge_after", text)
        elif not purge.after_ns:
            self._fault(after, f"{path}.purge_after", "must be more than 0")
        elif warn is not None and (purge.warn_ns or 0) > purge.after_ns:
            self._fault(warn, f"{path}.purge_warn", "must not be longer than purge_after")
        return purge

    def runs(self, policies: list[str]) -> tuple[RunMatch, ...]:
        """Return the entries of `runs`, each with a glob that works and a policy that exists."""
        entries: list[RunMatch] = []
        for index, node in enumerate(self._items("runs")):
            path = f"runs[{index}]"
            entry = RunMatch(str(node["match"].value), str(node["policy"].value))
            try:
                globs.matches(entry.match, "")
            except re.error as error:
                self._fault(node["match"], f"{path}.match", f"is no glob: {error.msg}")
            if entry.policy not in policies:
                known = suggestion(entry.policy, policies)
                self._fault(node["policy"], f"{path}.policy", f"no such policy; {known}")
            entries.append(entry)
        return tuple(entries)

    def formats(self) -> tuple[Layout, ...]:
        """Return the user's own layouts, their regular expressions compiled once to see."""
        layouts: list[Layout] = []
        for index, node in enumerate(self._items("formats")):
            path = f"formats[{index}]"
            plain = cast("Mapping[str, str]", node.plain())
            layout = Layout(
                name=plain["name"], match=plain["match"], directory=plain["kind"] == "directory"
            )
            try:
                re.compile(layout.match)
            except re.error as error:
                self._fault(node["match"], f"{path}.match", f"is no regular expression: {error}")
            taken = [*FORMATS.names(), *(other.name for other in layouts)]
            if layout.name in taken:
                self._fault(node["name"], f"{path}.name", "is the name of another layout")
            layouts.append(layout)
        return tuple(layouts)

    def policies(self, tiers: tuple[Tier, ...]) -> dict[str, Draft]:
        """Return the drafts of the policies by name."""
        drafts: dict[str, Draft] = {}
        for name, node in self._members("policies"):
            path = join("policies", name)
            drafts[name] = self._draft(node, path, name)
            copies = node.get("require_copies")
            if copies is not None and copies.value and not tiers:
                self._fault(copies, f"{path}.require_copies", "needs tiers that hold copies")
        return drafts

    def overrides(self, tiers: tuple[Tier, ...]) -> dict[tuple[str, str], Draft]:
        """Return what a tier replaces of a policy, by the policy's and the tier's name."""
        names = [tier.name for tier in tiers]
        drafts: dict[tuple[str, str], Draft] = {}
        for policy, node in self._members("policies"):
            for tier, part in members(node, "tiers"):
                path = f"{join('policies', policy)}.tiers.{tier}"
                if tier not in names:
                    self._fault(part, path, f"no such tier; {suggestion(tier, names)}")
                drafts[policy, tier] = self._draft(part, path, policy)
                self._check_copy(part, path, tier, names)
        return drafts

    def _check_copy(self, node: Node, path: str, tier: str, names: list[str]) -> None:
        """Look at where a tier copies to: only to later ones, so that no copy goes in a circle."""
        copy, copy_to = node.get("copy"), node.get("copy_to")
        if copy_to is None:
            if copy is not None:
                self._fault(copy, f"{path}.copy", "needs copy_to beside it")
            return
        target = str(copy_to.value)
        later = names[names.index(tier) + 1 :] if tier in names else names
        if target not in names:
            what = f"no such tier; {suggestion(target, later)}"
        elif target not in later:
            after = f"later are {', '.join(later)}" if later else f"{tier} is the last"
            what = f"must be a tier later than {tier}, not {target}; {after}"
        else:
            return
        self._fault(copy_to, f"{path}.copy_to", what)

    def _draft(self, node: Node, path: str, name: str) -> Draft:
        """Return what a policy, or a tier's part of one, says."""

        def read(key: str, parse: Callable[[Node], T]) -> T | None:
            value = node.get(key)
            try:
                return None if value is None else parse(value)
            except ValueError as error:
                self._fault(value or node, f"{path}.{key}", str(error))
                return None

        return Draft(
            name=name,
            keep=read("keep", lambda rules: self._statements(rules, f"{path}.keep")),
            copy=read("copy", lambda rules: self._statements(rules, f"{path}.copy")),
            metrics=read("metric", _metrics),
            metrics_from=read("metrics_from", lambda n: tuple(cast("list[str]", n.plain()))),
            settle_ns=read("settle", _duration),
            await_metric_ns=read("await_metric", _duration),
            incomplete_after_ns=read("incomplete", lambda n: _duration(n["delete_after"])),
            limits=read("limits", _limits),
            on_conflict=read("on_conflict", lambda n: str(n.value)),
            grace_ns=read("grace", _duration),
            require_copies=read("require_copies", lambda n: cast("int", n.value)),
            copy_to=read("copy_to", lambda n: str(n.value)),
        )

    def _statements(self, rules: Node, path: str) -> tuple[Statement, ...]:
        return tuple(
            Statement(key, value.plain(), f"{self.file}:{value.line}: {path}[{index}].{key}")
            for index, item in enumerate(cast("tuple[Node, ...]", rules.value))
            for key, value in cast("Mapping[str, Node]", item.value).items()
        )

    def _url(self, node: Node, path: str) -> str:
        """Return where a tier is; a relative path starts at the file's directory."""
        url = str(node.value)
        if url.startswith("~"):
            self._fault(node, path, "a ~ is not expanded: write the whole path")
        if "://" in url:
            return url
        return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(self.file)), url))

    def _members(self, key: str) -> Iterator[tuple[str, Node]]:
        return members(self.root, key)

    def _items(self, key: str) -> tuple[Node, ...]:
        node = self.root.get(key)
        return cast("tuple[Node, ...]", node.value) if node else ()

    def _fault(self, node: Node, path: str, text: str) -> None:
        self.faults.append(Fault(node.line, path, text))


def members(node: Node, key: str) -> Iterator[tuple[str, Node]]:
    """Yield what the mapping under a key holds, if the key is there."""
    inner = node.get(key)
    if inner is not None:
        yield from cast("Mapping[str, Node]", inner.value).items()


def _duration(node: Node) -> int:
    return parse_duration(str(node.value))


def _metrics(node: Node) -> tuple[Metric, ...]:
    if isinstance(node.value, str):
        return (parse_metric(node.value),)
    mode = node.get("mode")
    return (Metric(str(node["name"].value), Mode(str(mode.value)) if mode else None),)


def _limits(node: Node) -> Limits:
    count, size = node.get("max_delete"), node.get("max_delete_bytes")
    limits = parse_max_delete(str(count.value)) if count else Limits()
    return replace(limits, max_delete_bytes=parse_size(str(size.value))) if size else limits


def _option(node: Node) -> str:
    """Return a storage option as `--storage-option` would have it."""
    return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)


def _spelled(url: str) -> str:
    """Return the one spelling of a tier's url; of links on a disk more may be known later."""
    return url.rstrip("/") if is_local(url) else settled(url)
