"""Several runs of which callers have some each: `sync -r` in parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass

from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_far import FarEnd
from ckptctl.cli.sync_source import lacking
from ckptctl.group import Found, look
from ckptctl.listing import Folder
from ckptctl.locate import list_location
from ckptctl.parts.meeting import Meeting
from ckptctl.parts.part import Caller
from ckptctl.parts.roll import Roll
from ckptctl.parts.tree import tree_of
from ckptctl.policy import Policy
from ckptctl.survey import Survey

Absent = Callable[[Caller], Roll | None]


@dataclass(frozen=True, slots=True)
class Trees:
    """What each caller has below the source of a call; they meet in the state of `there`."""

    session: Session
    caller: Caller
    looked_ns: int
    view: Survey
    here: str
    there: str
    only: tuple[str, ...] | None

    def shared(self) -> Iterator[tuple[str, Found, Absent]]:
        """Yield each run of this caller, then those that others have, by its path, with who lacks it.

        Raises UnreadableError, UsageError, RefusedError, OSError.
        """
        far = self._far(self.there)
        place = far.made(deep=False)
        top = list_location(self.view.store) if not lacking(self.here) else None
        own = {found.folder.path: found for found in self.view.found} if top else {}
        with closing(far.state(place)) as state:
            meeting = Meeting(state, self.session.clock)
            # Before the others' are read: of two at once, one at least sees the other's.
            meeting.announce(tree_of(self.caller, self.looked_ns, top, own.values()))
            for run in (*own, *sorted(self._of_others(meeting) - own.keys())):
                yield run, own.get(run) or self._found(run, top), self._absent(meeting, run)

    def _absent(self, meeting: Meeting, run: str) -> Absent:
        asked: list[Collection[int]] = []

        def absent(caller: Caller) -> Roll | None:
            if not asked:
                asked.append(meeting.announced(caller.of))
            tree = meeting.tree(caller) if caller.number in asked[0] else None
            return None if tree is None else tree.roll(run, self.only)

        return absent

    def _of_others(self, meeting: Meeting) -> set[str]:
        """Return the runs that others have said they have, and that have begun to come."""
        runs: set[str] = set()
        for number in meeting.announced(self.caller.of):
            if number != self.caller.number:
                tree = meeting.tree(Caller(number, self.caller.of))
                runs.update(tree.runs if tree else ())
        return {run for run in runs if self._far(self._to(run)).begun()}

    def _found(self, run: str, top: Folder | None) -> Found:
        """Return what is here under the name of another's run: nothing, or what no format knows."""
        here = (top.inside(run) if run else top) if top else None
        if here is not None:
            return look(here, self.view.store, self.view.formats)
        missing = lacking(self.here)  # the view is of what lies above it
        return Found(Folder(f"{missing}/{run}".strip("/")), ())

    def _to(self, run: str) -> str:
        return f"{self.there.rstrip('/')}/{run}" if run else self.there

    def _far(self, to: str) -> FarEnd:
        reading = reading_of(self.session, Policy())
        return FarEnd(self.session, to, self.view.formats, reading, own_state=False)
