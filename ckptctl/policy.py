"""What a policy says, whoever wrote it: flags on a command line or YAML.

A `Draft` is what one source wrote, with None for what it did not mention.  Drafts are laid over
each other (policy, then what its tier replaces, then flags) and only the result is made a `Policy`:
so a flag's `--metric` also reaches a `best` that stands in YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from ckptctl.errors import UsageError
from ckptctl.expiry import SitePurge
from ckptctl.model import NS
from ckptctl.rules._base import RULES, Metric, Mode, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one call may delete of one run; None is no limit."""

    max_delete: int | None = None
    max_delete_percent: float | None = None  # of the run's complete checkpoints
    max_delete_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules and all that goes with them, for one run on one tier."""

    name: str = ""
    keep: tuple[Rule, ...] = ()
    metrics: tuple[Metric, ...] = ()  # what `best` ranks by where it names nothing else
    metrics_from: tuple[str, ...] = ()
    settle_ns: int = 15 * 60 * NS
    await_metric_ns: int = 6 * 3600 * NS
    incomplete_after_ns: int | None = None
    limits: Limits = field(default_factory=Limits)
    on_conflict: str = "stop"  # or replace, both
    grace_ns: int | None = None  # None: the bytes go at once
    require_copies: int | None = None  # None: 1 with copy_to, else 0
    copy_to: str | None = None  # a tier's name
    copy: tuple[Rule, ...] = ()  # which checkpoints copy_to copies; empty: all complete ones


class RunMatch(NamedTuple):
    """An entry of `runs`: which policy the runs that a glob matches get."""

    match: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named location with a place in an order."""

    name: str
    url: str
    storage_options: Mapping[str, str] = field(default_factory=dict)
    per_node: bool = False
    purge: SitePurge | None = None  # what its site deletes there


class Statement(NamedTuple):
    """A rule as it was written, and where: what an error begins with."""

    key: str
    value: object
    origin: str  # `policy.yaml:7: policies.default.keep[0].last`, or `--keep-last`


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What one source says of a policy; None where it says nothing."""

    name: str | None = None
    keep: tuple[Statement, ...] | None = None
    metrics: tuple[Metric, ...] | None = None
    mode: Mode | None = None  # a flag for metrics that it did not name itself
    metrics_from: tuple[str, ...] | None = None
    settle_ns: int | None = None
    await_metric_ns: int | None = None
    incomplete_after_ns: int | None = None
    limits: Limits | None = None
    max_delete: Limits | None = None  # a flag replaces its own part of the limits only
    max_delete_bytes: int | None = None
    on_conflict: str | None = None
    grace_ns: int | None = None
    require_copies: int | None = None
    copy_to: str | None = None
    copy: tuple[Statement, ...] | None = None

    def under(self, other: Draft) -> Draft:
        """Return this draft with everything replaced that the other one says."""
        said = {f.name: getattr(other, f.name) for f in fields(other)}
        return replace(self, **{name: value for name, value in said.items() if value is not None})

    def policy(self) -> Policy:
        """Return the policy that it makes, defaults filled in.

        UsageError, one line for each rule that does not work, with its origin.
        """
        limits = self.limits or Limits()
        if self.max_delete is not None:
            limits = replace(self.max_delete, max_delete_bytes=limits.max_delete_bytes)
        if self.max_delete_bytes is not None:
            limits = replace(limits, max_delete_bytes=self.max_delete_bytes)
        metrics = self._metrics()
        keep, wrong = _make(self.keep or (), metrics)
        copy, wrong_copy = _make(self.copy or (), metrics)
        if every := wrong + wrong_copy:
            raise UsageError(every[0], lines=every[1:])
        said = {
            f.name: value for f in fields(Policy) if (value := getattr(self, f.name)) is not None
        }
        return Policy(**{**said, "keep": keep, "copy": copy, "metrics": metrics, "limits": limits})

    def _metrics(self) -> tuple[Metric, ...]:
        metrics = self.metrics or ()
        if self.mode is None:
            return metrics
        if not metrics:
            raise UsageError("--mode: says nothing without a metric", "name it with --metric NAME")
        return tuple(metric._replace(mode=self.mode) for metric in metrics)


def _make(
    statements: tuple[Statement, ...], metrics: tuple[Metric, ...]
) -> tuple[tuple[Rule, ...], list[str]]:
    """Return the rules of statements, made once for each metric, and what is wrong with others."""
    rules: list[Rule] = []
    wrong: list[str] = []
    for statement in statements:
        for metric in metrics or (None,):
            try:
                rule = RULES[statement.key].make(statement.value, metric)
            except ValueError as error:
                wrong.append(f"{statement.origin}: {error}")
                break
            if rule not in rules:  # most rules look at no metric
                rules.append(rule)
    return tuple(rules), wrong
