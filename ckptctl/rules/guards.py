"""What is kept whatever the rules say: guards, which no rule can switch off.

`alone` looks at one checkpoint, cheap enough to ask before each deletion; `among` compares those
of a family.  `metrics` are those that `best` is asked to rank by, with their modes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ckptctl.decision import Context, Reason
from ckptctl.model import Checkpoint, Run, State
from ckptctl.rules._base import Family, Metric, Place
from ckptctl.rules.metric import in_doubt, values
from ckptctl.units import format_time

GUARDS: Mapping[str, str] = {
    "newest": "the newest complete one of its family",
    "newest-saved": "the complete one of its family that was saved last",
    "resumable": "the newest that can resume, where newer ones are known to be weights only",
    "unmeasured": "its value for `best` may still come: an evaluation runs behind the training",
    "unread": "something of its metadata could not be understood",
    "pinned": "someone pinned it",
    "aliased": "an alias names it",
    "named": "the trainer's own copy under a fixed name",
    "pointer": "a link or a tracker of the framework names it",
    "saving": "probably still being written",
    "held": "a reader asked to leave it alone until a time that has not come",
    "incomplete": "not whole and no longer being written; only --delete-incomplete takes it",
    "damaged": "a verification found it damaged, and a person should look at it",
    "copies": "its tier is to be copied from, and not enough copies of it are proven elsewhere",
}
"""Every guard, and what it keeps."""

_STATES: Mapping[State, tuple[str, str]] = {
    State.SAVING: ("saving", "not complete, and changed a short while ago"),
    State.INCOMPLETE: ("incomplete", "not complete: only --delete-incomplete takes it"),
    State.DAMAGED: ("damaged", "a verification found it damaged: kept for you to look at"),
}

_INFERRED = (
    "not complete, or saved in fewer parts than others of its family: kept for you to look at"
)


def alone(checkpoint: Checkpoint, context: Context) -> Iterator[Reason]:
    """Yield what guards say of a checkpoint by itself."""
    if checkpoint.unread is not None:
        yield Reason("unread", checkpoint.unread)
    if checkpoint.pinned:
        yield Reason("pinned", "pinned")
    if checkpoint.aliases:
        yield Reason("aliased", f"alias {', '.join(checkpoint.aliases)}")
    if checkpoint.named:
        yield Reason("named", "the trainer's own copy under a fixed name")
    if checkpoint.pointers:
        yield Reason("pointer", f"named by {', '.join(checkpoint.pointers)}")
    if checkpoint.holds:
        yield from _held(checkpoint, context)
    yield from _unfinished(checkpoint)


def _unfinished(checkpoint: Checkpoint) -> Iterator[Reason]:
    if any(problem.code == "half-deleted" for problem in checkpoint.problems):
        yield Reason("incomplete", "half deleted by a prune that died: the next one finishes it")
    elif checkpoint.state is State.INCOMPLETE and checkpoint.inferred:
        yield Reason("incomplete", _INFERRED)
    elif checkpoint.state is not State.COMPLETE:
        yield Reason(*_STATES[checkpoint.state])
    elif checkpoint.temporary:
        yield Reason(*_STATES[State.INCOMPLETE])


def uncopied(run: Run, context: Context) -> Iterator[tuple[Checkpoint, Reason]]:
    """Yield what has too few proven copies on other tiers, as it was seen there."""
    demand = context.demand
    if demand is None:
        return
    asked = demand.of(run, context)
    for checkpoint in run.checkpoints:
        if checkpoint.member in asked and len(checkpoint.copies) < demand.copies:
            yield checkpoint, Reason("copies", _too_few(checkpoint, demand.copies))


def _too_few(checkpoint: Checkpoint, needed: int) -> str:
    text = f"{len(checkpoint.copies)} of {needed} proven {'copy' if needed == 1 else 'copies'} on other tiers"
    lacks = "; ".join(f"{lack.tier} {lack.text}" for lack in checkpoint.lacks)
    return f"{text} ({lacks or 'there is no other'}): `ckptctl sync` or `ckptctl apply` copies it"


def among(
    family: Family, metrics: Sequence[Metric], context: Context
) -> Iterator[tuple[Checkpoint, Reason]]:
    """Yield what guards keep of a family by comparing its complete checkpoints."""
    if not family.places:
        return
    newest, last = family.places[-1], _saved_last(family)
    for checkpoint in newest.checkpoints:
        yield checkpoint, Reason("newest", f"newest complete by {family.order.shown}")
    for checkpoint in last.checkpoints:
        yield checkpoint, Reason("newest-saved", "complete and saved last")
    for checkpoint, text in _resumable(family):
        yield checkpoint, Reason("resumable", text)
    for metric in metrics:
        if context.await_metric_ns:
            oldest_ns = last.saved_ns - context.await_metric_ns
            for checkpoint, text in _unmeasured(family, metric, oldest_ns):
                yield checkpoint, Reason("unmeasured", text)
        for checkpoint, text in _doubted(family, metric):
            yield checkpoint, Reason("unread", text)


def _held(checkpoint: Checkpoint, context: Context) -> Iterator[Reason]:
    for hold in checkpoint.holds:
        if context.now_ns < hold.until_ns:
            until = format_time(hold.until_ns)
            yield Reason("held", f"by {hold.by} on {hold.host} until {until}")


def _saved_last(family: Family) -> Place:
    """Return the place that was saved last; of equal times the later in the order.

    One whose time is ahead of the clock is it only where there is no other.
    """
    return max(reversed(family.places), key=lambda place: (not place.future, place.saved_ns))


def _resumable(family: Family) -> Iterator[tuple[Checkpoint, str]]:
    """Yield the newest that can resume, where newer ones are known to hold weights only."""
    for newer, place in enumerate(reversed(family.places)):
        able = [c for c in place.checkpoints if c.resumable is not False]
        for checkpoint in able if newer else ():
            yield checkpoint, "newest that can resume: newer ones hold weights only"
        if able:
            return


def _doubted(family: Family, metric: Metric) -> Iterator[tuple[Checkpoint, str]]:
    """Yield those whose 0 may be no measurement."""
    if doubts := in_doubt(family, metric):
        for place in family.places:
            for checkpoint in place.checkpoints:
                if checkpoint.member in doubts:
                    text = f"its {metric.name}=0 is probably no measurement, and is not ranked"
                    yield checkpoint, text


def _unmeasured(family: Family, metric: Metric, oldest_ns: int) -> Iterator[tuple[Checkpoint, str]]:
    """Yield those later than the newest with a value (nan is one) and saved since `oldest_ns`.

    In a family whose only values are not finite `best` keeps none of these: there the newest of
    them is kept too, for without it the next prune would no longer wait for the later ones.
    """
    doubts = in_doubt(family, metric)
    later: list[Checkpoint] = []
    for place in reversed(family.places):
        valued = [
            c for c in place.checkpoints if metric.name in c.metrics and c.member not in doubts
        ]
        if not valued:
            later += [c for c in place.checkpoints if c.saved_ns >= oldest_ns]
            continue
        for checkpoint in later:
            yield checkpoint, f"may still get its {metric.name}"
        if later and all(value is None for value in values(family, metric)):
            for checkpoint in valued:
                yield checkpoint, f"shows that later ones may still get their {metric.name}"
        return
