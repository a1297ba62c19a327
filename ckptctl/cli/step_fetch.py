"""`resolve --fetch` by all tasks of a SLURM step: the same checkpoint on each node, read from a bucket once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ckptctl.cli.fetching import Fetched, LostError, refuse_endless
from ckptctl.cli.recording import host_name
from ckptctl.cli.resolving import Resolution, Resolved, resolve_in, shown, wrong_to_resume
from ckptctl.cli.runtime import Session
from ckptctl.cli.step_bring import Bringing
from ckptctl.cli.step_place import StepPlace, Task, agreeing, meeting_of
from ckptctl.cli.tier_runs import Everywhere
from ckptctl.errors import (
    NotFoundError,
    PartialError,
)
from ckptctl.model import NS, Checkpoint
from ckptctl.parts.agreeing import Decision, End, Save
from ckptctl.parts.meeting import Meeting
from ckptctl.selecting import Selector
from ckptctl.ui.progress import Progress

_FRESH_NS = 60 * NS
"""How long what one node has written may not be seen on another (NFS: acdirmax, nfs(5))."""

_NAP_SECONDS = 1.0

Look = Callable[[], Everywhere]
Take = Callable[[Resolved], Fetched]
"""Fetches what was resolved.  LostError."""


def fetched_together(
    session: Session, look: Look, wanted: Selector, task: Task, take: Take, progress: Progress
) -> tuple[Resolution, Fetched] | None:
    """Fetch what all tasks of a step fetch; None where they have no place to meet, which is said.

    Raises what resolving and fetching do; PartialError also where it is not whole any more what
    others of the step go on from.
    """
    progress.started("listing")
    everywhere = look()
    with meeting_of(session, everywhere, task) as place:
        if place is None:
            return None
        return StepFetch(session, look, wanted, task, take, place, progress).fetched(everywhere)


@dataclass(slots=True)
class StepFetch:
    """One task that fetches what all tasks of its step fetch."""

    session: Session
    look: Look
    wanted: Selector
    task: Task
    take: Take
    place: StepPlace
    progress: Progress
    _lost: dict[str, str] = field(default_factory=dict, init=False)
    _notes: list[str] = field(default_factory=list, init=False)

    def fetched(self, everywhere: Everywhere) -> tuple[Resolution, Fetched]:
        """Fetch it.  Raises what resolving and fetching do.

        PartialError also where it is not whole any more that others of the step go on from.
        """
        changed = 0
        while True:
            found, everywhere = self._agreed(everywhere)
            try:
                via = self._brought(found)
                copy = self.take(via.resolved)
            except LostError as error:
                if error.damaged:
                    self._lost[error.path] = error.text
                else:
                    changed += 1
                    refuse_endless(error, changed)
                everywhere = self.look()
                continue
            if self._taken():
                return replace(via, notes=(*via.notes, *self._notes)), copy
            self._notes.append(
                f"another task of this step found {via.resolved.checkpoint.name} not whole any more"
            )
            everywhere = self.look()

    def _agreed(self, everywhere: Everywhere) -> tuple[Resolution, Everywhere]:
        """Return what this step takes, as it is here, and where that was seen."""
        agreement = self.place.agreement
        while True:
            found: Resolution | None = None
            none: NotFoundError | None = None
            with agreeing():
                decision = agreement.decision()
            if decision is None:
                try:
                    found = resolve_in(
                        self.session, everywhere, self.wanted, reachable=self.task.reachable, lost=self._lost
                    )  # fmt: skip
                except NotFoundError as error:
                    none = error
                save = None if found is None else _save_of(found.resolved.checkpoint)
                with agreeing():
                    decision = agreement.decide(save, self._by)
            if decision.save is None:
                self._taken()
                raise none or _none(decision, self.place.to)
            if found is not None and _save_of(found.resolved.checkpoint).is_same(decision.save):
                return found, everywhere
            found, everywhere = self._as_decided(decision, decision.save, everywhere)
            if found is not None:
                return found, everywhere
            if everywhere.errors:
                raise everywhere.errors[0]
            with agreeing():
                ended = agreement.end(End.LOST)
            if ended is End.TAKEN:
                raise PartialError(
                    f"{decision.save.member}: other tasks of this step go on from it (decided by "
                    f"{decision.by}), and it is whole nowhere any more; nothing was fetched",
                    "end the step and start it anew: all its tasks then take the next one",
                )

    def _taken(self) -> bool:
        """Say that this task has what was decided; return False where it was given up before."""
        agreement = self.place.agreement
        with agreeing():
            if agreement.end(End.TAKEN) is End.LOST:
                return False
            agreement.finish()
        return True

    @property
    def _by(self) -> str:
        return f"task {self.task.caller.number} on {host_name()}, process {os.getpid()}"

    def _as_decided(
        self, decision: Decision, save: Save, everywhere: Everywhere
    ) -> tuple[Resolution | None, Everywhere]:
        """Find here what was decided; what was written a moment ago may not be seen yet."""
        why = f"decided by {decision.by}"
        while True:
            found, passed = self._whole(save, everywhere)
            if found is not None:
                return Resolution(replace(found, why=why), passed, ()), everywhere
            self.session.signals.heed()
            if passed or self.session.clock() - decision.at_ns > _FRESH_NS:
                self._notes += passed
                return None, everywhere
            time.sleep(_NAP_SECONDS)
            everywhere = self.look()

    def _whole(
        self, save: Save, everywhere: Everywhere, tier: str | None = None
    ) -> tuple[Resolved | None, tuple[str, ...]]:
        """Return a copy of a save that is whole now, and why others are not."""
        passed: list[str] = []
        for place in everywhere.places:
            for one in place.run.checkpoints:
                if not _save_of(one).is_same(save) or (tier is not None and place.tier != tier):
                    continue
                wrong = self._lost.get(one.path) or wrong_to_resume(self.session, place, one)
                if wrong is None:
                    return Resolved(place, one, ""), tuple(passed)
                passed.append(f"passed over {shown(place, one)}: {wrong}")
        return None, tuple(passed)

    def _brought(self, found: Resolution) -> Resolution:
        """Bring what is in a bucket alone to where all nodes see it, and return it as it is there."""
        resolved = found.resolved
        if resolved.place.view.access is None or not self.place.shared:
            return found
        meeting = Meeting(self.place.state, self.session.clock)
        to, caller = self.place.to, self.task.caller
        wrong = Bringing(self.session, to, meeting, caller, self.progress).brought(resolved)
        if wrong is None:
            save = _save_of(resolved.checkpoint)
            near, passed = self._whole(save, self.look(), self.place.tier)
            if near is not None:
                return replace(found, resolved=replace(near, why=resolved.why))
            wrong = passed[0] if passed else "it is not seen there"
        self._notes.append(
            f"{resolved.checkpoint.name} was not brought to {to} first, so each task reads it from "
            f"{resolved.place.run.location}: {wrong}"
        )
        return found


def _save_of(checkpoint: Checkpoint) -> Save:
    return Save(member=checkpoint.member, step=checkpoint.step, saved_ns=checkpoint.saved_ns)


def _none(decision: Decision, where: str) -> NotFoundError:
    return NotFoundError(
        f"{where}: {decision.by} of this step has found none that is whole",
        "`ckptctl verify` says what is wrong with each",
    )
