"""`ckptctl prune`: delete what no rule and no guard keeps."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.access import access_of
from ckptctl.cli.completing import one_of
from ckptctl.cli.options import Common, Location
from ckptctl.cli.policy_options import PolicyOptions, flags_of
from ckptctl.cli.prune_run import PruneRun
from ckptctl.cli.run_by_run import refuse_by_place
from ckptctl.cli.runtime import Session, interactive
from ckptctl.config import Config
from ckptctl.errors import Interrupted, UnreadableError, UsageError
from ckptctl.planfile import PlanFile, dump, parse
from ckptctl.policy import Draft
from ckptctl.reading import FRAMEWORK_LIMIT
from ckptctl.recalling import Memory
from ckptctl.report import Report
from ckptctl.survey import (
    Survey,
    settled_path,
    survey,
)
from ckptctl.ui.ask import confirm
from ckptctl.ui.words import count
from ckptctl.units import format_size, format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """The options of `prune` alone."""

    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be deleted; change nothing.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False
    plan_out: Annotated[
        str | None,
        typer.Option(
            "--plan-out", metavar="FILE", help="Write the plan to a file; change nothing."
        ),
    ] = None
    from_plan: Annotated[
        str | None,
        typer.Option(
            "--from-plan", metavar="FILE", help="Delete at most what that plan says, once."
        ),
    ] = None
    verify_copies: Annotated[
        str | None,
        typer.Option(
            "--verify-copies",
            metavar="digest",
            help="Read the copies that a deletion needs, and compare, before each.",
            autocompletion=one_of("digest"),
        ),
    ] = None

    @property
    def carries_out(self) -> bool:
        """Whether anything is to be changed."""
        return not self.dry_run and self.plan_out is None

    def refuse(self) -> None:
        """Refuse what makes no sense, and what excludes each other.  UsageError."""
        if self.verify_copies not in {None, "digest"}:
            raise UsageError(f"--verify-copies: must be digest, not {self.verify_copies!r}")
        if self.plan_out is not None and self.from_plan is not None:
            raise UsageError("--plan-out and --from-plan exclude each other")

    def refuse_without_tiers(self, flags: Draft, config: Config | None) -> None:
        """Refuse to ask for copies where no tier could hold any.  UsageError."""
        asked = flags.require_copies is not None or self.verify_copies is not None
        if asked and not (config and config.tiers):
            flag = "--verify-copies" if flags.require_copies is None else "--require-copies"
            raise UsageError(
                f"{flag}: there is no configuration with tiers that could hold copies; nothing was changed",
                "name one with --config FILE or --policy FILE",
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
    options.refuse()
    session = Session(common=common)
    session.open(location or ".")
    flags = flags_of(extra, policy_options, common.settle, common.metrics_from).draft()
    named = _named(policy_options.policy) if policy_options.policy else None
    config = named or session.config
    plan = _read_plan(options.from_plan) if options.from_plan else None
    if plan is not None and (flags.keep is not None or named is not None):
        raise UsageError("--from-plan: the plan says what goes; leave rules and --policy out")
    options.refuse_without_tiers(flags, config)
    if plan is None and config is None and flags.keep is None:
        raise UsageError(
            "no rule says what to keep; nothing was deleted",
            "give at least one, like --keep-last 3, or a policy with --policy FILE",
        )
    with session.signals.noted():
        view, runs = _decided(session, options, (named, config), flags, location, plan)
        if options.plan_out is not None:
            recursive = common.recursive if plan is None else plan.recursive
            _write_plan(options.plan_out, session, view, runs, recursive=recursive)
        if not options.carries_out:
            session.end(_report(view, runs, dry_run=True))
            return
        if interactive() and not options.yes and not _agreed(session, view, runs):
            if any(run.outcomes or run.error for run in runs):  # of an earlier prune, or in the way
                session.end(_report(view, runs, dry_run=False))
            session.signals.heed()
            return
        report = _report(view, [run.applied() for run in runs], dry_run=False)
        _tell_of_trash(session, view, report)
        session.end(report)


def _decided(
    session: Session,
    options: PruneOptions,
    configs: tuple[Config | None, Config | None],
    flags: Draft,
    location: str | None,
    plan: PlanFile | None,
) -> tuple[Survey, list[PruneRun]]:
    """List the location, finish what an earlier prune left there, and decide for each run.

    `configs` are that of --policy, and the one that holds.  Raises UnreadableError, UsageError, Interrupted.
    """
    named, config = configs
    with session.progress() as progress:
        progress.started("listing")
        where = session.locate(location if location or plan is None else plan.location)
        recursive = session.common.recursive if plan is None else plan.recursive
        with session.signals.heeded():
            access = access_of(session, config, where)
            view = survey(where, config.formats if config else (), deep=recursive, access=access)
        view = replace(view, memory=Memory() if view.access else None)
        refuse_by_place(view, recursive=recursive)
        read = options.verify_copies is not None
        runs = [PruneRun(session, named, flags, view, f, reads_copies=read) for f in view.found]
        if plan is not None:
            runs = _planned(runs, plan)
        if options.carries_out:
            runs = [run.recovered() for run in runs]
        return view, [run.decided() for run in runs]


def _agreed(session: Session, view: Survey, runs: list[PruneRun]) -> bool:
    """Ask whether the plan is to be carried out; a signal is no answer."""
    if not any(run.plan and run.plan.actions for run in runs):
        return True
    try:
        with session.signals.heeded():
            session.show(_report(view, runs, dry_run=True))
            yes = confirm(_question(runs), stdin=sys.stdin, stderr=sys.stderr)
    except Interrupted:
        return False
    if not yes:
        session.say("nothing was deleted")
    return yes


def _read_plan(file: str) -> PlanFile:
    try:
        with open(file, "rb") as stream:
            return parse(stream.read(FRAMEWORK_LIMIT), file)
    except OSError as error:
        raise UsageError(
            f"--from-plan: {file} cannot be read ({error.strerror}); nothing was changed"
        ) from error


def _planned(runs: list[PruneRun], plan: PlanFile) -> list[PruneRun]:
    """Return the runs that a plan is about.  UnreadableError where one of them is not there."""
    here = {settled_path(run.view, run.path): run for run in runs}
    for planned in plan.runs:
        if planned.location not in here:
            raise UnreadableError(
                f"{planned.location}: the plan's run is not there; nothing was deleted",
                "check the mount, or make a new plan",
            )
    return [replace(here[p.location], planned=p, plan_id=plan.id) for p in plan.runs]


def _write_plan(
    file: str, session: Session, view: Survey, runs: list[PruneRun], *, recursive: bool
) -> None:
    planned = [part for run in runs if (part := run.for_file()) is not None]
    plan = PlanFile(
        id=uuid.uuid4().hex,
        created_at=format_time(session.clock()),
        location=settled_path(view, view.store.root),
        recursive=recursive,
        runs=tuple(planned),
    )
    try:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(dump(plan))
    except OSError as error:
        raise UsageError(
            f"--plan-out: {file} cannot be written ({error.strerror}); nothing was changed"
        ) from error


def _tell_of_trash(session: Session, view: Survey, report: Report) -> None:
    """Say what a prune that only trashed or scheduled left to do."""
    sizes = {d.checkpoint.path: d.checkpoint.bytes for r in report.runs for d in r.decisions}
    for action, did in _LEFT.items():
        taken = {
            o.path
            for run in report.runs
            for o in run.outcomes
            if (o.action, o.status) == (action, "done")
        }
        if taken:
            where, size = view.location, format_size(sum(sizes.get(path, 0) for path in taken))
            session.say(did.format(f"{count(len(taken), 'checkpoint')} ({size})", where))


_LEFT = {
    "trash": "nothing was freed yet: the trash took {0}; `ckptctl undo {1}` brings that back, "
    "`ckptctl purge --all {1}` frees the space now",
    "schedule": "nothing was deleted yet: {0} will go with the first prune after the grace; "
    "`ckptctl undo {1}` cancels that, `ckptctl purge --all {1}` deletes now",
}


def _named(policy: str) -> Config:
    from ckptctl.configfile import load_policy  # noqa: PLC0415 - see ckptctl/config.py

    return load_policy(policy)


def _question(runs: list[PruneRun]) -> str:
    doomed = [action.checkpoint for run in runs if run.plan for action in run.plan.actions]
    return f"Delete {len(doomed)} checkpoints ({format_size(sum(c.bytes for c in doomed))})?"


def _report(view: Survey, runs: list[PruneRun], *, dry_run: bool) -> Report:
    return Report(
        command="prune",
        runs=tuple(run.report() for run in runs),
        problems=view.problems,
        dry_run=dry_run,
    )
