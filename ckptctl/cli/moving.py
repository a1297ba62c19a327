"""The second half of `sync --move`: delete at the source what is proven at the destination."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from ckptctl.apply import Applier
from ckptctl.asking import Asking
from ckptctl.chosen import demand
from ckptctl.cli.access import access_of
from ckptctl.cli.deciding import refuse_unread
from ckptctl.cli.elsewhere import elsewhere_of, needed, with_copies
from ckptctl.cli.noted import noted_of
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.copies import Elsewhere, Site
from ckptctl.decide import metrics_asked
from ckptctl.decision import Context, Reason
from ckptctl.families import families, oldest_first
from ckptctl.group import Found
from ckptctl.model import Checkpoint, Copy, Problem, Run
from ckptctl.plan import Action, Doing, Plan, keepers_of
from ckptctl.policy import Policy
from ckptctl.prove import guarded_proven
from ckptctl.reading import Below
from ckptctl.report import Outcome
from ckptctl.siblings import siblings
from ckptctl.sight import sight_of
from ckptctl.stores import settled
from ckptctl.survey import Survey, again, path_of, read_run, run_store, state_dirs

THERE = "the destination"
"""What the place of the copies is called, which may lie on no tier."""


class _Decided(NamedTuple):
    """What may go of a run, and what stays there too."""

    run: Run
    reasons: Mapping[str, tuple[Reason, ...]]
    meant: tuple[Checkpoint, ...]
    stays: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A run whose checkpoints were copied to `to`, and may go here."""

    session: Session
    view: Survey
    found: Found
    to: str
    policy: Policy

    def moved(self, members: Collection[str]) -> Iterator[Outcome | Problem]:
        """Delete of these members what no guard keeps; yield what happened, and what stays and why.

        Raises UnreadableError where the run, or what is recorded of it, cannot be read.
        """
        seen = self._seen(again(self.view, self.found))
        run, reasons, meant, stays = self._decided(seen, members)
        yield from stays
        if meant:
            yield from self._deleted(Plan(
                run=run,
                decisions=(),
                actions=tuple(Action(Doing.DELETE, checkpoint) for checkpoint in meant),
                keepers=keepers_of(reasons),
            ))  # fmt: skip

    def foreseen(self, members: Collection[str]) -> tuple[frozenset[str], tuple[Problem, ...]]:
        """Return which of these members would go once they are proven there, and what would stay and why.

        Nothing is changed.  Raises as `moved` does.
        """
        seen = self._seen(self.found)
        coming = (self._come(c) if c.member in members else c for c in seen.checkpoints)
        _, _, meant, stays = self._decided(replace(seen, checkpoints=tuple(coming)), members)
        return frozenset(checkpoint.member for checkpoint in meant), stays

    def _come(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint as it is once it is copied."""
        if any(copy.tier == THERE for copy in checkpoint.copies):
            return checkpoint
        path = f"{self.to.rstrip('/')}/{checkpoint.member}"
        copy = Copy(THERE, path, self.session.clock())
        return replace(checkpoint, copies=(*checkpoint.copies, copy))

    def _decided(self, run: Run, members: Collection[str]) -> _Decided:
        """Decide which of these members of a run may go.  UnreadableError."""
        refuse_unread(run)
        context = self._context(())
        run, reasons = guarded_proven(
            run,
            context,
            self.view.by_name,
            Below(self.view.store, self.found.folder.path),
            noted_of(self.session, self.view, self.found),
        )
        every = oldest_first(run)
        going = {c.member for c in every if c.member in members and c.member not in reasons}
        staying = frozenset(c.member for c in every if c.member not in going)
        beside = {c.member: keeper.name for c, keeper in siblings(families(run), staying)}
        stays = []
        for checkpoint in every:
            if checkpoint.member in members and (given := reasons.get(checkpoint.member)):
                stays.append(_stays(checkpoint, f"{given[0].rule}: {given[0].text}"))
            elif checkpoint.member in going and checkpoint.member in beside:
                text = f"sibling: of {beside[checkpoint.member]}, which stays"
                stays.append(_stays(checkpoint, text))
        meant = tuple(c for c in every if c.member in going and c.member not in beside)
        return _Decided(run, reasons, meant, tuple(stays))

    def _deleted(self, plan: Plan) -> Iterator[Outcome]:
        session = self.session
        dirs = state_dirs(self.view, self.found, session.common.state_dir, os.geteuid())
        with (
            closing(run_store(self.view, self.found)) as root,
            Applier(root, dirs, surroundings_of(session)) as applier,
        ):
            asking = Asking(
                plan,
                sight_of(plan, root, (*dirs.existing, *dirs.fresh), time.monotonic),
                look=lambda: self._seen(again(self.view, self.found)),
                metrics=metrics_asked(self.policy.keep),
                context=lambda: self._context(plan.run.checkpoints),
            )
            yield from applier.apply(plan, asking, self.policy.grace_ns or 0)

    def _seen(self, found: Found) -> Run:
        """Return the run as it is, each checkpoint with its copies, if one is at the destination."""
        run = read_run(self.view, found, reading_of(self.session, self.policy))
        run = with_copies(self.session, self._elsewhere(), self.view, found, run)
        return replace(run, checkpoints=tuple(map(_only_if_there, run.checkpoints)))

    def _elsewhere(self) -> Elsewhere:
        """Return the destination, and the other tiers where the policy wants copies as well."""
        config = self.session.config_of(path_of(self.view, self.found))
        tiers = elsewhere_of(self.session, config, path_of(self.view, self.found))
        there = Site(
            tier=THERE,
            base=self.to,
            location=self.to,
            access=access_of(self.session, config, self.to),
            state_dir=self.session.common.state_dir,
        )
        others = (
            [s for s in tiers.sites if settled(s.location) != settled(self.to)] if tiers else []
        )
        return Elsewhere(
            (there, *others),
            config.formats if config else (),
            self.session.clock,
            self.session.down,
        )

    def _context(self, gone: Sequence[Checkpoint]) -> Context:
        """Return what guards may know: a checkpoint needs the copy there, and what the policy asks for."""
        policy = self.policy
        context = self.session.context(policy.settle_ns, policy.await_metric_ns)
        return replace(context, demand=demand(max(1, needed(policy)), (), gone))


def _only_if_there(checkpoint: Checkpoint) -> Checkpoint:
    there = any(copy.tier == THERE for copy in checkpoint.copies)
    return checkpoint if there else replace(checkpoint, copies=())


def _stays(checkpoint: Checkpoint, why: str) -> Problem:
    return Problem("stays-here", f"{checkpoint.name} stays here too ({why})")
