"""One run on its way through a sync: read, choose, compare, copy, bring up to date, move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from ckptctl import __version__
from ckptctl.apply import Applier
from ckptctl.arriving import arrival
from ckptctl.cli.access import access_of
from ckptctl.cli.deciding import policy_of, refuse_unread
from ckptctl.cli.noted import noted_of
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Choice, Wish
from ckptctl.cli.sync_points import Ends, pointed
from ckptctl.config import Config
from ckptctl.errors import CkptctlError, PartialError, UnreadableError
from ckptctl.group import Found
from ckptctl.hashing import Stopped
from ckptctl.listing import Folder, Version
from ckptctl.manifest import ManifestError
from ckptctl.manifests import remembered
from ckptctl.model import Checkpoint, Problem, Run
from ckptctl.policy import Draft, Policy
from ckptctl.reading import Below
from ckptctl.report import Outcome
from ckptctl.stores import Access, is_local, scheme_of, told
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Reading, Survey, name_of, path_of, read_run, run_store, state_dirs
from ckptctl.transfer.cargo import Cargo, load
from ckptctl.transfer.carrying import carry
from ckptctl.transfer.delivery import Quay
from ckptctl.transfer.destination import (
    Destination,
    look_there,
    make_destination,
    place_at,
    records_in,
)
from ckptctl.transfer.notes import begun_in
from ckptctl.transfer.outcome import Shipped, Status, SyncedRun
from ckptctl.transfer.pairing import Pair
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.shipping import Shipper, Task, task_of
from ckptctl.transfer.still import still_there
from ckptctl.transfer.sweeping import sweep
from ckptctl.transfer.throttle import Throttle, finishing
from ckptctl.ui.progress import Progress


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
    _results: list[Shipped] = field(default_factory=list, init=False)
    _problems: list[Problem] = field(default_factory=list, init=False)

    @property
    def name(self) -> str:
        """The run's name."""
        return name_of(self.view, self.found)

    def synced(self) -> SyncedRun:
        """Copy what is to be copied; an error leaves the rest as it is."""
        error: CkptctlError | None = None
        try:
            self._sync()
        except Stopped:
            error = PartialError(f"{self.to}: interrupted; the same call goes on where it stopped")
        except CkptctlError as failed:
            error = failed
        except OSError as failed:
            said, check = told(
                self.to, failed.strerror or str(failed), "check the disk and its permissions"
            )
            where = f"{failed.filename}: " if failed.filename else ""
            error = UnreadableError(
                f"{self.to}: {where}{said}; nothing more was copied there", check
            )
        return SyncedRun(
            name=self.name,
            location=path_of(self.view, self.found),
            destination=self.to,
            results=tuple(self._results),
            problems=tuple(self._problems),
            error=error,
        )

    def _sync(self) -> None:
        policy = policy_of(self.session, self.config, self.flags, self.view, self.found) or (
            self.flags.policy()
        )
        reading = reading_of(self.session, policy)
        choice = self._choice(policy)
        run = read_run(self.view, self.found, reading, choice.manifests)
        self.session.note(run.problems)
        if self.wish.proven is None:
            refuse_unread(run)
        cargoes = list(self._loaded(run, reading, choice))
        if self.wish.dry_run:
            self._planned(cargoes, self._look(reading), choice)
            return
        if not cargoes and self._look(reading) is None:
            return
        make_destination(self.to, self._mount())
        place = place_at(self.to, self._access(), self.view.formats, self._there(reading))
        if place is None:
            raise _removed(self.to)
        with (
            closing(run_store(self.view, self.found)) as source,
            closing(run_store(place.view, place.found)) as root,
            self.session.signals.noted(),
            Applier(root, place.dirs, surroundings_of(self.session)) as applier,
        ):
            # Only now: another process may have copied there until we had the lock.
            destination = self._look(reading)
            if destination is None:
                raise _removed(self.to)
            shipper = self._shipper(source, root, applier, policy)
            self._copy(cargoes, destination, shipper, choice)
            after = self._look(reading) if shipper.wrote else destination
            now = after.found.folder if after is not None else Folder("")
            by_member = {cargo.checkpoint.member: cargo for cargo in cargoes}
            self._results = list(still_there(self._results, by_member, now))
            if after is not None:
                dirs = state_dirs(self.view, self.found, reading.state_dir, reading.uid)
                records = records_in(dirs, path_of(self.view, self.found))
                carry(self._whole(), run, records, after, applier.recorder())
                self._point(run, source, after, root, applier)
                sweep(applier.state(), root, self._whole(), self.session.clock())
            if self.wish.move and not self.session.signals.stopped():
                # Still under the lock there: nobody deletes the copy for which this one goes, and
                # a run that is reached by two ways is never moved onto itself.
                self._move(policy)

    def _point(
        self, run: Run, source: Store, after: Destination, root: Store, applier: Applier
    ) -> None:
        """Write the pointers of the run at the destination, each only to what is whole there."""
        conflicts = frozenset(r.member for r in self._results if r.status is Status.CONFLICT)
        ends = Ends(self.session, self.view, self.found, run, source, after, root)
        for point in pointed(ends, applier, conflicts):
            self._heard(
                Shipped(
                    run=self.name,
                    checkpoint=point.path,
                    path=f"{root.root.rstrip('/')}/{point.path}",
                    action="point",
                    status=Status(point.fate),
                    error=point.text,
                )
            )

    def _whole(self) -> frozenset[str]:
        """Return the members (at the source) that are whole at the destination under that name."""
        ours = {Status.DONE, Status.EQUAL}
        ends = {r.member: f"/{r.member}" for r in self._results if r.status in ours}
        return frozenset(
            r.member for r in self._results if r.path.endswith(ends.get(r.member, "//"))
        )

    def _move(self, policy: Policy) -> None:
        """Delete here what is there by now, as far as no guard keeps it."""
        from ckptctl.cli.moving import Move  # noqa: PLC0415 - few calls move

        whole = self._whole()
        places = {r.member: number for number, r in enumerate(self._results)}
        for told_of in Move(self.session, self.view, self.found, self.to, policy).moved(whole):
            if isinstance(told_of, Problem):
                self._problems.append(told_of)
                continue
            member = told_of.path.removeprefix(path_of(self.view, self.found)).lstrip("/")
            number = places[member]
            self._results[number] = replace(
                self._results[number],
                action="move",
                status=Status(told_of.status),
                error=told_of.error and f"was copied, and is still here: {told_of.error}",
            )
            if self.session.log is not None:
                self.session.log.add("sync", self.name, told_of)

    def _mount(self) -> str:
        """Return the directory of the tier that the destination lies on, which has to be there."""
        place = self.session.config.place(self.to) if self.session.config else None
        return place[0].url if place and is_local(place[0].url) else ""

    def _look(self, reading: Reading) -> Destination | None:
        return look_there(self.to, self._access(), self.view.formats, self._there(reading))

    def _there(self, reading: Reading) -> Reading:
        return replace(reading, state_dir=None) if self.wish.own_state else reading

    def _access(self) -> Access:
        return access_of(self.session.common, self.session.config, self.to)

    def _tell(self, checkpoint: Checkpoint, status: Status, error: str | None) -> None:
        self._results.append(
            Shipped(
                run=self.name,
                checkpoint=checkpoint.name,
                path=f"{self.to.rstrip('/')}/{checkpoint.member}",
                action="copy",
                status=status,
                bytes=checkpoint.bytes,
                error=error,
                member=checkpoint.member,
            )
        )

    def _choice(self, policy: Policy) -> Choice:
        manifests = remembered(noted_of(self.session, self.view, self.found))
        rules = policy.keep if self.flags.keep is not None else self.wish.rules
        reader = Below(self.view.store, self.found.folder.path)
        return Choice(self.wish, rules, self.view.by_name, reader, manifests)

    def _loaded(self, run: Run, reading: Reading, choice: Choice) -> Iterator[Cargo]:
        """Yield what is to be copied, in order; what cannot be is told."""
        for checkpoint, unfit in choice.of(run, reading.context):
            if unfit is not None:
                self._tell(checkpoint, *unfit)
                continue
            try:
                manifest = choice.manifests(checkpoint.member)
            except ManifestError as error:
                text = f"its manifest cannot be read ({error}); it was not copied"
                self._tell(checkpoint, Status.FAILED, text)
                continue
            strange = [p for p, file in manifest.files.items() if file.made] if manifest else ()
            kind = self.view.by_name[checkpoint.format]
            how = arrival(kind, checkpoint, scheme_of(self.to), strange)
            yield load(checkpoint, self.found.folder, manifest, how, self._link_time())

    def _link_time(self) -> Callable[[str], int] | None:
        """Return what tells when a link was made; None where there can be none."""
        store, below = self.view.store, self.found.folder.path
        if not isinstance(store, LocalStore):
            return None
        return lambda path: store.link_time(f"{below}/{path}".lstrip("/"))

    def _planned(
        self, cargoes: Sequence[Cargo], destination: Destination | None, choice: Choice
    ) -> None:
        """Tell what would be done."""
        for cargo in cargoes:
            task = task_of(cargo, destination, frozenset())
            if self._torn(task, choice):
                continue
            status, text = _OUTLOOK.get(task.pair, (Status.PLANNED, None))
            self._tell(cargo.checkpoint, status, text)

    def _shipper(self, source: Store, root: Store, applier: Applier, policy: Policy) -> Shipper:
        sender = Sender(
            source,
            self.throttle,
            self.wish.jobs,
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
            on_conflict=self.wish.on_conflict or policy.on_conflict,
            set_aside=lambda one: self._set_aside(one, applier, policy),
            seconds=time.monotonic,
            log=self._heard,
            begun=begun_in(state),
        )

    def _set_aside(self, one: Checkpoint, applier: Applier, policy: Policy) -> str | None:
        """Make room for a copy, if nobody has pinned, held or saved anew what is there meanwhile."""
        applier.check()
        seen = self._look(reading_of(self.session, policy))
        now = (
            next((c for c in seen.run.checkpoints if c.member == one.member), None)
            if seen
            else None
        )
        if now is None or _versions(now) != _versions(one):
            return "it changed meanwhile"
        return applier.set_aside(now, policy.grace_ns)

    def _heard(self, done: Shipped) -> None:
        self._results.append(done)
        if self.session.log is not None:
            outcome = Outcome(
                done.checkpoint, done.path, done.action, done.status, done.bytes_sent, done.error
            )
            self.session.log.add("sync", self.name, outcome)

    def _torn(self, task: Task, choice: Choice) -> bool:
        """Tell where one that is to be copied is not whole; of an equal one nothing is copied."""
        unfit = None if task.pair is Pair.EQUAL else choice.torn(task.checkpoint)
        if unfit is not None:
            self._tell(task.checkpoint, *unfit)
        return unfit is not None

    def _copy(
        self,
        cargoes: Sequence[Cargo],
        destination: Destination,
        shipper: Shipper,
        choice: Choice,
    ) -> None:
        tasks = [task_of(cargo, destination, shipper.begun) for cargo in cargoes]
        due = sum(task.cargo.bytes for task in tasks if task.pair is not Pair.EQUAL)
        self.progress.started(f"{self.name}: copying", of_bytes=due)
        for task in tasks:
            if self.session.signals.stopped():
                raise Stopped
            if self.session.late():
                self._tell(task.checkpoint, Status.SKIPPED, "not begun within --timeout")
                continue
            if not self._torn(task, choice):
                shipper.ship(task, destination)


def _versions(one: Checkpoint) -> dict[str, Version]:
    return {path: entry.version for path, entry in one.files.items() if path not in one.sidecars}


def _removed(location: str) -> UnreadableError:
    return UnreadableError(f"{location}: was removed just after it was made; nothing was copied")


_OUTLOOK = {
    Pair.EQUAL: (Status.EQUAL, None),
    Pair.OTHER: (Status.CONFLICT, "another one has this name there"),
    Pair.UNSURE: (Status.PLANNED, "its bytes would be compared with those there"),
}
