"""One run on its way through a prune: finish what was left, read, decide, prove, plan, apply."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from ckptctl.apply import Applier
from ckptctl.asking import Asking
from ckptctl.cli.deciding import decide_run, policy_of, refuse_unread
from ckptctl.cli.elsewhere import guard_of, held_back, needed
from ckptctl.cli.noted import noted_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.coming import FOLDER as STAGING
from ckptctl.config import Config
from ckptctl.decide import metrics_asked
from ckptctl.decision import Decision
from ckptctl.deletion._base import Surroundings
from ckptctl.deletion.deleters import pending
from ckptctl.errors import CkptctlError, RefusedError, UnreadableError
from ckptctl.families import all_apart, families
from ckptctl.group import Found
from ckptctl.model import Problem, Run, State
from ckptctl.plan import Plan, plan_prune
from ckptctl.planfile import PlannedRun, plan_again, planned_run
from ckptctl.policy import Draft, Policy
from ckptctl.prove import prove
from ckptctl.reading import Below
from ckptctl.report import Outcome, RunReport
from ckptctl.sight import sight_of
from ckptctl.statedir import StateDirs
from ckptctl.stores import told
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.survey import (
    Survey,
    again,
    name_of,
    path_of,
    read_run,
    run_store,
    settled_path,
    state_dirs,
    touched,
)


@dataclass(frozen=True, slots=True)
class PruneRun:
    """One run on its way through a prune; an error leaves it as it is."""

    session: Session
    config: Config | None  # that of --policy, which counts whoever it belongs to
    flags: Draft
    view: Survey
    found: Found
    run: Run | None = None
    policy: Policy | None = None
    plan: Plan | None = None
    decisions: tuple[Decision, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    hidden_bytes: int = 0
    error: CkptctlError | None = None
    planned: PlannedRun | None = None  # by --from-plan: at most this is done
    plan_id: str = ""
    reads_copies: bool = False  # --verify-copies: before each deletion

    @property
    def path(self) -> str:
        """The full path of the run."""
        return path_of(self.view, self.found)

    def recovered(self) -> PruneRun:
        """Finish what an interrupted prune left, before anything is decided on the strength of it."""
        outcomes: list[Outcome] = []
        try:
            self.session.signals.heed()
            with closing(run_store(self.view, self.found)) as root:
                dirs = self._state()
                if not pending(root, dirs, surroundings_of(self.session)):
                    return self
                with (
                    self.session.signals.noted(),
                    Applier(root, dirs, surroundings_of(self.session)) as applier,
                ):
                    outcomes += self._logged(applier.recover())
            return replace(self, found=again(self.view, self.found), outcomes=tuple(outcomes))
        except CkptctlError as error:
            return replace(self, outcomes=tuple(outcomes), error=error)
        except OSError as error:
            return replace(self, outcomes=tuple(outcomes), error=_gone(self.path, error))

    def decided(self) -> PruneRun:
        """Read, decide, prove and plan; changes nothing."""
        if self.error is not None:
            return self
        if self.planned is not None:
            return self._as_planned(self.planned)
        try:
            with self.session.signals.heeded():
                policy = policy_of(self.session, self.config, self.flags, self.view, self.found)
                decided = decide_run(self.session, policy, self.view, self.found, self.config)
            if policy is None:
                return replace(self, run=decided.run, decisions=decided.decisions)
            plan = plan_prune(decided.run, decided.decisions, policy, decided.context)
        except CkptctlError as error:
            return replace(self, error=error)
        except OSError as error:
            return replace(self, error=_gone(self.path, error))
        return replace(self, run=decided.run, policy=policy, plan=plan, decisions=plan.decisions)

    def _as_planned(self, planned: PlannedRun) -> PruneRun:
        """Plan what a file says, as far as it still holds; nothing else is decided."""
        try:
            with self.session.signals.heeded():
                said = policy_of(self.session, None, self.flags, self.view, self.found)
                policy = replace(said or self.flags.policy(), grace_ns=planned.grace_ns)
                # What the plan was made under holds, with another configuration or none.
                policy = replace(policy, require_copies=max(needed(policy), planned.copies))
                run = read_run(self.view, self.found, reading_of(self.session, policy))
                refuse_unread(run)
                self._refuse_unsound(planned, run)
        except CkptctlError as error:
            return replace(self, error=error)
        except OSError as error:
            return replace(self, error=_gone(self.path, error))
        plan, stale = plan_again(planned, run)
        text = "it changed since the plan was made, or is gone"
        skipped = [
            Outcome(a.name, os.path.join(self.path, a.member), a.doing, "skipped", 0, text)
            for a in stale
        ]
        outcomes = (*self.outcomes, *skipped)
        return replace(
            self, run=run, policy=policy, plan=plan, decisions=plan.decisions, outcomes=outcomes
        )

    def _refuse_unsound(self, planned: PlannedRun, run: Run) -> None:
        """Refuse where what the plan keeps as the newest is not there, or not whole any more."""
        now = {c.member: c for c in run.checkpoints}
        reader = Below(self.view.store, self.found.folder.path)
        noted = noted_of(self.session, self.view, self.found)
        for member in sorted(planned.keepers):
            kept = now.get(member)
            sound = kept is not None and kept.state is State.COMPLETE
            if kept is None or not sound or prove(kept, self.view.by_name, reader, noted):
                raise RefusedError(
                    f"{self.path}: {member}, which the plan keeps as the newest, is gone or not whole any more; "
                    "nothing was changed",
                    "make a new plan with --plan-out",
                )

    def for_file(self) -> PlannedRun | None:
        """Return what a plan file holds of this run; None where nothing was planned."""
        if self.plan is None or self.policy is None or self.error is not None:
            return None
        where = settled_path(self.view, self.path)
        return planned_run(
            self.plan,
            where,
            metrics_asked(self.policy.keep),
            self.policy.grace_ns or 0,
            needed(self.policy),
        )

    def applied(self) -> PruneRun:
        """Do what was planned; where anything came or went since, decide anew first."""
        if self.plan is None or not self.plan.actions:
            return self
        run, outcomes, hidden = self, list(self.outcomes), 0
        try:
            self.session.signals.heed()
            with (
                closing(run_store(self.view, self.found)) as root,
                self.session.signals.noted(),
                Applier(root, self._state(), surroundings_of(self.session)) as applier,
            ):
                seen = None if isinstance(root, LocalStore) else again(self.view, self.found)
                if applier.waited or self._changed(root, seen):
                    run = self._afresh(seen)
                    seen = None  # reading and proving took its time: what was seen then is old
                if run.error is not None or run.plan is None or not run.plan.actions:
                    return replace(run, outcomes=tuple(outcomes))
                if self.planned is not None:
                    applier.use(self.plan_id)
                for outcome in run._logged(run._apply(applier, root, seen)):  # noqa: SLF001 - of its own class
                    outcomes.append(outcome)  # noqa: PERF402 - what was done is told even if the rest fails
                hidden = applier.aftermath.hidden
                self.session.warnings += applier.aftermath.words
        except CkptctlError as error:
            return replace(run, outcomes=tuple(outcomes), error=error)
        except OSError as error:
            return replace(run, outcomes=tuple(outcomes), error=_gone(self.path, error))
        return replace(run, outcomes=tuple(outcomes), hidden_bytes=hidden)

    def _changed(self, root: Store, seen: Found | None) -> bool:
        """Whether anything came or went since the run was listed.  Raises OSError."""
        if isinstance(root, LocalStore):
            return touched(root, self.found)
        return seen is None or seen.folder != self.found.folder

    def _afresh(self, seen: Found | None) -> PruneRun:
        """Decide anew, for a run that another process may have changed; never more than was planned."""
        nothing = replace(self, plan=None, policy=None, decisions=(), error=None)
        fresh = replace(nothing, found=seen or again(self.view, self.found)).decided()
        if fresh.error is not None or fresh.plan is None or self.plan is None:
            return fresh
        agreed = {action.checkpoint.member for action in self.plan.actions}
        actions = tuple(a for a in fresh.plan.actions if a.checkpoint.member in agreed)
        return replace(fresh, plan=replace(fresh.plan, actions=actions))

    def _apply(self, applier: Applier, root: Store, seen: Found | None) -> Iterator[Outcome]:
        if self.plan is None or self.policy is None:
            return
        session, policy, plan, dirs = self.session, self.policy, self.plan, self._state()
        copies = guard_of(session, self.config, policy, self.path)
        seen_first = [] if seen is None else [seen]  # that is fresh enough for the first look

        def look() -> Run:
            found = seen_first.pop() if seen_first else again(self.view, self.found)
            run = read_run(self.view, found, reading_of(session, policy))
            return copies.seen(self.view, found, run)

        asking = Asking(
            plan,
            sight_of(plan, root, (*dirs.existing, *dirs.fresh), time.monotonic),
            look=look,
            metrics=self.planned.metrics if self.planned else metrics_asked(policy.keep),
            context=lambda: copies.context(plan.run.checkpoints),
            assured=copies.reading(plan) if self.reads_copies else None,
        )
        yield from applier.apply(plan, asking, policy.grace_ns or 0)
        if dirs.holding(STAGING) and not session.signals.stopped():
            from ckptctl.transfer.sweeping import sweep  # noqa: PLC0415 - few calls delete

            with suppress(OSError, RefusedError):  # what died calls left takes no space for long
                sweep(applier.state(), root, (), session.clock())

    def _logged(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            if self.session.log is not None:
                self.session.log.add("prune", name_of(self.view, self.found), outcome)
            yield outcome

    def _state(self) -> StateDirs:
        return state_dirs(self.view, self.found, self.session.common.state_dir, os.geteuid())

    def report(self) -> RunReport:
        """Return what there is to tell of the run."""
        problems: tuple[Problem, ...] = self.run.problems if self.run else ()
        if self.plan is not None:
            problems += self.plan.problems
            if all_apart(families(self.plan.run)):
                text = "no two checkpoints here are of one family, so that no rule compares any: each is the newest of its own"
                problems += (Problem("families-apart", text),)
        return RunReport(
            name=name_of(self.view, self.found),
            location=self.path,
            decisions=self.decisions,
            outcomes=(*self.outcomes, *held_back(self.decisions)),
            problems=problems,
            hidden_bytes=self.hidden_bytes,
            error=self.error,
        )


def _gone(path: str, error: OSError) -> UnreadableError:
    said, check = told(path, error.strerror or str(error), "try again")
    return UnreadableError(
        f"{path}: cannot be read ({said}); nothing more of it was deleted", check
    )


def surroundings_of(session: Session) -> Surroundings:
    """Return what applying a plan needs of the world."""
    return Surroundings(
        clock=session.clock,
        seconds=time.monotonic,
        sleep=time.sleep,
        needs_lock=not session.common.no_lock,
        lock_wait_ns=session.duration("--lock-wait", session.common.lock_wait),
        stopped=session.signals.stopped,
        late=session.late,
    )
