"""Which checkpoints are worth a copy: not those that the next prune there would delete at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from ckptctl.chosen import chosen
from ckptctl.decide import decide
from ckptctl.decision import Context
from ckptctl.errors import RefusedError, UsageError
from ckptctl.model import Checkpoint, Run
from ckptctl.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A run as it is on one tier, and what is to become of it there."""

    run: Run | None  # None where there is none yet
    policy: Policy
    context: Context  # without a demand for copies

    @property
    def members(self) -> frozenset[str]:
        """What is there, whole or not."""
        return frozenset(c.member for c in self.run.checkpoints) if self.run else frozenset()

    def joined(self, others: Collection[Checkpoint], like: Run) -> Run:
        """Return the run as it would be with others copied to it."""
        here = self.run or replace(like, checkpoints=(), leftovers=())
        more = tuple(c for c in others if c.member not in self.members)
        return replace(here, checkpoints=(*here.checkpoints, *more))

    def kept(self, run: Run) -> frozenset[str]:
        """Return what stays of the run by this policy; all where it cannot say."""
        every = frozenset(c.member for c in run.checkpoints)
        if not self.policy.keep:
            return every
        try:
            decisions = decide(run, self.policy.keep, self.context)
        except (UsageError, RefusedError):
            return every
        return frozenset(d.checkpoint.member for d in decisions if d.reasons)


def wanted(
    here: Stage, stages: Mapping[str, Stage], proven: Callable[[], Collection[str]]
) -> frozenset[str]:
    """Return the members of `here` that are to be copied to the tier that its policy names.

    `stages` are the other tiers by name.  What the policy chooses is copied where it is there
    already (so that what differs is found, and pins come along), where it stays there or goes on
    from there to where it stays, and where it is deleted here and needs a copy for that: `proven`
    gives what has its copies on other tiers, and is asked only then.  Anything else would be copied
    again by every round, and deleted there again.
    """
    run, policy = here.run, here.policy
    if run is None or policy.copy_to is None:
        return frozenset()
    meant = chosen(run, policy.copy, here.context)
    there = stages.get(policy.copy_to)
    if there is None or meant <= there.members:
        return meant
    fresh = [c for c in run.checkpoints if c.member in meant - there.members]
    staying = _staying(policy.copy_to, fresh, run, stages, frozenset())
    going = meant - there.members - staying - here.kept(run)
    if going:
        going -= frozenset(proven())
    return (meant & there.members) | staying | going


def _staying(
    tier: str,
    fresh: Collection[Checkpoint],
    like: Run,
    stages: Mapping[str, Stage],
    passed: frozenset[str],
) -> frozenset[str]:
    """Return which of these would stay on a tier, or go on from there to where they stay."""
    stage = stages.get(tier)
    every = frozenset(c.member for c in fresh)
    if stage is None or tier in passed:
        return every if stage is None else frozenset()
    run = stage.joined(fresh, like)
    staying = stage.kept(run) & every
    onward = stage.policy.copy_to
    if onward is None or staying == every:
        return staying
    further = stages.get(onward)
    there = further.members if further else frozenset()
    left = chosen(run, stage.policy.copy, stage.context) & every - staying - there
    more = [c for c in fresh if c.member in left]
    return staying | _staying(onward, more, like, stages, passed | {tier})
