"""Why one checkpoint is kept or goes, and what would change that; pure.

Every change that is named was tried on the run: it does change the decision.  What a policy keeps
is what its rules keep one by one (with what belongs to each), so that the rules of a kept one can
be asked, and made smaller, one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ckptctl import variants
from ckptctl.decide import decide, guarded, metrics_asked
from ckptctl.decision import Context, Decision, Reason, Verdict
from ckptctl.errors import RefusedError, UsageError
from ckptctl.families import families
from ckptctl.model import Checkpoint, Copy, Run, State
from ckptctl.plan import plan_prune
from ckptctl.policy import Policy
from ckptctl.rules._base import Family, Rule
from ckptctl.rules.last import Last
from ckptctl.rules.steps import Steps
from ckptctl.rules.tags import Tags
from ckptctl.siblings import siblings

_FLOOR = Last(n=1)
"""It keeps what the guards `newest` and `newest-saved` keep anyway: no policy keeps less."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a decision is made from."""

    run: Run
    rules: tuple[Rule, ...]
    context: Context
    incomplete_after_ns: int | None = None  # of --delete-incomplete

    def decision(self, member: str) -> Decision | None:
        """Return what a prune decides of a checkpoint, None where nothing; raises what `decide` does."""
        decisions = decide(self.run, self.rules, self.context)
        policy = Policy(incomplete_after_ns=self.incomplete_after_ns)
        planned = plan_prune(self.run, decisions, policy, self.context).decisions
        return next((d for d in planned if d.checkpoint.member == member), None)

    def deletes(self, member: str) -> bool:
        """Whether a prune would delete a checkpoint: where it refuses to, it does not."""
        try:
            decision = self.decision(member)
        except (UsageError, RefusedError):
            return False
        return decision is not None and decision.verdict is Verdict.DELETE

    def having(self, checkpoint: Checkpoint) -> Case:
        """Return the case with one checkpoint as it is given, in the place of its older self."""
        run = replace(
            self.run,
            checkpoints=_put(self.run.checkpoints, checkpoint),
            leftovers=_put(self.run.leftovers, checkpoint),
        )
        return replace(self, run=run)


@dataclass(frozen=True, slots=True)
class Said:
    """What one rule says of the checkpoint."""

    rule: Rule
    kept: bool
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """Something that alone changes the decision: in words, and as the case that it leads to."""

    text: str
    case: Case
    checkpoint: Checkpoint  # as it is in that case


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that there is to say of one decision; `fixed` says why no change is named."""

    decision: Decision
    rules: tuple[Said, ...]
    guards: tuple[Reason, ...]
    siblings: tuple[Checkpoint, ...]  # live and die with it
    changes: tuple[Change, ...]
    fixed: str | None = None


def explain(case: Case, member: str) -> Explanation:
    """Explain the decision of one checkpoint.  Raises what `decide` raises, KeyError where none is made."""
    decision = case.decision(member)
    if decision is None:
        raise KeyError(member)
    guards = guarded(case.run, metrics_asked(case.rules), case.context)
    kept = decision.verdict is Verdict.KEEP
    around = _around(case, decision.checkpoint)
    changes = tuple(_releasing(around, decision) if kept else _keeping(around, decision.checkpoint))
    return Explanation(
        decision=decision,
        rules=tuple(_said(around, rule, decision.checkpoint) for rule in dict.fromkeys(case.rules)),
        guards=guards.get(member, ()) if kept else (),
        siblings=around.siblings,
        changes=changes,
        fixed=None if changes else _fixed(case, decision.checkpoint),
    )


@dataclass(frozen=True, slots=True)
class _Around:
    """A case, and what a rule may keep so that one checkpoint stays: itself or a sibling."""

    case: Case
    siblings: tuple[Checkpoint, ...]
    families: tuple[Family, ...]  # those with a place for it or a sibling
    members: frozenset[str]

    def keeps(self, rule: Rule) -> bool:
        """Whether a rule by itself keeps the checkpoint; quick, for it asks no guard."""
        return any(
            kept and not self.members.isdisjoint(c.member for c in place.checkpoints)
            for family in self.families
            for place, kept, _ in rule.judge(family, self.case.context)
        )


def _around(case: Case, checkpoint: Checkpoint) -> _Around:
    found = families(case.run)
    beside = tuple(c for c, _ in siblings(found, frozenset({checkpoint.member})))
    names = {checkpoint.family, *(c.family for c in beside)}
    members = frozenset({checkpoint.member, *(c.member for c in beside)})
    return _Around(case, beside, tuple(f for f in found if f.name in names), members)


def _said(around: _Around, rule: Rule, checkpoint: Checkpoint) -> Said:
    """Return a rule's judgement of a checkpoint, or why it has none."""
    judgements = [
        (kept, text)
        for family in around.families
        if family.name == checkpoint.family
        for place, kept, text in rule.judge(family, around.case.context)
        if any(c.member == checkpoint.member for c in place.checkpoints)
    ]
    kept = any(each for each, _ in judgements)
    texts = dict.fromkeys(text for each, text in judgements if each is kept)
    if texts:
        return Said(rule, kept, "; ".join(texts))
    if checkpoint.named:
        return Said(rule, kept=False, text="a trainer's own copy takes no place in it")
    if checkpoint.state is not State.COMPLETE or checkpoint.temporary:
        return Said(rule, kept=False, text="counts complete checkpoints only")
    return Said(rule, kept=False, text="does not ask for it")


def _keeping(around: _Around, checkpoint: Checkpoint) -> Iterator[Change]:
    """Yield what would each keep a checkpoint that goes."""
    for change in _candidates(around, checkpoint):
        if not change.case.deletes(checkpoint.member):
            yield change


def _candidates(around: _Around, checkpoint: Checkpoint) -> Iterator[Change]:
    case = around.case
    if checkpoint.state is State.COMPLETE and not checkpoint.temporary:
        yield from _more_rules(around, checkpoint)
    elif case.incomplete_after_ns is not None:
        text = "do not ask for --delete-incomplete"
        yield Change(text, replace(case, incomplete_after_ns=None), checkpoint)
    pinned = replace(checkpoint, pinned=True)
    yield Change("pin it (ckptctl annotate --pin)", case.having(pinned), pinned)


def _more_rules(around: _Around, checkpoint: Checkpoint) -> Iterator[Change]:
    """Yield larger rules, one that names its step, and tags that rules ask for."""
    case, bounds = around.case, _bounds(around.case.run)
    for rule in dict.fromkeys(case.rules):
        other = variants.wider(rule, checkpoint, bounds, around.keeps)
        if other is not None:
            yield Change(variants.difference(rule, other), _with(case, rule, other), checkpoint)
        for tag in sorted(rule.tags) if isinstance(rule, Tags) else ():
            tagged = replace(checkpoint, tags=(*checkpoint.tags, tag))
            yield Change(
                f"tag it {tag} (ckptctl annotate --tag {tag})", case.having(tagged), tagged
            )
    asked = {rule.name for rule in case.rules}
    new: list[Rule] = []
    if checkpoint.step is not None and Steps.name not in asked:
        new.append(Steps(steps=frozenset({checkpoint.step})))
    if checkpoint.tags and Tags.name not in asked:
        new.append(Tags(tags=frozenset(checkpoint.tags[:1])))
    for rule in new:
        written = " ".join(variants.flags([rule]) or ())
        yield Change(f"add {written}", replace(case, rules=(*case.rules, rule)), checkpoint)


def _releasing(around: _Around, decision: Decision) -> Iterator[Change]:
    """Yield what would, all together, let go of a checkpoint that is kept."""
    checkpoint = decision.checkpoint
    member = checkpoint.member
    parts: list[str] = []
    bare = checkpoint
    if checkpoint.pinned:
        parts.append("unpin it")
        bare = replace(bare, pinned=False)
    if any(hold.until_ns > around.case.context.now_ns for hold in checkpoint.holds):
        parts.append("wait for the end of its holds, or release them")
        bare = replace(bare, holds=())
    demand = around.case.context.demand
    if demand and any(reason.rule == "copies" for reason in decision.reasons):
        parts.append("let it be copied (ckptctl sync, or apply)")
        copy = Copy("", "", around.case.context.now_ns)
        bare = replace(bare, copies=(copy,) * demand.copies)
    case = around.case.having(bare)
    if not replace(case, rules=(_FLOOR,)).deletes(member):
        yield from _unfinished(case, bare, parts)
        return
    rules: list[Rule] = []
    for rule in dict.fromkeys(case.rules):
        if replace(case, rules=(rule, _FLOOR)).deletes(member):
            rules.append(rule)
            continue
        less = variants.narrower(rule, around.keeps)
        if less is not None and replace(case, rules=(less, _FLOOR)).deletes(member):
            parts.append(variants.difference(rule, less))
            rules.append(less)
        else:
            parts.append(f"leave out {variants.shown(rule)}")
    for tried, more in ((rules, []), ([*rules, _FLOOR], ["ask for last 1 (--keep-last 1)"])):
        changed = replace(case, rules=tuple(tried))
        if changed.deletes(member):
            yield Change("; ".join((*parts, *more)), changed, bare)
            return


def _unfinished(case: Case, bare: Checkpoint, parts: list[str]) -> Iterator[Change]:
    """Yield the --delete-incomplete that takes what is kept only because it is not whole."""
    age_ns = case.context.now_ns - bare.changed_ns
    changed = replace(case, incomplete_after_ns=max(age_ns, 0))
    if case.incomplete_after_ns is None and changed.deletes(bare.member):
        text = f"--delete-incomplete with at most {variants.duration(age_ns)}"
        yield Change("; ".join((*parts, text)), changed, bare)


def _fixed(case: Case, checkpoint: Checkpoint) -> str:
    """Return why nothing that a user could say lets go of a checkpoint."""
    least = replace(case, rules=(_FLOOR,)).decision(checkpoint.member)
    reasons = least.reasons if least else ()
    names = ", ".join(dict.fromkeys(r.rule for r in reasons if r.rule != _FLOOR.name))
    return f"no rule can let go of it, since no rule switches a guard off: {names}"


def _with(case: Case, rule: Rule, other: Rule) -> Case:
    return replace(case, rules=tuple(other if each == rule else each for each in case.rules))


def _bounds(run: Run) -> variants.Bounds:
    times = [c.saved_ns for c in run.checkpoints]
    return variants.Bounds(len(times), max(times, default=0) - min(times, default=0))


def _put(checkpoints: Sequence[Checkpoint], changed: Checkpoint) -> tuple[Checkpoint, ...]:
    return tuple(changed if c.member == changed.member else c for c in checkpoints)
