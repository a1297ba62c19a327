"""The runs whose trash a command is about, each with its state, and how they are reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl.apply import Applier
from ckptctl.cli.access import access_of
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.run_by_run import refuse_by_place
from ckptctl.cli.runtime import Session
from ckptctl.deletion.schedule import scheduled_in
from ckptctl.deletion.trash import TrashEntry
from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.group import Found
from ckptctl.records import RecordError
from ckptctl.report import Outcome, Report, RunReport
from ckptctl.statedir import StateDirs, find_state
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Survey, name_of, path_of, run_store, state_dirs, survey
from ckptctl.undoing import in_trash

Work = Callable[[Store, Applier, Sequence[TrashEntry]], Iterator[Outcome]]


@dataclass(frozen=True, slots=True)
class TrashRun:
    """One run, what its trash holds, and what of that is meant."""

    name: str
    path: str
    dirs: StateDirs
    held: tuple[TrashEntry, ...]
    meant: tuple[TrashEntry, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    hidden_bytes: int = 0
    error: CkptctlError | None = None
    view: Survey | None = None  # of a run in a bucket, which is there as long as its trash
    found: Found | None = None

    def opened(self) -> Store:
        """Open the run.  Raises OSError, UnreadableError."""
        if self.view is not None and self.found is not None:
            return run_store(self.view, self.found)
        return LocalStore(self.path)

    def worked(self, session: Session, work: Work) -> TrashRun:
        """Do the work on what is meant, under the run's lock."""
        if not self.meant:
            return self
        outcomes: list[Outcome] = []
        hidden = 0
        try:
            session.signals.heed()
            with (
                closing(self.opened()) as root,
                session.signals.noted(),
                Applier(root, self.dirs, surroundings_of(session)) as applier,
            ):
                for outcome in work(root, applier, self.meant):
                    outcomes.append(outcome)
                    if session.log is not None:
                        session.log.add(outcome.action, self.name, outcome)
                session.warnings += applier.aftermath.words
                hidden = applier.aftermath.hidden
        except CkptctlError as error:
            return replace(self, outcomes=tuple(outcomes), error=error)
        except OSError as error:
            text = f"{self.path}: cannot be changed ({error.strerror or error})"
            return replace(self, outcomes=tuple(outcomes), error=UnreadableError(text))
        return replace(self, outcomes=tuple(outcomes), hidden_bytes=hidden)

    def planned(self, action: str) -> TrashRun:
        """Return it as if the work had been done, for a dry run or a listing."""
        shown = [
            Outcome(e.name, os.path.join(self.path, e.paths[0]), action, "planned", e.bytes)
            for e in self.meant
        ]
        return replace(self, outcomes=tuple(shown))


def trash_runs(session: Session, location: str | None) -> list[TrashRun]:
    """Return the runs at a location, even one that has nothing left but its trash.

    Raises UnreadableError where there is no location, UsageError where it holds several runs and
    --recursive is not given.
    """
    where = session.locate(location)
    formats = session.config.formats if session.config else ()
    access = access_of(session, session.config, where)
    view = survey(where, formats, deep=session.common.recursive, access=access)
    if view.only is not None:
        refuse_by_place(view, recursive=session.common.recursive)
    paths = [(name_of(view, found), path_of(view, found)) for found in view.found]
    if view.access is not None:
        return _in_bucket(session, view)
    if not view.itself:
        itself = _run(session, os.path.basename(view.store.root), view.store.root)
        if itself.held:
            return [itself]
        refuse_by_place(view, recursive=session.common.recursive)
    return [_run(session, name, path) for name, path in paths]


def _in_bucket(session: Session, view: Survey) -> list[TrashRun]:
    refuse_by_place(view, recursive=session.common.recursive)
    runs = []
    for found in view.found:
        name, path = name_of(view, found), path_of(view, found)
        try:
            dirs = state_dirs(view, found, session.common.state_dir, os.geteuid())
            held = tuple(scheduled_in(dirs, found.folder))
            runs.append(TrashRun(name, path, dirs, held, view=view, found=found))
        except (OSError, RecordError) as error:
            text = (
                f"{path}: what is scheduled cannot be read ({_words(error)}); nothing was changed"
            )
            unreadable = UnreadableError(text, "check the permissions of its state in .ckptctl/")
            runs.append(TrashRun(name, path, StateDirs(), (), error=unreadable))
    return runs


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _run(session: Session, name: str, path: str) -> TrashRun:
    try:
        dirs = find_state(path, option=session.common.state_dir, uid=os.geteuid(), forbids=None)
        session.warnings += [
            f"state is passed over: {place}: {reason}; its trash is left alone"
            for place, reason in dirs.passed_over
        ]
        return TrashRun(name, path, dirs, tuple(in_trash(dirs)))
    except OSError as error:
        text = f"{path}: its trash cannot be read ({error.strerror or error}); nothing was changed"
        return TrashRun(
            name, path, StateDirs(), (), error=UnreadableError(text, "check its permissions")
        )


def report_of(command: str, runs: Sequence[TrashRun], *, dry_run: bool) -> Report:
    """Return the runs as a command's whole result."""
    return Report(
        command=command,
        dry_run=dry_run,
        runs=tuple(
            RunReport(
                name=run.name,
                location=run.path,
                outcomes=run.outcomes,
                hidden_bytes=run.hidden_bytes,
                error=run.error,
            )
            for run in runs
        ),
    )
