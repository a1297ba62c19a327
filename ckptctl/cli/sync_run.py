"""One run on its way through a sync: read, choose, compare, copy, bring up to date, move."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from ckptctl import __version__
from ckptctl.apply import Applier
from ckptctl.cli.deciding import policy_of, refuse_unread
from ckptctl.cli.noted import noted_of
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_cargo import Loader
from ckptctl.cli.sync_choice import Choice, Wish
from ckptctl.cli.sync_damage import note_damage
from ckptctl.cli.sync_far import FarEnd
from ckptctl.cli.sync_pending import Pending, pending_at
from ckptctl.cli.sync_points import near_side, pointed
from ckptctl.cli.sync_results import Results, ended
from ckptctl.config import Config
from ckptctl.group import Found
from ckptctl.hashing import Stopped
from ckptctl.listing import Folder
from ckptctl.manifests import remembered
from ckptctl.model import Checkpoint, Run
from ckptctl.policy import Draft, Policy
from ckptctl.reading import Below
from ckptctl.stores._base import Store
from ckptctl.survey import (
    Reading,
    Survey,
    again,
    name_of,
    path_of,
    read_run,
    run_store,
    state_dirs,
    touched,
)
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.carrying import carry
from ckptctl.transfer.conflict import BY_FLAGS, outlook
from ckptctl.transfer.delivery import Quay
from ckptctl.transfer.destination import Destination, ListedRun, records_in
from ckptctl.transfer.notes import begun_in
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.pairing import Pair
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.shipping import Shipper, Task, task_of
from ckptctl.transfer.still import still_there
from ckptctl.transfer.sweeping import sweep
from ckptctl.transfer.throttle import Throttle, finishing
from ckptctl.ui.progress import Progress

if TYPE_CHECKING:
    from ckptctl.cli.moving import Move


class _Meant(NamedTuple):
    """A run as it was read, and what of it is to be copied."""

    run: Run
    choice: Choice
    cargoes: Sequence[Cargo]


@dataclass(slots=True)
class SyncRun:
    """One run being copied to `to`, the run's own path or URL at the destination."""

    session: Session
    config: Config | None  # that of --policy
    flags: Draft
    view: Survey
    found: Found
    to: str
    wish: Wish
    throttle: Throttle
    progress: Progress
    _results: Results = field(init=False)
    _run: Run | None = field(default=None, init=False)  # as it was read last

    def __post_init__(self) -> None:
        self._results = Results(self.session, self.name, self.to)

    @property
    def name(self) -> str:
        """The run's name."""
        return name_of(self.view, self.found)

    @property
    def path(self) -> str:
        """The run's full path at the source."""
        return path_of(self.view, self.found)

    def synced(self) -> SyncedRun:
        """Copy what is to be copied; an error leaves the rest as it is."""
        done = ended(self._sync, self._results, self.path)
        if self._run is None or self.wish.proven is not None:  # who fetches takes another one
            return done
        what = (self.view, self.found, self._run, done.results)
        damage = note_damage(self.session, *what, self.progress)
        return replace(done, problems=(*done.problems, *damage))

    def _sync(self) -> None:
        with self.session.signals.heeded():
            policy = policy_of(self.session, self.config, self.flags, self.view, self.found) or (
                self.flags.policy()
            )
            reading = reading_of(self.session, policy)
            meant = self._meant(policy, reading)
            far = FarEnd(self.session, self.to, self.view.formats, reading, self.wish.own_state)
            if self.wish.dry_run:
                self._planned(meant, far.look(), self._on_conflict(policy))
                if self.wish.move:
                    self._results.foreseen(*self._moving(policy).foreseen(self._results.coming))
                return
            if not meant.cargoes and far.look() is None:
                return
            place = far.made()
        self._carried_out(meant, far, place, policy)

    def _meant(self, policy: Policy, reading: Reading) -> _Meant:
        """Return what is to be copied of the run as it was listed; what cannot be is told."""
        choice = self._choice(policy)
        run = read_run(self.view, self.found, reading, choice.manifests)
        self._run = run
        self.session.note(run.problems)
        if self.wish.proven is None:
            refuse_unread(run)
        loader = Loader(self.view, self.found, self.to)
        cargoes = loader.chosen(run, choice, reading.context, self._results)
        return _Meant(run, choice, tuple(cargoes))

    def _carried_out(self, meant: _Meant, far: FarEnd, place: ListedRun, policy: Policy) -> None:
        """Copy, bring up to date and move, all under the lock at the destination."""
        with (
            closing(run_store(self.view, self.found)) as source,
            closing(run_store(place.view, place.found)) as root,
            self.session.signals.noted(),
            Applier(root, place.dirs, surroundings_of(self.session)) as applier,
        ):
            # Whoever was waited for may have deleted here, and so may another while a run before
            # this one was copied.
            if applier.waited or (self.wish.proven is None and touched(source, self.found)):
                self._results.shipped.clear()
                self.found = again(self.view, self.found)
                meant = self._meant(policy, far.reading)
            run, choice, cargoes = meant
            destination = far.locked()
            shipper = self._shipper(source, root, applier, far, policy)
            try:
                self._copy(cargoes, destination, shipper, choice)
            finally:
                self._results.noted |= shipper.noted
            after = far.look() if shipper.wrote else destination
            now = after.found.folder if after is not None else Folder("")
            by_member = {cargo.checkpoint.member: cargo for cargo in cargoes}
            self._results.looked_at(still_there(self._results.shipped, by_member, now))
            if after is not None:
                self._settle(run, after, root, applier)
            if self.wish.move and not self.session.signals.stopped():
                # Still under the lock there: nobody deletes the copy for which this one goes, and
                # a run that is reached by two ways is never moved onto itself.
                moved = self._moving(policy).moved(self._results.whole)
                self._results.moved(moved, self.path)

    def _settle(self, run: Run, after: Destination, root: Store, applier: Applier) -> None:
        """Let records follow, then pointers; remove what nobody goes on with."""
        whole, results, formats = self._results.whole, self._results, self.view.by_name
        dirs = state_dirs(self.view, self.found, self.session.common.state_dir, os.geteuid())
        records = records_in(dirs, self.path)
        results.noted |= carry(whole, run, records, after, applier.recorder())
        here = near_side(self.session, self.view, self.found, run, after.run)
        points = pointed(here, after, root, applier, formats, results.conflicts)
        results.pointed(points, root.root)
        sweep(applier.state(), root, whole, self.session.clock())

    def _moving(self, policy: Policy) -> Move:
        from ckptctl.cli.moving import Move  # noqa: PLC0415 - few calls move

        return Move(self.session, self.view, self.found, self.to, policy)

    def _choice(self, policy: Policy) -> Choice:
        manifests = remembered(noted_of(self.session, self.view, self.found))
        rules = policy.keep if self.flags.keep is not None else self.wish.rules
        reader = Below(self.view.store, self.found.folder.path)
        return Choice(self.wish, rules, self.view.by_name, reader, manifests)

    def _planned(self, meant: _Meant, destination: Destination | None, on_conflict: str) -> None:
        """Tell what would be done."""
        now_ns = self.session.clock()
        with pending_at(destination) as pending:
            for cargo in meant.cargoes:
                task = task_of(cargo, destination, pending.begun)
                if self._unfit(task, meant.choice, pending):
                    continue
                way_out = self._way_out(cargo.checkpoint)
                told = outlook(task.there, task.pair, on_conflict, now_ns, way_out)
                self._results.tell(cargo.checkpoint, *told)

    def _on_conflict(self, policy: Policy) -> str:
        return self.wish.on_conflict or policy.on_conflict

    def _way_out(self, checkpoint: Checkpoint) -> str:
        """Return what the user can do where something else has the name of a copy."""
        if not self.wish.of_config or self.session.config is None:
            return BY_FLAGS
        import shlex  # noqa: PLC0415 - few need it

        call = ["ckptctl", "sync", self.path, self.to, "--name", checkpoint.name]
        text = shlex.join([*call, "--config", self.session.config.file, "--overwrite"])
        return f"`{text}` replaces it, with `--on-conflict both` both are kept"

    def _shipper(
        self, source: Store, root: Store, applier: Applier, far: FarEnd, policy: Policy
    ) -> Shipper:
        sender = Sender(
            source,
            self.throttle,
            self.wish.jobs,
            self.session.common.small_copies_at_once,
            finishing(self.session.signals.stopped, time.monotonic, self.wish.finish_seconds),
            self.progress.advanced,
        )
        state = applier.state()
        return Shipper(
            quay=Quay(
                run=root,
                state=state,
                clock=self.session.clock,
                check=applier.check,
                by=f"ckptctl {__version__}",
            ),
            recorder=applier.recorder(),
            sender=sender,
            on_conflict=self._on_conflict(policy),
            way_out=self._way_out,
            set_aside=lambda one: far.set_aside(one, applier, policy.grace_ns),
            seconds=time.monotonic,
            log=self._results.heard,
            begun=begun_in(state),
            noting=far.noting if self.wish.joins else None,
        )

    def _unfit(self, task: Task, choice: Choice, pending: Pending) -> bool:
        """Tell where one that is to be copied is not whole; of an equal one nothing is copied."""
        unfit = None if task.pair is Pair.EQUAL else choice.torn(task.checkpoint)
        divided = not self.wish.joins and self.wish.on_conflict != "replace"
        if unfit is None and task.pair is not Pair.EQUAL and divided:
            text = pending.conflict(task.cargo)
            unfit = None if text is None else (Status.CONFLICT, text)
        if unfit is not None:
            self._results.tell(task.checkpoint, *unfit)
        return unfit is not None

    def _copy(
        self,
        cargoes: Sequence[Cargo],
        destination: Destination,
        shipper: Shipper,
        choice: Choice,
    ) -> None:
        tasks = [task_of(cargo, destination, shipper.begun) for cargo in cargoes]
        pending = Pending(shipper.quay.state, shipper.begun)
        due = sum(task.cargo.bytes for task in tasks if task.pair is not Pair.EQUAL)
        self.progress.started(f"{self.name}: copying", of_bytes=due)
        for task in tasks:
            if self.session.signals.stopped():
                raise Stopped
            if self.session.late():
                self._results.tell(task.checkpoint, Status.SKIPPED, "not begun within --timeout")
                continue
            if not self._unfit(task, choice, pending):
                shipper.ship(task, destination)
