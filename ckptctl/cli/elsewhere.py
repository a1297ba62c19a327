"""A run's copies on other tiers: where the configuration has them, and how many a policy asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptctl.chosen import demand
from ckptctl.cli.access import storage_options
from ckptctl.cli.noted import noted_of
from ckptctl.cli.run_by_run import Read, ReadPlace
from ckptctl.cli.runtime import Session
from ckptctl.config import Config
from ckptctl.decision import Context, Decision
from ckptctl.errors import CkptctlError
from ckptctl.group import Found
from ckptctl.model import Checkpoint, Problem, Run
from ckptctl.plan import Plan
from ckptctl.policy import Policy, Tier
from ckptctl.report import Outcome
from ckptctl.stores import is_local, scheme_of, settled
from ckptctl.survey import Survey

if TYPE_CHECKING:
    from ckptctl.copies import Elsewhere, Site  # which hashes, and most calls need no copies


def needed(policy: Policy) -> int:
    """Return how many proven copies on other tiers a deletion needs: 1 where a tier is copied from."""
    if policy.require_copies is None:
        return 1 if policy.copy_to else 0
    return policy.require_copies


@dataclass(frozen=True, slots=True)
class CopyGuard:
    """How the guard `copies` is asked about one run of a policy."""

    session: Session
    policy: Policy
    elsewhere: Elsewhere | None  # None where the run lies on no tier: then it has no copies

    @property
    def needed(self) -> int:
        """Return how many proven copies on other tiers a deletion needs."""
        return needed(self.policy)

    def context(self, gone: Sequence[Checkpoint] = ()) -> Context:
        """Return what a decision may know now; rules choose as if those of `gone` were still there."""
        policy = self.policy
        context = self.session.context(policy.settle_ns, policy.await_metric_ns)
        return replace(context, demand=demand(self.needed, policy.copy, gone))

    def seen(self, view: Survey, found: Found, run: Run) -> Run:
        """Return a run that was just read, with its copies as they are now, where any are needed."""
        return with_copies(self.session, self.elsewhere, view, found, run) if self.needed else run

    def reading(self, plan: Plan) -> Callable[[Checkpoint], str | None]:
        """Return what reads the copies of a checkpoint, and says why it may not be deleted all the same."""
        elsewhere, context = self.elsewhere, self.context()
        asked = context.demand.of(plan.run, context) if context.demand else frozenset()
        jobs = self.session.common.jobs or os.cpu_count() or 1

        def read(checkpoint: Checkpoint) -> str | None:
            if elsewhere is None or checkpoint.member not in asked:
                return None
            return elsewhere.unread(checkpoint, self.needed, jobs, self.session.signals.stopped)

        return read


def guard_of(session: Session, config: Config | None, policy: Policy, run: str) -> CopyGuard:
    """Return how the guard `copies` is asked; `config` is that of --policy."""
    elsewhere = elsewhere_of(session, config or session.config_of(run), run)
    return CopyGuard(session, policy, elsewhere)


def held_back(decisions: Sequence[Decision]) -> Iterator[Outcome]:
    """Yield what only stays because a tier could not be reached that may hold the copy it needs."""
    for decision in decisions:
        checkpoint = decision.checkpoint
        reasons = [reason for reason in decision.reasons if reason.rule == "copies"]
        if reasons and len(reasons) == len(decision.reasons):
            tiers = [lack.tier for lack in checkpoint.lacks if lack.code == "unreachable"]
            if tiers:
                text = f"kept by copies: {', '.join(tiers)} cannot be read now, and may hold one"
                yield Outcome(checkpoint.name, checkpoint.path, "delete", "skipped", 0, text)


def elsewhere_of(session: Session, config: Config | None, run: str) -> Elsewhere | None:
    """Return the other tiers where copies of a run may lie; None where it lies on no tier itself.

    Parts of one node (`per_node`) are no copies of anything.
    """
    place = config.place(run) if config else None
    if config is None or place is None:
        return None
    from ckptctl.copies import Elsewhere  # noqa: PLC0415 - see above

    own, path = place
    taken = {_settled(own, run)}
    sites = []
    for tier in config.tiers:
        site = _site(session, tier, path, run)
        where = _settled(tier, site.location)
        if tier.name != own.name and not tier.per_node and where not in taken:
            sites.append(site)
            taken.add(where)
    return Elsewhere(tuple(sites), config.formats, session.clock, session.down)


def with_copies(
    session: Session, elsewhere: Elsewhere | None, view: Survey, found: Found, run: Run
) -> Run:
    """Return a run that was just read, as listed in `found`, with its copies as they are now."""
    if elsewhere is None:
        return run
    from ckptctl.copies import Here  # noqa: PLC0415 - see above

    manifest = noted_of(session, view, found)
    here = Here(run=run, folder=found.folder, manifest=manifest, links=view.store.able.links)
    return elsewhere.told(here)


def with_copies_of(session: Session, place: ReadPlace, *, near: bool) -> ReadPlace:
    """Return a place whose runs tell their copies on other tiers, with `near` only on disks.

    A tier that cannot be reached is a problem of the run.
    """
    view = place.view
    if view is None or session.config is None or not session.config.tiers:
        return place
    return replace(place, runs=tuple(_with_copies(session, view, r, near=near) for r in place.runs))


def _with_copies(session: Session, view: Survey, read: Read, *, near: bool) -> Read:
    elsewhere = elsewhere_of(session, session.config_of(read.location), read.location)
    if elsewhere is None or read.run is None or read.found is None:
        return read
    try:
        seen = elsewhere.near if near else elsewhere
        run = with_copies(session, seen, view, read.found, read.run)
    except CkptctlError:  # what was recorded here cannot be read, which the run says already
        return read
    lacks = dict.fromkeys(lack for c in run.checkpoints for lack in c.lacks)
    failed = [lack for lack in lacks if lack.code == "unreachable"]
    problems = tuple(Problem("tier-unreachable", f"{lack.tier} {lack.text}") for lack in failed)
    return replace(read, run=replace(run, problems=(*run.problems, *problems)))


def _site(session: Session, tier: Tier, path: str, run: str) -> Site:
    from ckptctl.copies import Site  # noqa: PLC0415 - see above

    location = f"{tier.url.rstrip('/')}/{path}" if path else tier.url
    said = storage_options(session.common) if scheme_of(run) == scheme_of(location) else {}
    return Site(
        tier=tier.name,
        base=tier.url,
        location=location,
        access=session.access({**said, **tier.storage_options}),
        state_dir=session.common.state_dir if is_local(run) == is_local(location) else None,
        purge=tier.purge,
    )


def _settled(tier: Tier, location: str) -> tuple[str, str]:
    """Return what two tiers that are one place have in common."""
    endpoint = "" if is_local(location) else str(tier.storage_options.get("endpoint_url") or "")
    return settled(location), endpoint.rstrip("/")
