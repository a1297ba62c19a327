"""Make checkpoints whole of which all parts are there: under the lock of the run at the destination."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from ckptctl.apply import Applier
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_far import FarEnd
from ckptctl.cli.sync_naming import Local, Naming
from ckptctl.cli.sync_results import Results
from ckptctl.model import NS, Problem, State
from ckptctl.parts.amid import refuse_lost
from ckptctl.parts.counting import Count, counted
from ckptctl.parts.meeting import Meeting
from ckptctl.parts.part import Caller, Part
from ckptctl.parts.roll import Roll
from ckptctl.parts.union import UnlikeError
from ckptctl.parts.whole import (
    HalfError,
    MissingError,
    UnsettledError,
    Whole,
    key_of,
    union_of,
    whole_of,
)
from ckptctl.records import Record
from ckptctl.survey import name_of, run_store, state_dirs
from ckptctl.transfer.carrying import carry
from ckptctl.transfer.destination import Destination, records_in
from ckptctl.transfer.outcome import Shipped, Status
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.sweeping import sweep

_PATIENCE_NS = 60 * NS
"""How long whoever comes last waits for the lock: those before it hold it for a moment only."""

_SHOWN = 10
"""Missing parts that are told by their numbers."""


@dataclass(frozen=True, slots=True)
class Making:
    """What makes checkpoints of one run whole at its destination."""

    session: Session
    caller: Caller
    local: Local
    far: FarEnd
    results: Results
    sender: Sender  # that of this call, for what was held back
    absent: Callable[[Caller], Roll | None]  # whether a caller lacks the whole run
    _said: dict[int, Roll | None] = field(default_factory=dict)
    _called: list[Collection[int]] = field(default_factory=list)  # once: whose rolls are asked for

    def make(self, keys: Mapping[str, int], meeting: Meeting) -> None:
        """Make whole what is all there, and tell of the rest; `keys` come with the bytes that were sent.

        Raises LockedError, UnreadableError, OSError.
        """
        ready = []
        for key, sent in keys.items():
            count = self._count(meeting, key)
            if count.fit:
                ready.append(key)
            else:
                self._waits(key, count, sent)
        records = self._records()
        if not ready and not records.keys() & self.results.whole:
            return
        place = self.far.made()
        world = surroundings_of(self.session)
        world = replace(world, lock_wait_ns=max(world.lock_wait_ns, _PATIENCE_NS))
        with (
            closing(run_store(place.view, place.found)) as root,
            Applier(root, place.dirs, world) as applier,
        ):
            # Under the lock nobody else publishes: what is there is looked at once, not for each.
            naming = Naming(
                self.session, self.local, self.far, self.results, self.sender, root, applier
            )
            there = self.far.locked()
            made: list[Whole] = []
            for key in ready:
                if whole := self._one(key, keys[key], naming, there, made):
                    made.append(whole)
            after = self.far.locked()
            naming.point(made, after)
            carry(self.results.whole, self.local.run, records, after, applier.recorder())
            sweep(applier.state(), root, self.results.whole, self.session.clock())

    def _records(self) -> Mapping[str, tuple[Record, ...]]:
        view, run, found = self.local
        if not found.items:  # and perhaps not even a directory
            return {}
        dirs = state_dirs(view, found, self.session.common.state_dir, os.geteuid())
        return records_in(dirs, run.location)

    def _count(self, meeting: Meeting, key: str) -> Count:
        of = self.caller.of
        return counted(meeting.parts(key, of), lambda number: self._roll(meeting, number), of)

    def _roll(self, meeting: Meeting, number: int) -> Roll | None:
        """Return the newest that a caller has said of this run, or of all that it has.

        Read once for all checkpoints, when all of this caller was handed in: who says it later looks
        after that for what is all there.
        """
        if not self._called:
            self._called.append(meeting.called(self.caller.of))
        if number not in self._said:
            caller = Caller(number, self.caller.of)
            own = meeting.roll(caller) if number in self._called[0] else None
            rolls = filter(None, (own, self.absent(caller)))
            self._said[number] = max(rolls, key=lambda roll: roll.looked_ns, default=None)
        return self._said[number]

    def _one(
        self, key: str, sent: int, naming: Naming, there: Destination, made: Sequence[Whole]
    ) -> Whole | None:
        """Make one whole, and return it then; `made` are those that have come to be there since."""
        meeting = naming.meeting
        count = self._count(meeting, key)
        if not count.parts:
            self._made_by_another(key, sent)
            return None
        if not count.fit:
            self._waits(key, count, sent)
            return None
        try:
            union = union_of(meeting, naming.root, key, count.parts, self.local.run.location)
            whole = whole_of(
                union,
                key,
                self.far.formats,
                name_of(self.local.view, self.local.found),
                replace(self.far.reading.context, now_ns=count.looked_ns),
                self.local.found.folder.called,
            )
            refuse_lost(whole, there.found.folder, made, naming.root, self.far.formats)
        except UnlikeError as error:
            text = f"{error}; nothing of it was published"
            self._tell(key, count, Status.CONFLICT, sent, text)
        except MissingError as error:
            self._tell(key, count, Status.PART, sent, None)
            self._note(count, f"{error.filename}: {error.strerror}")
        except UnsettledError as error:
            self._tell(key, count, Status.PART, sent, None)
            self._note(count, f"{error}: all of it is there, but a part was handed in before that")
        except HalfError as error:
            if count.missing:
                self._waits(key, count, sent)
                return None
            text = f"all {self.caller.of} parts are there, but together they are not whole: {error}"
            self._tell(key, count, Status.FAILED, sent, text)
        else:
            return whole if naming.named(key, whole, count, there, sent) else None
        return None

    def _waits(self, key: str, count: Count, sent: int) -> None:
        """Tell that this caller has done its work, and whose is missing."""
        self._tell(key, count, Status.PART, sent, None)
        shown = ", ".join(map(str, count.missing[:_SHOWN]))
        rest = len(count.missing) - _SHOWN
        more = f" and {rest:,} more" if rest > 0 else ""
        alone = "; one that calls for all, and sees the files of all, is --part 0/1"
        hint = alone if self._alone_with(key, count) else ""
        early = ", ".join(map(str, count.early[:_SHOWN]))
        again = f": {early} looked before all was written, and has to call again" if early else ""
        older = ", ".join(map(str, count.older[:_SHOWN]))
        before = (
            f": what {older} has is of an earlier save, of over an hour before" if older else ""
        )
        self._note(count, f"waits for part {shown}{more} of {self.caller.of}{again}{before}{hint}")

    def _alone_with(self, key: str, count: Count) -> bool:
        """Whether nobody else has come, and what is here looks whole, as that of rank 0 may.

        One task of a training may call for all, while SLURM's variables say that it is one of many.
        """
        if len(count.missing) != self.caller.of - 1 or self.caller.number in count.missing:
            return False
        found = (c for c in self.local.run.checkpoints if key_of(c) == key)
        return any(c.state is State.COMPLETE for c in found)

    def _made_by_another(self, key: str, sent: int) -> None:
        """Tell of what came whole while this caller waited for the lock."""
        run = self.far.locked().run
        one = next((c for c in run.checkpoints if key_of(c) == key), None)
        if one is None:  # and deleted by now, or scheduled to be
            return
        self.results.heard(
            Shipped(
                run=self.results.run,
                checkpoint=one.name,
                path=one.path,
                action="copy",
                status=Status.EQUAL,
                bytes=one.bytes,
                bytes_sent=sent,
                member=one.member,
            )
        )

    def _note(self, count: Count, text: str) -> None:
        name = next((part.name for part in count.parts.values()), "a checkpoint")
        self.results.problems.append(Problem("parts-missing", f"{name} {text}"))

    def _tell(self, key: str, count: Count, status: Status, sent: int, error: str | None) -> None:
        part: Part | None = next(iter(count.parts.values()), None)
        name = part.name if part else key
        member = part.roots[0] if part and part.roots else name
        own = count.parts.get(self.caller.number)
        self.results.heard(
            Shipped(
                run=self.results.run,
                checkpoint=name,
                path=f"{self.results.to.rstrip('/')}/{member}",
                action="copy",
                status=status,
                bytes=sum(f.bytes for f in own.files.values()) if own else 0,
                bytes_sent=sent,
                error=error,
                member=member,
            )
        )
