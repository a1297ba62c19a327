"""One run over all tiers: what is new is proven, copied up, and only then each tier is pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ckptctl.cli.apart import refuse_same_run
from ckptctl.cli.deciding import policy_of
from ckptctl.cli.elsewhere import guard_of
from ckptctl.cli.ground import Ground
from ckptctl.cli.life_ahead import Ahead, look_ahead
from ckptctl.cli.life_onward import Onward
from ckptctl.cli.life_prune import LifePrune
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.sync_run import SyncRun
from ckptctl.config import Config, policy_for
from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.group import Found
from ckptctl.policy import Draft, Policy
from ckptctl.report import RunReport
from ckptctl.stores import is_local, told
from ckptctl.survey import Survey, name_of, path_of, read_run
from ckptctl.transfer.applied import Part
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.throttle import Throttle
from ckptctl.transfer.wanted import Stage, wanted
from ckptctl.ui.progress import Progress


class Risk(NamedTuple):
    """A checkpoint that a site is about to purge and nobody else has; the first to be copied is the least."""

    named: bool  # a trainer's own copy: as in any copy these come last
    at_ns: int
    member: str
    tier: str


@dataclass(slots=True)
class LifeRun:
    """One run at the same path below every tier; `parts` is what became of it."""

    session: Session
    config: Config
    flags: Draft
    wish: Wish
    throttle: Throttle
    progress: Progress
    grounds: Sequence[Ground]
    path: str
    parts: list[Part] = field(default_factory=list, init=False)
    unmatched: list[str] = field(default_factory=list, init=False)
    due_ns: list[int] = field(default_factory=list, init=False)
    _ahead: dict[str, Ahead] = field(default_factory=dict, init=False)
    _rescued: dict[str, SyncedRun] = field(default_factory=dict, init=False)
    _near: dict[str, SyncedRun] = field(default_factory=dict, init=False)

    @property
    def begun(self) -> bool:
        """Whether anything was copied before the rest of another run."""
        return bool(self._rescued or self._near)

    def risks(self) -> Iterator[Risk]:
        """Yield what a site is about to purge on a tier and nobody else has, in no order."""
        for ground in self.grounds:
            if self.session.signals.stopped():
                break
            self._look_ahead(ground)
            if (ahead := self._ahead.get(ground.tier.name)) is not None:
                yield from (Risk(*risk, tier=ground.tier.name) for risk in ahead.alone)

    def rescue(self, tier: str, members: frozenset[str]) -> None:
        """Copy some of what is at risk on a tier, which it may do several times."""
        ground, before = self.ground(tier), self._rescued.get(tier)
        done = None if ground is None else self._copied(ground, members)
        if before is not None and done is not None:
            results = (*before.results, *done.results)
            done = replace(done, results=results, error=done.error or before.error)
        if done is not None:
            self._rescued[tier] = done

    def near(self) -> None:
        """Copy between disks: of all runs, before a bucket keeps one of them waiting."""
        for ground in self.grounds:
            if self.session.signals.stopped():
                break
            there = ground.there(self.path)
            policy = self.policy(*there)[0] if there else None
            to = self.ground(policy.copy_to if policy else None)
            if to is not None and is_local(ground.tier.url) and is_local(to.tier.url):
                self._go(ground, self._near)

    def live(self) -> None:
        """Copy from each tier to the next, the fastest first; then prune each."""
        copied = dict(self._near)
        for ground in self.grounds:
            if self.session.signals.stopped():
                break
            if ground.tier.name not in self._near:
                self._go(ground, copied)
        copied = {**self._rescued, **copied}  # a signal may have come between
        to_come = Onward(self, copied).go() if self.wish.dry_run else ()
        for ground in self.grounds:
            there = ground.there(self.path)
            synced = copied.get(ground.tier.name)
            if there is None:
                continue
            policy, error = self.policy(*there)
            if policy is None and error is None:
                self.unmatched.append(name_of(*there))
                continue
            part = self._part(ground.tier.name, there, policy, synced, error)
            if (ahead := self._ahead.get(ground.tier.name)) is not None:
                more = ahead.problems(part.copy_to, synced.results if synced else ())
                pruned = replace(part.pruned, problems=(*part.pruned.problems, *more))
                part = replace(part, pruned=pruned)
            self.parts.append(part)
        self.parts += to_come

    def _go(self, ground: Ground, copied: dict[str, SyncedRun]) -> None:
        """Copy all that is to be copied from one tier, and keep what became of it."""
        name = ground.tier.name
        if name not in self._rescued:
            self._look_ahead(ground)
        done = self._copied(ground)
        if done is not None:
            copied[name] = _joined(self._rescued.get(name), done)

    def planned(self, tier: str) -> SyncedRun | None:
        """Return what a dry run says of the copies from one tier; None where none can be made."""
        ground = self.ground(tier)
        return None if ground is None else self._copied(ground)

    def policy(self, view: Survey, found: Found) -> tuple[Policy | None, CkptctlError | None]:
        """Return the policy of the run on one tier, or why there is none."""
        try:
            return policy_of(self.session, None, self.flags, view, found), None
        except CkptctlError as error:
            return None, error

    def ground(self, tier: str | None) -> Ground | None:
        """Return what was listed of a tier, if it could be."""
        return next((ground for ground in self.grounds if ground.tier.name == tier), None)

    def _copied(self, ground: Ground, only: frozenset[str] | None = None) -> SyncedRun | None:
        """Copy to the tier that the policy names; None where it names none, or it cannot be reached.

        With `only` at most those members.
        """
        there = ground.there(self.path)
        policy = self.policy(*there)[0] if there else None
        to = self.ground(policy.copy_to if policy else None)
        if there is None or policy is None or to is None:
            return None
        place = self.config.place(path_of(*there))
        if place is not None and place[0].name != ground.tier.name:
            return None  # it lies on a tier inside this one, and is copied from there
        where = to.to(self.path)
        try:
            refuse_same_run(path_of(*there), where)
            with self.session.signals.heeded():
                meant = self._wanted(*there, policy)
            meant = meant if only is None else meant & only
            if only is not None and not meant:
                return None
            ahead = self._ahead.get(ground.tier.name)
            urgent = ahead.first if ahead else {}
            wish = replace(self.wish, members=meant, of_config=True, urgent=urgent)
            done = SyncRun(
                self.session, None, self.flags, *there, where, wish, self.throttle, self.progress
            ).synced()
        except CkptctlError as error:
            return _failed(*there, where, error)
        except OSError as error:
            said, check = told(path_of(*there), error.strerror or str(error), "try again")
            text = f"{path_of(*there)}: cannot be read ({said}); nothing of it was copied"
            return _failed(*there, where, UnreadableError(text, check))
        if any(result.status is Status.DONE for result in done.results):
            try:
                with self.session.signals.heeded():
                    to.again(self.session, self.path)
            except CkptctlError as error:
                done = replace(done, error=done.error or error)
        return done

    def _look_ahead(self, ground: Ground) -> None:
        """Ask what the tier's site is about to purge of the run; what cannot be read tells its copy."""
        there, purge = ground.there(self.path), ground.tier.purge
        policy = self.policy(*there)[0] if there and purge else None
        if there is None or purge is None or policy is None:
            return
        try:
            with self.session.signals.heeded():
                run = self.stage(*there, policy).run
        except (CkptctlError, OSError):
            return
        assert run is not None  # noqa: S101 - it was just read
        self._ahead[ground.tier.name] = look_ahead(self.session, self.config, purge, *there, run)

    def _wanted(self, view: Survey, found: Found, policy: Policy) -> frozenset[str]:
        """Return the members that are worth a copy.  Raises CkptctlError, OSError."""
        here = self.stage(view, found, policy)
        stages = dict(self.stages())

        def proven() -> Iterator[str]:
            guard = guard_of(self.session, None, policy, path_of(view, found))
            assert here.run is not None  # noqa: S101 - it was just read
            for checkpoint in guard.seen(view, found, here.run).checkpoints:
                if len(checkpoint.copies) >= guard.needed:
                    yield checkpoint.member

        return wanted(here, stages, lambda: list(proven()))

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Yield the run as it is, and what is kept of it, on each tier that could be read."""
        for ground in self.grounds:
            there = ground.there(self.path)
            if there is not None:
                policy = self.policy(*there)[0]
                if policy is not None:
                    yield ground.tier.name, self.stage(*there, policy)
            elif (expected := self.expected(ground)) is not None:
                context = reading_of(self.session, expected).context
                yield ground.tier.name, Stage(run=None, policy=expected, context=context)

    def expected(self, ground: Ground) -> Policy | None:
        """Return the policy of the run on a tier where it is not yet."""
        name = "/".join(part for part in (ground.inner, self.path) if part)
        try:
            return policy_for(self.config, name, ground.to(self.path), self.flags)
        except CkptctlError:
            return None

    def stage(self, view: Survey, found: Found, policy: Policy) -> Stage:
        """Return the run as it is on one tier.  Raises CkptctlError, OSError."""
        reading = reading_of(self.session, policy)
        return Stage(run=read_run(view, found, reading), policy=policy, context=reading.context)

    def _part(
        self,
        tier: str,
        there: tuple[Survey, Found],
        policy: Policy | None,
        synced: SyncedRun | None,
        error: CkptctlError | None,
    ) -> Part:
        """Prune the run on one tier; return all that became of it there."""
        untouched = RunReport(name=name_of(*there), location=path_of(*there), error=error)
        to = policy.copy_to if policy else None
        part = Part(tier=tier, pruned=untouched, copied=synced, copy_to=to)
        if policy is None or not policy.keep or self.session.signals.stopped():
            return part
        prune = LifePrune(self.session, self.flags, self.wish, self.progress, *there)
        try:
            pruned = prune.pruned(policy, synced)
        finally:
            self.due_ns += prune.due_ns
        return replace(part, pruned=pruned, noted=prune.noted)


_AGAIN = {Status.EQUAL, Status.SKIPPED}
"""What a second go says of what the first one copied: it is there, or it was not begun in time."""


def _joined(before: SyncedRun | None, done: SyncedRun) -> SyncedRun:
    """Return what became of a run that was copied in two goes: what came first is equal by now."""
    came = {r.member: r for r in before.results if r.status is Status.DONE} if before else {}
    results = tuple(
        came.get(r.member, r) if r.status in _AGAIN and r.action == "copy" else r
        for r in done.results
    )
    return replace(done, results=results)


def _failed(view: Survey, found: Found, to: str, error: CkptctlError) -> SyncedRun:
    return SyncedRun(
        name=name_of(view, found), location=path_of(view, found), destination=to, error=error
    )
