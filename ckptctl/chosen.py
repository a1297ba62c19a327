"""Which checkpoints rules choose: to be kept by them alone, or to be copied to another tier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ckptctl.decision import Context, Demand, Reason
from ckptctl.families import families
from ckptctl.model import Checkpoint, Run, State
from ckptctl.rules._base import Family, Rule
from ckptctl.rules.best import Best
from ckptctl.rules.metric import values
from ckptctl.siblings import siblings

Reasons = defaultdict[str, list[Reason]]
"""Why each is kept, by member."""


def chosen(run: Run, rules: Sequence[Rule], context: Context) -> frozenset[str]:
    """Return the members of the complete checkpoints that the rules choose, or all without rules.

    What is named belongs to the trainer and has no place in any rule; the parts of a step go
    along.  What is scheduled to be deleted is not chosen.
    """
    complete = {
        c.member
        for c in run.checkpoints
        if c.state is State.COMPLETE and c.doomed_ns is None and not c.temporary
    }
    if not rules:
        return frozenset(complete)
    found = families(run)
    reasons, _ = judged(found, rules, context)
    along = {checkpoint.member for checkpoint, _ in siblings(found, frozenset(reasons))}
    return frozenset((reasons.keys() | along) & complete)


def demand(copies: int, rules: Sequence[Rule], gone: Sequence[Checkpoint] = ()) -> Demand | None:
    """Return the demand for so many copies of each checkpoint that the rules choose; None for 0.

    They choose as if nothing had been deleted: neither what is only scheduled, nor those of `gone`
    that are there no more.  Else each deletion would let the rules choose another one.  Where they
    ask for the best by a metric that nothing has, all need copies: it is probably misspelt.
    """
    metrics = [rule.metric for rule in rules if isinstance(rule, Best)]

    def of(run: Run, context: Context) -> frozenset[str]:
        there = {c.member: c for c in (*gone, *run.checkpoints)}
        before = tuple(replace(c, doomed_ns=None) for c in there.values())
        whole = replace(run, checkpoints=before)
        found = families(whole) if metrics else ()
        known = all(any(v is not None for f in found for v in values(f, m)) for m in metrics)
        return chosen(whole, rules if known else (), context)

    return Demand(copies, of) if copies else None


def judged(
    found: Sequence[Family], rules: Sequence[Rule], context: Context
) -> tuple[Reasons, Mapping[str, tuple[str, ...]]]:
    """Return what the rules keep, and what they say of the others, by member."""
    reasons: Reasons = defaultdict(list)
    short: dict[str, tuple[str, ...]] = {}
    for rule in dict.fromkeys(rules):
        for family in found:
            for place, kept, text in rule.judge(family, context):
                for member in (checkpoint.member for checkpoint in place.checkpoints):
                    if not kept:
                        short[member] = (*short.get(member, ()), f"{rule.name} {text}")
                    elif (reason := Reason(rule.name, text)) not in reasons[member]:
                        reasons[member].append(reason)
    return reasons, short
