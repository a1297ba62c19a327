"""One run over all tiers: what is new is proven, copied up, and only then each tier is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ckptctl.chosen import chosen
from ckptctl.cli.deciding import policy_of
from ckptctl.cli.elsewhere import guard_of
from ckptctl.cli.noted import noted_of
from ckptctl.cli.prune_run import PruneRun
from ckptctl.cli.run_by_run import Place, Read, reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.sync_run import SyncRun
from ckptctl.cli.tier_runs import look_on
from ckptctl.cli.verify_run import VerifyRun
from ckptctl.cli.verify_run import Wish as VerifyWish
from ckptctl.config import Config, policy_for
from ckptctl.decision import Decision, Verdict
from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.group import Found, look
from ckptctl.manifest import ManifestError
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.policy import Draft, Policy, Tier
from ckptctl.report import RunReport
from ckptctl.stores import told
from ckptctl.survey import Survey, name_of, path_of, read_run
from ckptctl.transfer.applied import Part
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.throttle import Throttle
from ckptctl.transfer.wanted import Stage, wanted
from ckptctl.ui.progress import Progress
from ckptctl.verdicts import BAD, Level


@dataclass(slots=True)
class Ground:
    """A path on one tier and the runs below it, as they were listed last."""

    tier: Tier
    inner: str  # below the tier's url
    view: Survey | None  # None where nothing is there yet
    _found: dict[str, Found] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._take(self.view)

    def _take(self, view: Survey | None) -> None:
        self.view = view
        self._found = {found.folder.path: found for found in view.found} if view else {}

    @property
    def paths(self) -> Iterable[str]:
        """The paths of the runs, below the one that was listed."""
        return self._found

    def there(self, path: str) -> tuple[Survey, Found] | None:
        """Return the run at a path, if it is there."""
        found = self._found.get(path)
        return (self.view, found) if self.view is not None and found is not None else None

    def again(self, session: Session, path: str) -> None:
        """List one run anew, since something was copied there.  Raises UnreadableError."""
        view = self.view
        if view is None:
            looked = look_on(session, self.tier, self.inner)
            if looked.error is not None:
                raise looked.error
            self._take(looked.view)
            return
        try:
            folder = view.store.listing(path)
        except OSError as error:
            said, check = told(self.to(path), error.strerror or str(error), "try again")
            raise UnreadableError(f"{self.to(path)}: cannot be read ({said})", check) from error
        self._found[path] = look(folder, view.store, view.formats, name_top(view))

    def to(self, path: str) -> str:
        """Return the full location of the run at a path."""
        return "/".join([self.tier.url.rstrip("/"), *(p for p in (self.inner, path) if p)])


def name_top(view: Survey) -> str:
    """Return the name of the directory that was listed."""
    return view.store.root.rstrip("/").rpartition("/")[2]


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

    def live(self) -> None:
        """Copy from each tier to the next, the fastest first; then prune each."""
        copied: dict[str, SyncedRun] = {}
        for ground in self.grounds:
            if self.session.signals.stopped():
                break
            done = self._copied(ground)
            if done is not None:
                copied[ground.tier.name] = done
        for ground in self.grounds:
            there = ground.there(self.path)
            if there is None:
                continue
            synced = copied.get(ground.tier.name)
            policy, error = self._policy(*there)
            if policy is None and error is None:
                self.unmatched.append(name_of(*there))
                continue
            pruned = self._pruned(ground, *there, policy, synced, error)
            to = policy.copy_to if policy else None
            self.parts.append(Part(tier=ground.tier.name, pruned=pruned, copied=synced, copy_to=to))

    def _policy(self, view: Survey, found: Found) -> tuple[Policy | None, CkptctlError | None]:
        try:
            return policy_of(self.session, None, self.flags, view, found), None
        except CkptctlError as error:
            return None, error

    def _ground(self, tier: str | None) -> Ground | None:
        return next((ground for ground in self.grounds if ground.tier.name == tier), None)

    def _copied(self, ground: Ground) -> SyncedRun | None:
        """Copy to the tier that the policy names; None where it names none, or it cannot be reached."""
        there = ground.there(self.path)
        policy = self._policy(*there)[0] if there else None
        to = self._ground(policy.copy_to if policy else None)
        if there is None or policy is None or to is None:
            return None
        where = to.to(self.path)
        try:
            meant = self._wanted(*there, policy)
            wish = replace(self.wish, members=meant)
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
                to.again(self.session, self.path)
            except CkptctlError as error:
                done = replace(done, error=done.error or error)
        return done

    def _wanted(self, view: Survey, found: Found, policy: Policy) -> frozenset[str]:
        """Return the members that are worth a copy.  Raises CkptctlError, OSError."""
        here = self._stage(view, found, policy)
        stages = dict(self._stages())

        def proven() -> Iterator[str]:
            guard = guard_of(self.session, None, policy, path_of(view, found))
            assert here.run is not None  # noqa: S101 - it was just read
            for checkpoint in guard.seen(view, found, here.run).checkpoints:
                if len(checkpoint.copies) >= guard.needed:
                    yield checkpoint.member

        return wanted(here, stages, lambda: list(proven()))

    def _stages(self) -> Iterator[tuple[str, Stage]]:
        """Yield the run as it is, and what is kept of it, on each tier that could be read."""
        for ground in self.grounds:
            there = ground.there(self.path)
            if there is not None:
                policy = self._policy(*there)[0]
                if policy is not None:
                    yield ground.tier.name, self._stage(*there, policy)
            elif (expected := self._expected(ground)) is not None:
                context = reading_of(self.session, expected).context
                yield ground.tier.name, Stage(run=None, policy=expected, context=context)

    def _expected(self, ground: Ground) -> Policy | None:
        """Return the policy of the run on a tier where it is not yet."""
        name = "/".join(part for part in (ground.inner, self.path) if part)
        try:
            return policy_for(self.config, name, ground.to(self.path), self.flags)
        except CkptctlError:
            return None

    def _stage(self, view: Survey, found: Found, policy: Policy) -> Stage:
        reading = reading_of(self.session, policy)
        return Stage(run=read_run(view, found, reading), policy=policy, context=reading.context)

    def _pruned(
        self,
        ground: Ground,
        view: Survey,
        found: Found,
        policy: Policy | None,
        synced: SyncedRun | None,
        error: CkptctlError | None,
    ) -> RunReport:
        """Delete what nothing keeps on this tier, and note the digests of what stays."""
        nothing = RunReport(name=name_of(view, found), location=path_of(view, found), error=error)
        if policy is None or not policy.keep or self.session.signals.stopped():
            return nothing
        run = PruneRun(self.session, None, self.flags, view, found)
        run = run.decided() if self.wish.dry_run else run.recovered().decided()
        problems: tuple[Problem, ...] = ()
        if run.run is not None:
            self._await(run.run, policy)
        if self.wish.dry_run:
            return _foreseen(run, synced, policy)
        if run.error is None and run.run is not None and view.access is None:
            try:
                problems = self._recorded(run, policy)
            except CkptctlError as failed:
                problems = (Problem("not-recorded", failed.message),)
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
        name = name_of(pruned.view, pruned.found)
        read = Read(name=name, location=pruned.path, found=pruned.found, run=pruned.run)
        place = Place(pruned.path, pruned.view, (read,))
        wish = VerifyWish(
            level=Level.STRUCTURE,
            record=True,
            reread=False,
            percent=None,
            jobs=self.wish.jobs,
            scope=None,
        )
        verified = VerifyRun(self.session, place, read, None, wish, self.progress).verified(new)
        problems = [
            Problem("unsound", f"{result.checkpoint.name} is {result.status}: {f.file}: {f.text}")
            for result in verified.results
            if result.status in BAD
            for f in result.findings
        ]
        if verified.error is not None:
            problems.append(Problem("not-recorded", verified.error.message))
        return tuple(problems)

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


def _failed(view: Survey, found: Found, to: str, error: CkptctlError) -> SyncedRun:
    return SyncedRun(
        name=name_of(view, found), location=path_of(view, found), destination=to, error=error
    )


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
