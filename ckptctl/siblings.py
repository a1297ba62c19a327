"""What lives and dies together: the parts of one step that are spread over families."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ckptctl.families import number_in
from ckptctl.model import Checkpoint, State
from ckptctl.rules._base import Family, Order

_Key = tuple[float, str]
"""A number (step or epoch) and a metric."""

_Value = float | str
"""A value, with all nans the same."""


def siblings(
    families: Sequence[Family], kept: Collection[str]
) -> Iterator[tuple[Checkpoint, Checkpoint]]:
    """Yield what must be kept beside `kept` (by member), each with the one that keeps it.

    A kept checkpoint, complete or not, keeps the complete ones of its step in every other family
    ordered by step (or epoch, by epoch), and these keep others in turn, but never those of
    another training.  What is scheduled to go is kept so too, though it has no place: a part that
    was pinned or brought back meanwhile is of no use without the others.  Cost grows with checkpoints: only numbers where something is kept and
    something is not are looked at, and rivals are passed over by the group.
    """
    for order in (Order.STEP, Order.EPOCH):
        alike = [family for family in families if family.order is order]
        if len(alike) > 1:
            yield from _among(alike, order, kept)


def _among(
    families: list[Family], order: Order, kept: Collection[str]
) -> Iterator[tuple[Checkpoint, Checkpoint]]:
    keepers: defaultdict[float, dict[int, Checkpoint]] = defaultdict(dict)
    pending: defaultdict[float, dict[int, list[Checkpoint]]] = defaultdict(dict)
    for index, family in enumerate(families):
        for checkpoint in family.checkpoints:
            number = number_in(order, checkpoint)
            if number is not None and checkpoint.member in kept and not checkpoint.named:
                other = keepers[number].setdefault(index, checkpoint)
                if checkpoint.path < other.path:  # which one is named is no matter of order
                    keepers[number][index] = checkpoint
        for number, rest in _loose(family, order, kept).items():
            pending[number][index] = rest
    trainings = _Trainings(families, order)
    for number, first in keepers.items():
        if number in pending:
            yield from _spread(first, pending[number], trainings)


def _loose(family: Family, order: Order, kept: Collection[str]) -> Mapping[float, list[Checkpoint]]:
    """Return the complete ones of a family that are not kept, those scheduled to go included."""
    placed = {c.member: c for place in family.places for c in place.checkpoints}
    scheduled = {
        c.member: c
        for c in family.checkpoints
        if c.doomed_ns is not None and c.state is State.COMPLETE and not (c.named or c.temporary)
    }
    found: defaultdict[float, list[Checkpoint]] = defaultdict(list)
    for member, checkpoint in (placed | scheduled).items():
        number = number_in(order, checkpoint)
        if number is not None and member not in kept:
            found[number].append(checkpoint)
    return found


def _spread(
    keepers: Mapping[int, Checkpoint],
    pending: Mapping[int, list[Checkpoint]],
    trainings: _Trainings,
) -> Iterator[tuple[Checkpoint, Checkpoint]]:
    """Yield what is kept of one number, family after family (by index), until none is added."""
    waiting = _Waiting(pending, trainings)
    queue = deque(sorted(keepers.items()))
    queued = set(keepers)
    while queue and waiting:
        index, keeper = queue.popleft()
        for other in waiting.candidates(index):
            if other == index or trainings.rivals(index, other):
                continue
            waiting.remove(other)
            for checkpoint in pending[other]:
                yield checkpoint, keeper
            if other not in queued:
                queued.add(other)
                queue.append((other, pending[other][0]))


class _Trainings:
    """Which families are two trainings: at one number they have different values of one metric.

    Families that have one value in common there are taken for one training: in doubt, keep.
    """

    def __init__(self, families: list[Family], order: Order) -> None:
        self._families = families
        self._order = order
        self._values: dict[int, dict[_Key, frozenset[_Value]]] = {}
        self._rivals: dict[tuple[int, int], bool] = {}

    def values(self, index: int) -> Mapping[_Key, frozenset[_Value]]:
        """Return all values of a family, the lowest number first.

        A zero that only a name states may be no measurement: it proves nothing.
        """
        if index not in self._values:
            found: defaultdict[_Key, set[_Value]] = defaultdict(set)
            for place in self._families[index].places:
                for checkpoint in place.checkpoints:
                    number = number_in(self._order, checkpoint) or 0
                    for metric in sorted(checkpoint.metrics.keys() - checkpoint.zeros):
                        value = checkpoint.metrics[metric]
                        found[number, metric].add("nan" if math.isnan(value) else value)
            self._values[index] = {key: frozenset(values) for key, values in found.items()}
        return self._values[index]

    def rivals(self, one: int, other: int) -> bool:
        """Whether two families are two trainings."""
        pair = (min(one, other), max(one, other))
        if pair not in self._rivals:
            fewer, more = sorted((self.values(one), self.values(other)), key=len)
            self._rivals[pair] = any(
                key in more and values.isdisjoint(more[key]) for key, values in fewer.items()
            )
        return self._rivals[pair]


class _Waiting:
    """Families that are not yet kept at one number, grouped by the first value that they have.

    Of a hundred trainings side by side, each is asked about its own group, not about all.
    """

    def __init__(self, pending: Iterable[int], trainings: _Trainings) -> None:
        self._trainings = trainings
        self._groups: defaultdict[_Key | None, defaultdict[_Value, dict[int, None]]]
        self._groups = defaultdict(lambda: defaultdict(dict))
        self._count = 0
        for index in pending:
            self._count += 1
            key, values = self._first(index)
            for value in values:
                self._groups[key][value][index] = None

    def __bool__(self) -> bool:
        return self._count > 0

    def _first(self, index: int) -> tuple[_Key | None, Iterable[_Value]]:
        return next(iter(self._trainings.values(index).items()), (None, ("",)))

    def candidates(self, index: int) -> list[int]:
        """Return the families that are not known by their group to be another training."""
        own = self._trainings.values(index)
        found: dict[int, None] = {}
        for key, groups in self._groups.items():
            values = own.get(key, ()) if key is not None and key in own else list(groups)
            for value in values:
                found |= groups.get(value, {})
        return list(found)

    def remove(self, index: int) -> None:
        """Take out a family that is kept now."""
        self._count -= 1
        key, values = self._first(index)
        for value in values:
            group = self._groups[key][value]
            del group[index]
            if not group:
                del self._groups[key][value]
        if not self._groups[key]:
            del self._groups[key]
