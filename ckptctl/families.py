"""From a run to its families: which checkpoints compete, in which order, and who shares a place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from ckptctl.model import Checkpoint, Run, State
from ckptctl.rules._base import Family, Order, Place


def families(run: Run) -> tuple[Family, ...]:
    """Return the families of a run by name, whatever order its checkpoints come in."""
    members: defaultdict[str, list[Checkpoint]] = defaultdict(list)
    for checkpoint in run.checkpoints:
        members[checkpoint.family].append(checkpoint)
    return tuple(_family(name, members[name]) for name in sorted(members))


def all_apart(found: Sequence[Family]) -> bool:
    """Whether no family has two members: then no rule compares anything, and a user should know.

    Such names probably hold a number that nothing here takes for a step.
    """
    return bool(found) and all(len(family.checkpoints) < 2 for family in found)  # noqa: PLR2004 - two, as it says


def oldest_first(run: Run) -> list[Checkpoint]:
    """Return its checkpoints oldest first, and those of a family in the family's order.

    In this order nothing that is to go becomes what a guard keeps while others go: `unmeasured`
    keeps what is later than the newest with a value, and that value may go too.
    """
    keys = {c.member: (c.saved_ns, 0) for c in run.checkpoints}
    for family in families(run):
        latest_ns = 0
        for index, place in enumerate(family.places):
            latest_ns = max(latest_ns, *(c.saved_ns for c in place.checkpoints))
            keys |= {c.member: (latest_ns, index) for c in place.checkpoints}
    return sorted(run.checkpoints, key=lambda c: (keys[c.member], c.path))


def order_of(checkpoints: Iterable[Checkpoint]) -> Order:
    """Return what orders these checkpoints: what all of them have."""
    members = list(checkpoints)
    if all(c.step is not None for c in members):
        return Order.STEP
    if all(c.epoch is not None for c in members):
        return Order.EPOCH
    return Order.STATED if all(c.stated for c in members) else Order.SAVED


def number_in(order: Order, checkpoint: Checkpoint) -> float | int | None:
    """Return the step or epoch by which a family of this order counts; None where by time."""
    if order is Order.STEP:
        return checkpoint.step
    return checkpoint.epoch if order is Order.EPOCH else None


def _family(name: str, members: list[Checkpoint]) -> Family:
    competing = [c for c in members if not c.named and not c.temporary]
    complete = [c for c in competing if c.state is State.COMPLETE]
    # What is scheduled to go counts no more, unless everything else has gone meanwhile.
    ranked = [c for c in complete if c.doomed_ns is None] or complete
    order = order_of(ranked or competing)
    return Family(name, order, _places(ranked, order), tuple(members))


def _places(checkpoints: list[Checkpoint], order: Order) -> tuple[Place, ...]:
    """Return the places in order; by time, which a file system may round, each has its own."""
    if order in {Order.STEP, Order.EPOCH}:
        ordered = sorted(checkpoints, key=attrgetter(order.value, "saved_ns", "path"))
        shared = groupby(ordered, key=attrgetter(order.value))
        return tuple(Place(tuple(members)) for _, members in shared)
    ordered = sorted(checkpoints, key=attrgetter("saved_ns", "path"))
    return tuple(Place((checkpoint,)) for checkpoint in ordered)
