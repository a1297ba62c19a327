"""One run of which this caller has a part: hand in what is here; whoever finds all parts makes them whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from ckptctl.cli.deciding import policy_of
from ckptctl.cli.moving_parts import PartMove
from ckptctl.cli.recording import host_name
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_adding import Adding
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.sync_far import FarEnd
from ckptctl.cli.sync_having import Having, Here
from ckptctl.cli.sync_naming import Local
from ckptctl.cli.sync_results import Results, ended
from ckptctl.cli.sync_whole import Making
from ckptctl.errors import LockedError
from ckptctl.group import Found
from ckptctl.hashing import Stopped
from ckptctl.locate import local_path
from ckptctl.model import Problem
from ckptctl.parts.adopting import known
from ckptctl.parts.handing import Hands, Offer
from ckptctl.parts.meeting import Meeting
from ckptctl.parts.part import Caller, Part
from ckptctl.parts.roll import Roll
from ckptctl.parts.sharing import sight_of
from ckptctl.parts.standing import Standing
from ckptctl.pointing import links_of
from ckptctl.policy import Draft, Policy
from ckptctl.repointing import read_trackers
from ckptctl.stores import is_local
from ckptctl.stores._base import Store
from ckptctl.survey import Reading, Survey, name_of, path_of, run_store
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.failing import failure
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.throttle import Throttle, finishing
from ckptctl.ui.progress import Progress

_CONFLICT = (
    "another checkpoint has this name there, without files that are here; nothing of it was touched"
)
_SHOWN = 5
"""Names that are told of what no format knows."""


@dataclass(slots=True)
class PartRun:
    """One run, a part of which goes to `to`, the run's own path or URL at the destination."""

    session: Session
    caller: Caller
    looked_ns: int  # just before the source was listed
    flags: Draft
    view: Survey
    found: Found
    to: str
    wish: Wish
    throttle: Throttle
    progress: Progress
    absent: Callable[[Caller], Roll | None] = lambda _: None  # whether a caller lacks the whole run
    _results: Results = field(init=False)

    def __post_init__(self) -> None:
        to = os.path.abspath(local_path(self.to)) if is_local(self.to) else self.to
        self._results = Results(self.session, name_of(self.view, self.found), to)

    def synced(self) -> SyncedRun:
        """Hand in what is here, and make whole what is all there; an error leaves the rest."""
        return ended(self._sync, self._results, path_of(self.view, self.found))

    def _sync(self) -> None:
        with self.session.signals.heeded():
            policy = policy_of(
                self.session, None, self.flags, self.view, self.found, parts=True
            ) or (self.flags.policy())
            reading = reading_of(self.session, policy)
            far = FarEnd(self.session, self.to, self.view.formats, reading, self.wish.own_state)
            if self.wish.dry_run:
                for offer in self._having(reading, policy).here(()).offers:
                    self._results.tell(offer.cargo.checkpoint, Status.PLANNED, None)
                return
            place = far.made()
        with (
            closing(run_store(place.view, place.found)) as root,
            closing(far.state(place)) as state,
            self.session.signals.noted(),
        ):
            meeting = Meeting(state, self.session.clock)
            with meeting.being(self.caller):
                begun = list(meeting.keys(self.caller.of))
                there = far.locked()
                # After the parts: what was made whole meanwhile has none any more.
                here = self._having(reading, policy).here(known(begun, there))
                keys = self._handed_in(here, begun, root, meeting, far, there)
            local = Local(self.view, here.run, here.found)
            ends = (self.session, self.caller, local, far, self._results, self._sender(root))
            Making(*ends, self.absent).make(keys, meeting)
            if self.wish.move and here.offers and not self.session.signals.stopped():
                self._move(here, policy, far, root)

    def _move(self, here: Here, policy: Policy, far: FarEnd, root: Store) -> None:
        """Delete here what a whole copy there holds, as far as no guard keeps it."""
        ends = (self.session, self.view, here.found, self.to, policy)
        move = PartMove(*ends, far=far, sender=self._sender(root))
        outcomes = move.moved(self._results.whole)
        self._results.moved(outcomes, path_of(self.view, here.found))

    def _having(self, reading: Reading, policy: Policy) -> Having:
        ends = (self.session, self.view, self.found, self.to, self._results)
        rules = policy.keep if self.flags.keep is not None else None
        return Having(*ends, self.wish, reading, rules)

    def _handed_in(
        self, here: Here, begun: Sequence[Part], root: Store, meeting: Meeting, far: FarEnd,
        there: Destination,
    ) -> dict[str, int]:  # fmt: skip
        """Hand in all that is here; return the checkpoints of which parts are there, and what was sent."""
        with closing(run_store(self.view, here.found) if here.offers else root) as source:
            hands = self._hands(here, root, meeting, source)
            due = sum(offer.cargo.bytes for offer in here.offers)
            self.progress.started(f"{self._results.run}: copying", of_bytes=due)
            keys: dict[str, int] = {}
            for offer in here.offers:
                if self.session.signals.stopped():
                    raise Stopped
                if self.session.late():
                    text = "not begun within --timeout"
                    self._results.tell(offer.cargo.checkpoint, Status.SKIPPED, text)
                    continue
                before = hands.sender.bytes_sent
                if self._one(offer, hands, far, there):
                    keys[offer.key] = hands.sender.bytes_sent - before
            self._overtaken([o for o in here.offers if o.key in keys], begun, keys, hands, far)
            own = {offer.key for offer in here.offers}
            names = self.wish.names
            for part in begun:
                if part.key not in own and (not names or part.name in names):
                    hands.has_nothing(part)  # anew: it counts from when it looked
                    keys.setdefault(part.key, 0)
        folder = here.found.folder
        self._tell_unknown(here, keys)
        meeting.call(
            Roll(
                caller=self.caller,
                looked_ns=self.looked_ns,
                keys=tuple(sorted(own)),
                names=tuple(sorted((*folder.folders, *folder.files))),
                only=names or None,
            )
        )
        # Who handed in meanwhile may have looked before this roll was there: then nobody else makes it whole.
        for part in meeting.keys(self.caller.of):
            if part.key not in own and (not names or part.name in names):
                keys.setdefault(part.key, 0)
        return keys

    def _tell_unknown(self, here: Here, keys: Collection[str]) -> None:
        """Tell that what is here is no checkpoint alone, where nobody else's is there yet."""
        there = sorted((*here.found.folder.folders, *here.found.folder.files))
        if there and not here.offers and not keys and not self.wish.names:
            shown = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
            text = (
                f"nothing here is a checkpoint by itself ({shown}): what belongs to one counts when this "
                "part is called again after another that has something of it"
            )
            self._results.problems.append(Problem("parts-unknown", text))

    def _one(self, offer: Offer, hands: Hands, far: FarEnd, there: Destination) -> bool:
        """Hand in one part, or tell why not; return whether it is among those that may be whole now."""
        error = None
        try:
            status = self._became(offer, hands, far, there)
        except (Stopped, LockedError):
            raise
        except OSError as wrong:
            status, error = Status.FAILED, failure(wrong, offer.cargo.member)[0]
            # One that it was handed in to before may have made it whole, and forgot all parts.
            with suppress(OSError):
                if hands.standing(offer, far.locked()) is Standing.EQUAL:
                    status, error = Status.EQUAL, None
        if status is Status.PART:  # what is told of that is found out with all of them
            return True
        if status is Status.CONFLICT:
            error = _CONFLICT
        self._results.tell(offer.cargo.checkpoint, status, error)
        return False

    def _became(self, offer: Offer, hands: Hands, far: FarEnd, there: Destination) -> Status:
        """Hand in one part, where nothing there stands against it; return what became of it."""
        if hands.share_only:
            before = hands.meeting.part(offer.key, self.caller)
            if before is not None and before.done and before.sees == sight_of(offer.cargo):
                # By another task in its name, that may be making all of it whole now.
                return Status.PART
            there = far.locked()  # one that has made it whole has removed the part since
        opened = hands.meeting.opened(offer.key, self.caller)
        adding = Adding(self.session, far, hands.sender)
        match hands.standing(offer, there, opened):
            case Standing.EQUAL:
                return Status.EQUAL
            case Standing.MORE if opened and adding.added(offer.key, offer.cargo, opened):
                return Status.DONE
            case Standing.MORE | Standing.OTHER if not hands.was_named(offer):
                return Status.CONFLICT
            case how:
                hands.hand_in(replace(offer, hidden=how is Standing.HIDE))
                return Status.PART

    def _overtaken(
        self,
        offers: Sequence[Offer],
        begun: Sequence[Part],
        keys: dict[str, int],
        hands: Hands,
        far: FarEnd,
    ) -> None:
        """Take out of `keys` what another has made whole while this caller handed it in once more."""
        shared = {part.key for part in begun}
        alone = [offer for offer in offers if offer.key in shared and hands.alone(offer.key)]
        there = far.locked() if alone else None
        for offer in alone:
            if there and hands.standing(offer, there) is Standing.EQUAL:
                hands.meeting.forget(offer.key)
                del keys[offer.key]
                self._results.tell(offer.cargo.checkpoint, Status.EQUAL, None)

    def _hands(self, here: Here, root: Store, meeting: Meeting, source: Store) -> Hands:
        run, folder = here.run, here.found.folder
        trackers = read_trackers(source, folder, run.trackers)
        links = {
            path: text
            for path, text in links_of(folder).items()
            if not any(one.contains(path) for one in run.checkpoints)
        }
        return Hands(
            meeting=meeting,
            run=root,
            caller=self.caller,
            sender=self._sender(source),
            by=f"{host_name()}, process {os.getpid()}",
            looked_ns=self.looked_ns,
            trackers={
                path: said.decode(errors="surrogateescape") for path, said in trackers.items()
            },
            pointing=links,
            share_only=self.wish.proven is not None,
        )

    def _sender(self, source: Store) -> Sender:
        stopped, finish = self.session.signals.stopped, self.wish.finish_seconds
        over = finishing(stopped, time.monotonic, finish)
        jobs = self.wish.jobs, self.session.common.small_copies_at_once
        return Sender(source, self.throttle, *jobs, over, self.progress.advanced)
