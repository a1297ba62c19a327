"""From decisions to what is to be done, in order; pure.  A dry run is this plan, not applied."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ckptctl.decision import Context, Decision, Reason, Verdict
from ckptctl.errors import RefusedError
from ckptctl.families import families, oldest_first
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.policy import Limits, Policy
from ckptctl.rules.guards import GUARDS
from ckptctl.siblings import siblings
from ckptctl.units import format_duration, format_size, format_until


class Doing(StrEnum):
    """What an action does to a checkpoint."""

    DELETE = "delete"
    CLEAN = "clean"  # remove what an unfinished save left
    PURGE = "purge"  # carry out a deletion whose grace is over


@dataclass(frozen=True, slots=True)
class Action:
    """One deletion that is to be done."""

    doing: Doing
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a prune of one run would do."""

    run: Run
    decisions: tuple[Decision, ...]
    actions: tuple[Action, ...]
    keepers: frozenset[
        str
    ]  # members kept as `newest` or `resumable`: without them nothing is deleted
    problems: tuple[Problem, ...] = ()


def plan_prune(run: Run, decisions: tuple[Decision, ...], policy: Policy, context: Context) -> Plan:
    """Return the plan for one run.  RefusedError where it is over a limit."""
    problems: list[Problem] = []
    if policy.incomplete_after_ns is not None:
        decisions = tuple(
            _unfinished(run, decisions, policy.incomplete_after_ns, context, problems)
        )
    decisions += tuple(Decision(c, ()) for c in run.leftovers if c.doomed_ns is not None)
    decisions = tuple(_scheduled(decision, context) for decision in decisions)
    doing = {d.checkpoint.member: _doing(d, context) for d in decisions}
    leftovers = sorted(run.leftovers, key=lambda c: (c.saved_ns, c.member))
    ordered = ((doing.get(c.member), c) for c in (*leftovers, *oldest_first(run)))
    actions = [Action(what, checkpoint) for what, checkpoint in ordered if what is not None]
    _limit(run, actions, policy.limits)
    keepers = keepers_of({d.checkpoint.member: d.reasons for d in decisions})
    return Plan(
        run=run,
        decisions=decisions,
        actions=tuple(actions),
        keepers=keepers,
        problems=tuple(problems),
    )


def plan_purge(
    run: Run, members: Collection[str], guards: Mapping[str, Sequence[Reason]]
) -> tuple[Plan, Mapping[str, str]]:
    """Return the plan that carries out scheduled deletions now, whatever is left of their grace.

    Besides, by member, the name of another part of the step that stays: parts live and die together.
    """
    found = (*run.leftovers, *oldest_first(run))
    meant = [c for c in found if c.member in members and c.doomed_ns is not None]
    going = {checkpoint.member for checkpoint in meant} - guards.keys()
    staying = frozenset(c.member for c in found if c.doomed_ns is None or c.member in guards)
    beside = {
        c.member: keeper.name
        for c, keeper in siblings(families(run), staying - going)
        if c.member in going
    }
    actions = tuple(Action(Doing.PURGE, c) for c in meant if c.member not in beside)
    plan = Plan(run=run, decisions=(), actions=actions, keepers=keepers_of(guards))
    return plan, beside


def keepers_of(reasons: Mapping[str, Sequence[Reason]]) -> frozenset[str]:
    """Return the members without which nothing may go, of those that guards keep."""
    return frozenset(
        member
        for member, given in reasons.items()
        if any(reason.rule in {"newest", "resumable"} for reason in given)
    )


def _scheduled(decision: Decision, context: Context) -> Decision:
    """Return the decision, saying so where its deletion only waits for its time."""
    until_ns = decision.checkpoint.doomed_ns
    if until_ns is None or decision.verdict is Verdict.KEEP:
        return decision
    if until_ns <= context.now_ns:
        return replace(decision, short=("its deletion was scheduled, and its grace is over",))
    text = f"scheduled: goes with the first prune after {format_until(until_ns)}"
    return replace(decision, short=(text,), waits=True)


def _doing(decision: Decision, context: Context) -> Doing | None:
    """Return what is to be done; a scheduled deletion whose time has come is asked about again."""
    checkpoint = decision.checkpoint
    if checkpoint.doomed_ns is not None:
        due = checkpoint.doomed_ns <= context.now_ns
        return Doing.PURGE if due and all(r.rule in GUARDS for r in decision.reasons) else None
    if decision.verdict is Verdict.KEEP:
        return None
    return Doing.DELETE if checkpoint.state is State.COMPLETE else Doing.CLEAN


def _unfinished(
    run: Run,
    decisions: tuple[Decision, ...],
    after_ns: int,
    context: Context,
    problems: list[Problem],
) -> Iterator[Decision]:
    """Yield the decisions, those of what is incomplete for long enough turned to delete.

    Temporary directories are added where they go; where they stay nothing is said of them.
    """
    markerless = _copied_without_markers(run)
    if markerless:
        text = (
            f"--delete-incomplete removes nothing here: no checkpoint carries the marker that {markerless} "
            "writes last, so they were probably copied without it"
        )
        problems.append(Problem("markers-missing", text))
    for decision in decisions:
        only_incomplete = {reason.rule for reason in decision.reasons} == {"incomplete"}
        if (
            only_incomplete
            and not markerless
            and _abandoned(decision.checkpoint, run, after_ns, context)
        ):
            yield replace(decision, reasons=(), short=(_gone_for(after_ns),))
        else:
            yield decision
    for leftover in run.leftovers:
        if (
            leftover.doomed_ns is None
            and not markerless
            and _abandoned(leftover, run, after_ns, context)
        ):
            yield Decision(leftover, (), (_gone_for(after_ns),))


def _gone_for(after_ns: int) -> str:
    return f"not complete, unchanged for {format_duration(after_ns)}, and a later one is complete"


def _copied_without_markers(run: Run) -> str | None:
    """Return the format that expects a marker which no checkpoint of the run carries."""
    for checkpoint in (*run.checkpoints, *run.leftovers):
        if checkpoint.expects_marker and not any(
            c.marker for c in run.checkpoints if c.format == checkpoint.format
        ):
            return checkpoint.format
    return None


def _abandoned(checkpoint: Checkpoint, run: Run, after_ns: int, context: Context) -> bool:
    """Whether what is not complete may go: untouched for long, and a later one took its place."""
    changed = checkpoint.changed_ns
    return (
        checkpoint.state is State.INCOMPLETE
        and not checkpoint.inferred
        and not checkpoint.pinned
        and not checkpoint.holds
        and not checkpoint.pointers
        and context.now_ns - changed >= after_ns
        and any(
            c.family == checkpoint.family
            and c.state is State.COMPLETE
            and not c.named
            and not c.future
            and c.saved_ns > changed
            for c in run.checkpoints
        )
    )


def _limit(run: Run, actions: list[Action], limits: Limits) -> None:
    """Refuse a plan that is over a limit, naming the flag that lets it through once."""
    count, size = len(actions), sum(action.checkpoint.bytes for action in actions)
    complete = sum(c.state is State.COMPLETE for c in run.checkpoints)
    most = limits.max_delete
    if limits.max_delete_percent is not None:
        of_all = int(complete * limits.max_delete_percent / 100)
        most = of_all if most is None else min(most, of_all)
    if most is not None and count > most:
        raise RefusedError(
            f"{run.name}: {count} of {len(run.checkpoints)} checkpoints would go, the limit is {most}; nothing was deleted",
            f"check with --dry-run; --max-delete {count} lets it through once",
        )
    if limits.max_delete_bytes is not None and size > limits.max_delete_bytes:
        raise RefusedError(
            f"{run.name}: {format_size(size)} would go, the limit is {format_size(limits.max_delete_bytes)}; nothing was deleted",
            f"check with --dry-run; --max-delete-bytes {size} lets it through once",
        )
