"""What a dry run leaves to come: what is copied to a tier goes on from there in the same call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptctl.cli.ground import Ground
from ckptctl.cli.sync_run import SyncRun
from ckptctl.errors import CkptctlError
from ckptctl.group import Found
from ckptctl.policy import Policy
from ckptctl.report import RunReport
from ckptctl.survey import Survey
from ckptctl.transfer.applied import Part
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.wanted import wanted

if TYPE_CHECKING:
    from ckptctl.cli.life_run import LifeRun


@dataclass(frozen=True, slots=True)
class Onward:
    """Adds that to what a dry run says of the copies from each tier (`copied`)."""

    life: LifeRun
    copied: dict[str, SyncedRun]

    def go(self) -> tuple[Part, ...]:
        """Follow what is to be copied from each tier as far as it goes.

        Return what is to be told of tiers where the run is not yet.
        """
        for ground in self.life.grounds:
            there = ground.there(self.life.path)
            policy = self.life.policy(*there)[0] if there else None
            coming = _planned(self.copied.get(ground.tier.name))
            if there is not None and policy is not None and coming:
                at = self.life.ground(policy.copy_to)
                self._from(there, at, coming, frozenset((ground.tier.name,)))
        return tuple(self._to_be())

    def _to_be(self) -> Iterator[Part]:
        for ground in self.life.grounds:
            synced, policy = self.copied.get(ground.tier.name), self.life.expected(ground)
            if synced is not None and policy is not None and not ground.there(self.life.path):
                where = RunReport(name=synced.name, location=ground.to(self.life.path))
                yield Part(
                    tier=ground.tier.name, pruned=where, copied=synced, copy_to=policy.copy_to
                )

    def _from(
        self,
        there: tuple[Survey, Found],
        at: Ground | None,
        coming: frozenset[str],
        passed: frozenset[str],
    ) -> None:
        """Add what of these members of a run goes on from the tier that they are to be copied to."""
        if at is None or at.tier.name in passed:
            return
        name, theirs = at.tier.name, at.there(self.life.path)
        policy = self.life.policy(*theirs)[0] if theirs else self.life.expected(at)
        to = self.life.ground(policy.copy_to if policy else None)
        known = self.copied.get(name)
        fresh = coming - {r.member for r in known.results} if known else coming
        if policy is None or to is None or not fresh:
            return
        try:
            done = self._copied(there, at, policy, to, fresh)
        except (CkptctlError, OSError):  # which the copy itself has told
            return
        if done is not None and done.results:
            results = (*known.results, *done.results) if known else done.results
            self.copied[name] = replace(known or done, results=results)
            self._from(there, to, _planned(done), passed | {name})

    def _copied(
        self,
        there: tuple[Survey, Found],
        at: Ground,
        policy: Policy,
        to: Ground,
        fresh: frozenset[str],
    ) -> SyncedRun | None:
        """Return what would become of members that are still on another tier.  CkptctlError, OSError."""
        life = self.life
        run = life.stage(*there, policy).run
        stages = dict(life.stages())
        stage = stages.get(at.tier.name)
        if run is None or stage is None:
            return None
        coming = [checkpoint for checkpoint in run.checkpoints if checkpoint.member in fresh]
        meant = wanted(replace(stage, run=stage.joined(coming, run)), stages, lambda: ()) & fresh
        wish = replace(life.wish, members=meant, of_config=True, on_conflict=policy.on_conflict)
        where = to.to(life.path)
        how = (life.session, None, life.flags, *there, where, wish, life.throttle, life.progress)
        return SyncRun(*how).synced() if meant else None


def _planned(synced: SyncedRun | None) -> frozenset[str]:
    """Return the members that are to be copied."""
    results = synced.results if synced else ()
    return frozenset(r.member for r in results if r.status is Status.PLANNED)
