"""The policy that flags of a command line write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ckptctl.errors import UsageError
from ckptctl.policy import Draft, Limits, Statement
from ckptctl.rules._base import RULES, Metric, Mode
from ckptctl.rules.metric import parse_metric
from ckptctl.units import parse_duration, parse_size

T = TypeVar("T")
_STAND_IN = Metric("loss", Mode.MIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFlags:
    """The texts of the policy flags as they were given; None and empty are flags not given.

    `keep` goes by the rule's key: one text, or one for each time that the flag was given.
    """

    keep: Mapping[str, str | Sequence[str]] | None = None
    metrics: Sequence[str] = ()
    mode: str | None = None
    metrics_from: Sequence[str] = ()
    settle: str | None = None
    await_metric: str | None = None
    delete_incomplete: str | None = None
    max_delete: str | None = None
    max_delete_bytes: str | None = None
    grace: str | None = None
    require_copies: int | None = None
    on_conflict: str | None = None

    def draft(self) -> Draft:
        """Return what the flags say; UsageError names each flag that is wrong, one a line.

        Rules are tried here already, with a metric that stands in for one that a policy may
        name: a wrong flag is an error of the command, not of each run.
        """
        wrong: list[str] = []

        def read(flag: str, text: str | None, parse: Callable[[str], T]) -> T | None:
            if text is None:
                return None
            try:
                return parse(text)
            except ValueError as error:
                wrong.append(f"{flag}: {error}")
                return None

        mode = read("--mode", self.mode, _mode)
        metrics = [read("--metric", text, parse_metric) for text in self.metrics]
        named = tuple(m if m.mode or not mode else m._replace(mode=mode) for m in metrics if m)
        keep = tuple(self._statements())
        for statement in keep:
            for metric in named or (_STAND_IN,):
                error = _refusal(statement, metric)
                if error:
                    wrong.append(error)
                    break
        draft = Draft(
            keep=keep or None,
            metrics=named or None,
            mode=None if named else mode,
            metrics_from=tuple(self.metrics_from) or None,
            settle_ns=read("--settle", self.settle, parse_duration),
            await_metric_ns=read("--await-metric", self.await_metric, parse_duration),
            incomplete_after_ns=read("--delete-incomplete", self.delete_incomplete, parse_duration),
            max_delete=read("--max-delete", self.max_delete, parse_max_delete),
            max_delete_bytes=read("--max-delete-bytes", self.max_delete_bytes, parse_size),
            grace_ns=read("--grace", self.grace, parse_duration),
            require_copies=self.require_copies,
            on_conflict=self.on_conflict,
        )
        if self.require_copies is not None and self.require_copies < 0:
            wrong.append("--require-copies: must be at least 0")
        if wrong:
            raise UsageError(wrong[0], lines=wrong[1:])
        return draft

    def _statements(self) -> Iterator[Statement]:
        """Yield a statement for each time that a flag was given: one reason is enough to be kept."""
        for key, said in (self.keep or {}).items():
            texts = [said] if isinstance(said, str) else list(said)
            if texts and RULES[key].repeat:
                yield Statement(key, texts, flag_of(key))
            else:
                yield from (Statement(key, text, flag_of(key)) for text in texts)


def flag_of(key: str) -> str:
    """Return how the rule of a key is written on a command line: `--keep-last`."""
    return "--" + RULES[key].flag.lstrip("-")


def parse_max_delete(text: str) -> Limits:
    """Return the limit of `20` or `10%`; ValueError for anything else."""
    found = re.fullmatch(r"\s*([0-9]{1,18})\s*|\s*([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%\s*", text)
    if found and found[1]:
        return Limits(max_delete=int(found[1]))
    if found and float(found[2]) <= 100:  # noqa: PLR2004 - percent
        return Limits(max_delete_percent=float(found[2]))
    raise ValueError(f"must be a whole number, or a percentage from 0% to 100%, not {text!r}")


def _mode(text: str) -> Mode:
    if text not in list(Mode):
        raise ValueError(f"must be min or max, not {text!r}")
    return Mode(text)


def _refusal(statement: Statement, metric: Metric) -> str | None:
    """Return what is wrong with a rule, if anything."""
    try:
        RULES[statement.key].make(statement.value, metric)
    except ValueError as error:
        return f"{statement.origin}: {error}"
    return None
