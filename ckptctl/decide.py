"""From a run and its rules to decisions: what to keep, and why.

Everything here is pure.  A checkpoint goes only where no rule, no guard and no sibling gives a
reason to keep it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ckptctl.chosen import Reasons, judged
from ckptctl.decision import Context, Decision, Reason
from ckptctl.errors import RefusedError, UsageError
from ckptctl.families import families
from ckptctl.model import Run
from ckptctl.rules._base import Family, Metric, Rule
from ckptctl.rules.best import Best
from ckptctl.rules.guards import alone, among, uncopied
from ckptctl.rules.metric import values
from ckptctl.siblings import siblings


def decide(run: Run, rules: Sequence[Rule], context: Context) -> tuple[Decision, ...]:
    """Return one decision for each checkpoint of the run, in its order.

    One reason is enough to be kept.  Raises UsageError where there are no rules, or a rule asks for
    the best by a metric that nothing has and something would be deleted; RefusedError where the
    rules keep nothing and something would be deleted.
    """
    if not rules:
        raise UsageError(
            "no rule says what to keep; nothing was deleted",
            "give at least one, like --keep-last 3, or `keep: [{last: 3}]` in the policy",
        )
    found = families(run)
    reasons, short = judged(found, rules, context)
    ruled = bool(reasons)
    for member, guards in _guards(run, found, metrics_asked(rules), context).items():
        reasons[member] += guards
    for checkpoint, keeper in siblings(found, frozenset(reasons)):
        reasons[checkpoint.member].append(Reason("sibling", f"of {keeper.name}, which is kept"))
    decisions = tuple(
        Decision(checkpoint, tuple(reasons[checkpoint.member]))
        if checkpoint.member in reasons
        else Decision(checkpoint, (), short.get(checkpoint.member, ()))
        for checkpoint in run.checkpoints
    )
    if not all(decision.reasons for decision in decisions):
        _refuse_without_values(run, found, rules)
        if not ruled:
            raise RefusedError(
                f"the rules keep nothing of {run.name}: only guards do, and they are no policy; "
                "nothing was deleted",
                "check the policy, or add a rule that keeps something here, like --keep-last 1",
            )
    return decisions


def metrics_asked(rules: Sequence[Rule]) -> tuple[Metric, ...]:
    """Return the metrics that the rules rank by, with their modes, each once."""
    return tuple(dict.fromkeys(rule.metric for rule in rules if isinstance(rule, Best)))


def guarded(
    run: Run, metrics: Sequence[Metric], context: Context
) -> Mapping[str, tuple[Reason, ...]]:
    """Return what guards alone keep of a run, and why, by member.

    This is asked again before anything is deleted.  `metrics` are those of `metrics_asked`.
    """
    return _guards(run, families(run), metrics, context)


def _guards(
    run: Run, found: Sequence[Family], metrics: Sequence[Metric], context: Context
) -> Mapping[str, tuple[Reason, ...]]:
    reasons: Reasons = defaultdict(list)
    for family in found:
        for checkpoint, reason in among(family, metrics, context):
            reasons[checkpoint.member].append(reason)
        for checkpoint in family.checkpoints:
            for reason in alone(checkpoint, context):
                reasons[checkpoint.member].append(reason)
    for checkpoint, reason in uncopied(run, context):
        reasons[checkpoint.member].append(reason)
    return {member: tuple(given) for member, given in reasons.items()}


def _refuse_without_values(run: Run, found: Sequence[Family], rules: Sequence[Rule]) -> None:
    """Raise UsageError where `best` has nothing to rank: its metric is probably misspelt."""
    for metric in metrics_asked(rules):
        if any(value is not None for family in found for value in values(family, metric)):
            continue
        there = ", ".join(sorted({name for c in run.checkpoints for name in c.metrics}))
        raise UsageError(
            f"no complete checkpoint of {run.name} has a finite {metric.name} to rank by; "
            f"the metrics there are: {there or 'none'}",
            "name one of them, give the values in a sidecar, by --metrics-from or `ckptctl "
            "annotate`, or leave out `best`; nothing was deleted",
        )
