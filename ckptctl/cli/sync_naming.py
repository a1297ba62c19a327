"""Give the names to checkpoints of which all parts came together, by the ordinary delivery."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ckptctl import __version__
from ckptctl.apply import Applier
from ckptctl.arriving import arrival
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_far import FarEnd
from ckptctl.cli.sync_points import pointed
from ckptctl.cli.sync_results import Results
from ckptctl.group import Found
from ckptctl.model import Run
from ckptctl.parts.counting import Count
from ckptctl.parts.meeting import Meeting, whole_stage
from ckptctl.parts.opened import Opened
from ckptctl.parts.whole import Gatherer, Whole, gather, held_back
from ckptctl.reading import Reader
from ckptctl.repointing import read_trackers
from ckptctl.sides import Fate, Side
from ckptctl.stores import is_local, scheme_of
from ckptctl.stores._base import Store
from ckptctl.survey import Survey
from ckptctl.transfer.cargo import Cargo, load
from ckptctl.transfer.delivery import Quay
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.notes import note_name
from ckptctl.transfer.outcome import Status
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.shipping import Shipper, task_of


class Local(NamedTuple):
    """The run at this caller's source."""

    view: Survey
    run: Run
    found: Found


@dataclass(frozen=True, slots=True)
class Naming:
    """What names checkpoints of one run, under its lock at the destination."""

    session: Session
    local: Local
    far: FarEnd
    results: Results
    sender: Sender  # that of this call, for what was held back
    root: Store  # the run at the destination
    applier: Applier

    @property
    def meeting(self) -> Meeting:
        """Where the callers meet."""
        return Meeting(self.applier.state(), self.session.clock)

    def named(self, key: str, whole: Whole, count: Count, there: Destination, sent: int) -> bool:
        """Give one its name; return whether it has it now.  `there` is the run as it was before."""
        cargo = self._cargo(whole, count)
        newest_ns = max(part.changed_ns for part in count.parts.values())
        of = next(iter(count.parts.values())).caller.of
        opened = Opened(key=key, of=of, missing=count.missing, newest_ns=newest_ns)
        self.meeting.leave_open(opened)
        gather(whole, cargo, key, self.meeting)
        task = task_of(cargo, there, frozenset({note_name(cargo.member)}))
        done = self._shipper(key, whole, sent).ship(task, there)
        if done.status not in {Status.DONE, Status.EQUAL}:
            return False
        self.meeting.forget(key)
        return True

    def point(self, made: Iterable[Whole], after: Destination) -> None:
        """Write what trackers say of those that were named."""
        for whole in made:
            formats = self.local.view.by_name
            points = pointed(_side(whole, after), after, self.root, self.applier, formats)
            # What names another checkpoint is told where that one is made whole.
            told = (point for point in points if point.fate is not Fate.SKIPPED)
            self.results.pointed(told, self.root.root)

    def _cargo(self, whole: Whole, count: Count) -> Cargo:
        kind = self.local.view.by_name[whole.checkpoint.format]
        how = arrival(kind, whole.checkpoint, scheme_of(self.far.to))
        times = {path: ns for part in count.parts.values() for path, ns in part.link_times.items()}
        folder = whole.union.folder
        return load(whole.checkpoint, folder, None, how, lambda path: times.get(path, 0))

    def _shipper(self, key: str, whole: Whole, sent: int) -> Shipper:
        own, state = self.sender, self.applier.state()
        return Shipper(
            quay=Quay(
                run=self.root,
                state=state,
                clock=self.session.clock,
                check=self.applier.check,
                by=f"ckptctl {__version__}",
                staging=lambda _: whole_stage(key),
            ),
            recorder=self.applier.recorder(),
            sender=Gatherer(
                whole.union,
                own.throttle,
                own.jobs,
                own.small_jobs,
                own.stop,
                own.heard,
                held=held_back(whole, state),
            ),
            on_conflict="stop",
            set_aside=lambda _: "parts replace nothing",
            seconds=time.monotonic,
            log=lambda done: self.results.heard(replace(done, bytes_sent=done.bytes_sent + sent)),
        )


def _side(whole: Whole, after: Destination) -> Side:
    """Return what the parts say of pointers."""
    union: Reader = whole.union
    paths = (*whole.run.trackers, *after.run.trackers)
    return Side(
        run=whole.run,
        found=whole.found,
        contents=read_trackers(union, whole.found.folder, paths),
        real=os.path.realpath if is_local(whole.run.location) else posixpath.normpath,
    )
