"""One run on one tier, once its copies are made: what is new is proven and hashed, then it is pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ckptctl.chosen import chosen
from ckptctl.cli.noted import noted_of
from ckptctl.cli.prune_run import PruneRun
from ckptctl.cli.run_by_run import Read, ReadPlace, reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.verify_run import VerifyRun, VerifyWish
from ckptctl.decision import Decision, Verdict
from ckptctl.errors import CkptctlError
from ckptctl.group import Found
from ckptctl.manifest import ManifestError
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.policy import Draft, Policy
from ckptctl.report import RunReport
from ckptctl.survey import Survey, name_of, path_of
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.ui.progress import Progress
from ckptctl.ui.verifying import Verified
from ckptctl.verdicts import BAD, Level


@dataclass(slots=True)
class LifePrune:
    """Prunes; `due_ns` is when what is being saved there will have settled."""

    session: Session
    flags: Draft
    wish: Wish
    progress: Progress
    view: Survey
    found: Found
    due_ns: list[int] = field(default_factory=list, init=False)
    noted: bool = field(default=False, init=False)  # something new was recorded

    def pruned(self, policy: Policy, synced: SyncedRun | None) -> RunReport:
        """Delete what nothing keeps on this tier, and note the digests of what stays.

        `synced` is what was copied from here, or in a dry run would be.
        """
        run = PruneRun(self.session, None, self.flags, self.view, self.found)
        run = run.decided() if self.wish.dry_run else run.recovered().decided()
        problems: tuple[Problem, ...] = ()
        if run.run is not None:
            self._await(run.run, policy)
        if self.wish.dry_run:
            return _foreseen(run, synced, policy)
        if run.error is None and run.run is not None and self.view.access is None:
            try:
                with self.session.signals.heeded():
                    problems = self._recorded(run, policy)
            except CkptctlError as failed:
                problems = (Problem("not-recorded", failed.message),)
            except OSError as failed:
                problems = (Problem("not-recorded", f"{run.path}: cannot be read ({failed})"),)
            if problems:  # what was taken for whole is not: decide without it
                run = run.decided()
        report = run.applied().report()
        return replace(report, problems=(*report.problems, *problems))

    def _await(self, run: Run, policy: Policy) -> None:
        """Remember when what is being saved will have settled."""
        saving = (c for c in run.checkpoints if c.state is State.SAVING)
        self.due_ns += [c.changed_ns + policy.settle_ns for c in saving]

    def _recorded(self, pruned: PruneRun, policy: Policy) -> tuple[Problem, ...]:
        """Prove and hash what stays here and is copied nowhere; return what turned out to be broken.

        Copying reads and hashes all the rest; on a bucket every byte would have to come down.
        """
        assert pruned.run is not None  # noqa: S101 - it was decided
        new = list(self._new(pruned, policy))
        if not new:
            return ()
        verified = self.verified(pruned.run, new, Level.STRUCTURE, record=True)
        self.noted = self.noted or bool(verified.results)
        problems = [
            Problem("unsound", f"{result.checkpoint.name} is {result.status}: {f.file}: {f.text}")
            for result in verified.results
            if result.status in BAD
            for f in result.findings
        ]
        if verified.error is not None:
            problems.append(Problem("not-recorded", verified.error.message))
        return tuple(problems)

    def verified(
        self, run: Run, checkpoints: Sequence[Checkpoint], level: Level, *, record: bool = False
    ) -> Verified:
        """Verify checkpoints of the run on this tier, and note what came of it."""
        where = path_of(self.view, self.found)
        name = name_of(self.view, self.found)
        read = Read(name=name, location=where, found=self.found, run=run)
        wish = VerifyWish(
            level=level,
            record=record,
            reread=False,
            percent=None,
            jobs=self.wish.jobs,
            scope=None,
        )
        place = ReadPlace(where, self.view, (read,))
        return VerifyRun(self.session, place, read, None, wish, self.progress).verified(checkpoints)

    def _new(self, pruned: PruneRun, policy: Policy) -> Iterator[Checkpoint]:
        """Yield the complete checkpoints that stay and of which nothing was recorded yet."""
        assert pruned.run is not None  # noqa: S101 - it was decided
        manifests = noted_of(self.session, pruned.view, pruned.found)
        context = reading_of(self.session, policy).context
        copied = chosen(pruned.run, policy.copy, context) if policy.copy_to else frozenset()
        for decision in pruned.decisions:
            c = decision.checkpoint
            stays = decision.verdict is Verdict.KEEP and c.state is State.COMPLETE and not c.named
            if not stays or c.member in copied:
                continue
            try:
                if manifests(c.member) is None:
                    yield c
            except ManifestError:
                continue  # the guard `unread` keeps it, and list says why


def _foreseen(run: PruneRun, synced: SyncedRun | None, policy: Policy) -> RunReport:
    """Return what a dry run tells: what only waits for a copy that is to be made goes after it."""
    report = run.report()
    coming = {r.member for r in synced.results if r.status is Status.PLANNED} if synced else set()

    def after(decision: Decision) -> Decision:
        only = bool(decision.reasons) and all(r.rule == "copies" for r in decision.reasons)
        if not only or decision.checkpoint.member not in coming:
            return decision
        return replace(decision, reasons=(), short=(f"once it is copied to {policy.copy_to}",))

    return replace(report, decisions=tuple(map(after, report.decisions)))
