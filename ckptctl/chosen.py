"""Which checkpoints rules choose: to be kept by them alone, or to be copied to another tier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ckptctl.decision import Context, Reason
from ckptctl.families import families
from ckptctl.model import Run, State
from ckptctl.rules._base import Family, Rule
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
