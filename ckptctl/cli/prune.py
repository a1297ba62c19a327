"""`ckptctl prune`: delete what no rule and no guard keeps."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.apply import Applier, pending
from ckptctl.asking import Asking
from ckptctl.cli.options import Common, Location
from ckptctl.cli.policy_options import PolicyOptions, flags_of
from ckptctl.cli.runtime import Session, interactive
from ckptctl.config import Config, load_policy, policy_for
from ckptctl.decide import metrics_asked
from ckptctl.errors import CkptctlError, UnreadableError, UsageError
from ckptctl.families import all_apart, families
from ckptctl.group import Found
from ckptctl.model import Decision, Problem, Reason, Run
from ckptctl.plan import Plan, plan_prune
from ckptctl.policy import Draft, Policy
from ckptctl.prove import decide_proven
from ckptctl.reading import Below
from ckptctl.report import Outcome, Report, RunReport
from ckptctl.statedir import StateDirs, find_state
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Reading, Survey, look_again, name_of, path_of, read_run, run_root, survey
from ckptctl.ui.ask import confirm
from ckptctl.units import format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """The options of `prune` alone."""

    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be deleted; change nothing.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="D", help="Not yet.", hidden=True)
    ] = None
    plan_out: Annotated[
        str | None, typer.Option("--plan-out", metavar="FILE", help="Not yet.", hidden=True)
    ] = None
    from_plan: Annotated[
        str | None, typer.Option("--from-plan", metavar="FILE", help="Not yet.", hidden=True)
    ] = None
    require_copies: Annotated[
        str | None, typer.Option("--require-copies", metavar="N", help="Not yet.", hidden=True)
    ] = None
    verify_copies: Annotated[
        str | None, typer.Option("--verify-copies", metavar="digest", help="Not yet.", hidden=True)
    ] = None

    def refuse_what_is_not_yet(self) -> None:
        """Refuse the flags of the contract that this version cannot honour."""
        for name in ("grace", "plan_out", "from_plan", "require_copies", "verify_copies"):
            if getattr(self, name) is not None:
                flag = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{flag}: not yet; this version cannot do it, and nothing was changed"
                )


def prune(
    common: Common,
    options: PruneOptions,
    policy_options: PolicyOptions,
    extra: Mapping[str, object],
    location: Location = None,
) -> None:
    """Delete the checkpoints that no rule and no guard keeps.

    Without a terminal, or with --yes, it does not ask: a cron job or an epilog needs no flag.
    """
    options.refuse_what_is_not_yet()
    session = Session(common=common)
    session.open(location or ".")
    flags = flags_of(extra, policy_options, common.settle, common.metrics_from).draft()
    named = load_policy(policy_options.policy) if policy_options.policy else None
    config = named or session.config
    if config is None and flags.keep is None:
        raise UsageError(
            "no rule says what to keep; nothing was deleted",
            "give at least one, like --keep-last 3, or a policy with --policy FILE",
        )
    with session.progress() as progress:
        progress.started("listing")
        view = survey(
            session.locate(location), config.formats if config else (), deep=common.recursive
        )
        _refuse_by_place(view, recursive=common.recursive)
        runs = [_Prune(session, named, flags, view, found).decided() for found in view.found]
    if not options.dry_run:
        if interactive() and not options.yes and any(run.plan and run.plan.actions for run in runs):
            session.show(_report(view, runs, dry_run=True))
            if not confirm(_question(runs), stdin=sys.stdin, stderr=sys.stderr):
                session.say("nothing was deleted")
                return
        session.signals.changing = True
        runs = [run.applied() for run in runs]
    session.end(_report(view, runs, dry_run=options.dry_run))


def _refuse_by_place(view: Survey, *, recursive: bool) -> None:
    """Refuse a location that is no run by itself, naming the runs that are there."""
    if view.only is not None:
        run = view.store.root
        raise UsageError(
            f"{view.location}: is one checkpoint of the run {run}; nothing was changed",
            f"name the run: {run}",
        )
    if view.found and not view.itself and not recursive:
        shown = "\n".join(f"  {path_of(view, found)}" for found in view.found)
        raise UsageError(
            f"{view.location}: is no run itself, but holds {len(view.found)}; nothing was changed:\n{shown}",
            "name one of them, or add --recursive",
        )


def _question(runs: list[_Prune]) -> str:
    doomed = [action.checkpoint for run in runs if run.plan for action in run.plan.actions]
    return f"Delete {len(doomed)} checkpoints ({format_size(sum(c.bytes for c in doomed))})?"


def _report(view: Survey, runs: list[_Prune], *, dry_run: bool) -> Report:
    return Report(
        command="prune",
        runs=tuple(run.report() for run in runs),
        problems=view.problems,
        dry_run=dry_run,
    )


@dataclass(frozen=True, slots=True)
class _Prune:
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
    error: CkptctlError | None = None

    @property
    def path(self) -> str:
        return path_of(self.view, self.found)

    def decided(self) -> _Prune:
        """Read, decide, prove and plan; changes nothing."""
        try:
            config = self.config or self.session.config_of(self.path)
            policy = policy_for(config, name_of(self.view, self.found), self.path, self.flags)
            if policy is not None and (policy.grace_ns or policy.require_copies or policy.copy_to):
                raise UsageError(
                    f"{self.path}: its policy asks for grace or copies: not yet; nothing was changed"
                )
            run = read_run(self.view, self.found, self._reading(policy or Policy()))
            if policy is None:
                reason = Reason(
                    "unmatched", "no entry of `runs` in the configuration matches this run"
                )
                return replace(
                    self, run=run, decisions=tuple(Decision(c, (reason,)) for c in run.checkpoints)
                )
            _refuse_unread(run)
            context = self.session.context(policy.settle_ns, policy.await_metric_ns)
            reader = Below(self.view.store, self.found.folder.path)
            run, decisions = decide_proven(run, policy.keep, context, self.view.by_name, reader)
            plan = plan_prune(run, decisions, policy, context)
        except CkptctlError as error:
            return replace(self, error=error)
        except OSError as error:
            return replace(self, error=_gone(self.path, error))
        return replace(self, run=run, policy=policy, plan=plan, decisions=plan.decisions)

    def applied(self) -> _Prune:
        """Do what was planned, and finish what an earlier prune left."""
        if self.plan is None or self.policy is None:
            return self
        outcomes: list[Outcome] = []
        try:
            with closing(run_root(self.view, self.found)) as root:
                dirs = find_state(
                    self.path,
                    option=self.session.common.state_dir,
                    uid=os.geteuid(),
                    forbids=self.plan.run.forbids_state,
                )
                if self.plan.actions or pending(root, dirs):
                    for outcome in self._apply(root, dirs):
                        outcomes.append(outcome)
                        if self.session.log is not None:
                            self.session.log.add("prune", self.plan.run.name, outcome)
        except CkptctlError as error:
            return replace(self, outcomes=tuple(outcomes), error=error)
        except OSError as error:
            return replace(self, outcomes=tuple(outcomes), error=_gone(self.path, error))
        return replace(self, outcomes=tuple(outcomes))

    def _apply(self, root: LocalStore, dirs: StateDirs) -> Iterator[Outcome]:
        assert self.plan is not None  # noqa: S101 - `applied` has looked
        assert self.policy is not None  # noqa: S101 - the same
        session, policy = self.session, self.policy
        asking = Asking(
            self.plan,
            root,
            look=lambda: look_again(self.view, self.found, self._reading(policy)),
            state_dirs=dirs.existing,
            metrics=metrics_asked(policy.keep),
            context=lambda: session.context(policy.settle_ns, policy.await_metric_ns),
            seconds=time.monotonic,
        )
        with Applier(root, dirs, session.surroundings()) as applier:
            yield from applier.recover()
            yield from applier.apply(self.plan, asking)

    def _reading(self, policy: Policy) -> Reading:
        return Reading(
            context=self.session.context(policy.settle_ns, policy.await_metric_ns),
            metrics_from=policy.metrics_from,
            state_dir=self.session.common.state_dir,
            uid=os.geteuid(),
        )

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
            outcomes=self.outcomes,
            problems=problems,
            error=self.error,
        )


def _refuse_unread(run: Run) -> None:
    if run.unread:
        more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
        raise UnreadableError(
            f"{run.location}: something of the run cannot be read: {run.unread[0]}{more}; nothing of it was deleted",
            "check its permissions and the disk",
        )


def _gone(path: str, error: OSError) -> UnreadableError:
    return UnreadableError(
        f"{path}: cannot be read ({error.strerror or error}); nothing more of it was deleted",
        "try again",
    )
