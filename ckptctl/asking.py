"""Before each deletion it is asked again: is it still what was decided on, does nothing keep it now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptctl.decide import guarded
from ckptctl.decision import Context, Reason
from ckptctl.model import Checkpoint, Run, State
from ckptctl.plan import Action, Doing, Plan
from ckptctl.pointing import naming_their_best
from ckptctl.rules._base import Metric
from ckptctl.rules.guards import alone
from ckptctl.sight import Sight


@dataclass(frozen=True, slots=True)
class Answer:
    """Why an action may not be done now; `all` where nothing of the run may be deleted any more."""

    text: str
    all: bool = False


class Asking:
    """A fresh view of one run, made anew when anything there has changed or some time has passed."""

    def __init__(
        self,
        plan: Plan,
        sight: Sight,
        *,
        look: Callable[[], Run],
        metrics: Sequence[Metric],
        context: Callable[[], Context],
        assured: Callable[[Checkpoint], str | None] | None = None,
    ) -> None:
        """`assured` is asked last, only about what would go now: it may take its time."""
        self._plan = plan
        self._planned = {c.member: c for c in (*plan.run.checkpoints, *plan.run.leftovers)}
        self._sight = sight
        self._look = look
        self._metrics = metrics
        self._context = context
        self._assured = assured
        self._run: Run | None = None
        self._known: dict[str, Checkpoint] = {}
        self._pointers: list[str] = []
        self._guards: Mapping[str, tuple[Reason, ...]] = {}

    def begin(self) -> None:
        """Note that the actions asked about from now on are those that are done next."""
        self._sight.begin()

    def taking(self) -> None:
        """Note that our own change comes next; called just before it."""
        self._sight.taking()

    def done(self) -> None:
        """Note that the last change was our own; called as soon as it is made."""
        self._sight.done()

    def about(self, action: Action) -> Answer | None:
        """Return why an action may not be done, None where it may.  Raises OSError."""
        self._refresh()
        assert self._run is not None  # noqa: S101 - the line above makes it
        if self._run.unread:
            return Answer(
                f"something of the run cannot be read any more: {self._run.unread[0]}", all=True
            )
        for member in self._plan.keepers:
            if member not in self._known or self._known[member].state is not State.COMPLETE:
                return Answer(
                    f"{member}, which the plan keeps as the newest, is gone or not whole any more",
                    all=True,
                )
        if tracker := self._tracker_in_hand():
            return Answer(f"{tracker} names nothing at this moment: it is being rewritten")
        known = self._about_itself(action) or self._about_family(action.checkpoint)
        if known is not None or self._assured is None or action.doing is Doing.CLEAN:
            return known
        text = self._assured(self._known[action.checkpoint.member])
        return None if text is None else Answer(text)

    def _about_itself(self, action: Action) -> Answer | None:
        """Return what of the checkpoint itself forbids it: changed, mounted over, or kept now."""
        planned = action.checkpoint
        now = self._known.get(planned.member)
        if now is None:
            return Answer("it is gone already")
        if not self._sight.same(planned, now):
            return Answer("it changed since it was decided on")
        if mount := self._sight.mounted_in(planned):
            return Answer(
                f"{mount} is mounted in it: nothing there may go with it, so unmount it first"
            )
        if action.doing is Doing.CLEAN and now.state is not State.INCOMPLETE:
            return Answer(f"it is {now.state} now")
        if set(now.tags) - set(planned.tags):
            return Answer("it was tagged since it was decided on")
        if action.doing is Doing.PURGE and now.doomed_ns is None:
            return Answer("its deletion was cancelled meanwhile")
        unfinished = action.doing is Doing.CLEAN or (
            action.doing is Doing.PURGE and not now.inferred
        )
        allowed = {"incomplete"} if unfinished else set()
        # What an unfinished save left is no member of the run: only what keeps it by itself is asked.
        reasons = (
            alone(now, self._context()) if now.temporary else self._guards.get(planned.member, ())
        )
        for reason in reasons:
            if reason.rule not in allowed:
                return Answer(f"kept by {reason.rule} now: {reason.text}")
        return None

    def _about_family(self, planned: Checkpoint) -> Answer | None:
        """Return whether what the plan keeps as the newest of the family is not there any more."""
        for member in self._plan.keepers:
            kept = self._known[member]
            if kept.family == planned.family and self._sight.gone(kept):
                return Answer(f"{member}, which the plan keeps as the newest, is gone", all=True)
        return None

    def _refresh(self) -> None:
        if self._run is not None and not self._sight.stale(self._pointers):
            return
        self._sight.look_begins(self._pointers)
        run = self._look()
        proven = (self._as_proven(c) for c in run.checkpoints)
        self._run = replace(run, checkpoints=naming_their_best(proven))
        self._known = {c.member: c for c in (*self._run.checkpoints, *self._run.leftovers)}
        pointers = {p for c in self._known.values() for p in c.pointers}
        self._pointers = sorted(pointers.union(self._run.trackers, self._plan.run.trackers))
        self._guards = guarded(self._run, self._metrics, self._context())
        self._sight.look_ends()

    def _as_proven(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep what the proof of the plan found, while the files are those it was found for."""
        planned = self._planned.get(checkpoint.member)
        if (
            planned is None
            or planned.state is checkpoint.state
            or planned.files != checkpoint.files
        ):
            return checkpoint
        return (
            replace(checkpoint, state=planned.state)
            if checkpoint.state is State.COMPLETE
            else checkpoint
        )

    def _tracker_in_hand(self) -> str | None:
        """Return a tracker that named something when it was planned and names nothing now.

        Whoever rewrites it in place has emptied it this moment.
        """
        assert self._run is not None  # noqa: S101 - the caller has looked
        lost = set(self._plan.run.trackers) - set(self._run.trackers)
        return next(
            (path for path in sorted(lost) if self._sight.store.stat(path) is not None), None
        )
