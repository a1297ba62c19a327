"""Which parts of a checkpoint count, and which are still to come; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ckptctl.model import NS
from ckptctl.parts.grid import may_be_whole
from ckptctl.parts.part import Part
from ckptctl.parts.roll import Roll

SAVE_NS = 60 * NS
"""How long one node may still write of a save when another hands in its part of it already."""


class Count(NamedTuple):
    """The parts that count, by the numbers of their callers, and the numbers of those that lack."""

    parts: Mapping[int, Part]
    missing: tuple[int, ...]
    grid: bool  # though some lack: nothing came of them, and what came may be all there is

    @property
    def fit(self) -> bool:
        """Whether it is to be seen if the parts are whole together."""
        return not self.missing or self.grid


Said = Callable[[int], Roll | None]
"""What the caller of a number has said of what it lacks, if it has; asked only where it handed in nothing."""


def counted(parts: Mapping[int, Part], said: Said, count: int) -> Count:
    """Return what there is of a checkpoint that so many callers divide.

    Whoever looked long before another's files were written has seen an older save of that name, or
    this one half: its part does not count until it calls again.  Of two saves never one is made.
    """
    newest = max((part.changed_ns for part in parts.values()), default=0)
    good: dict[int, Part] = {}
    missing = []
    for number in range(count):
        part = parts.get(number)
        if part is not None and part.done and part.looked_ns + SAVE_NS >= newest:
            good[number] = part
        elif part is not None or not _has_nothing(said(number), parts, newest):
            missing.append(number)
    came = [path for part in good.values() for path in part.files]
    return Count(good, tuple(missing), parts.keys() == good.keys() and may_be_whole(set(came)))


def _has_nothing(roll: Roll | None, parts: Mapping[int, Part], newest: int) -> bool:
    if roll is None or roll.looked_ns + SAVE_NS < newest:
        return False
    return all(roll.is_without(part) for part in parts.values())
