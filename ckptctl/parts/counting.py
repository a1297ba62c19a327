"""Which parts of a checkpoint count, and which are still to come; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ckptctl.model import NS
from ckptctl.parts.grid import may_be_whole
from ckptctl.parts.part import Part
from ckptctl.parts.roll import Roll

SAVE_NS = 3600 * NS
"""Within what time all parts of one save are written: what is older is of an earlier one."""


class Count(NamedTuple):
    """The parts that count, by the numbers of their callers, and the numbers of those that lack."""

    parts: Mapping[int, Part]
    missing: tuple[int, ...]
    grid: bool  # though some lack: nothing came of them, and what came may be all there is
    early: tuple[int, ...] = ()  # of those that lack, who looked before all of it was written
    older: tuple[int, ...] = ()  # of those that lack, whose files are of an earlier save
    looked_ns: int = 0  # when the first of those looked on whose word it is made

    @property
    def fit(self) -> bool:
        """Whether it is to be seen if the parts are whole together."""
        return not self.missing or self.grid


Said = Callable[[int], Roll | None]
"""What the caller of a number has said of what it lacks, if it has; asked only where it handed in nothing."""


def counted(parts: Mapping[int, Part], said: Said, count: int) -> Count:
    """Return what there is of a checkpoint that so many callers divide.

    Whoever looked before another's files were written has seen an older save of that name, or
    nothing or half of this one, which its own training was about to write: its part does not count
    until it calls again.  Nor does one whose files are much older than the others': it did not save
    this time.  Of two saves never one is made, and none without those who came too early.
    """
    newest = max((part.changed_ns for part in parts.values()), default=0)
    good: dict[int, Part] = {}
    missing: list[int] = []
    early: list[int] = []
    older: list[int] = []
    looks: list[int] = []
    for number in range(count):
        part = parts.get(number)
        roll = said(number) if part is None else None
        if part is not None and part.files and newest - part.changed_ns > SAVE_NS:
            missing.append(number)
            older.append(number)
        elif part is not None and part.done and part.looked_ns >= newest:
            good[number] = part
            looks.append(part.looked_ns)
        elif roll is not None and _has_nothing(roll, parts, newest):
            looks.append(roll.looked_ns)
        else:
            missing.append(number)
            came = part or roll
            if came is not None and came.looked_ns < newest:
                early.append(number)
    paths = {path for part in good.values() for path in part.files}
    grid = parts.keys() == good.keys() and may_be_whole(paths)
    return Count(good, tuple(missing), grid, tuple(early), tuple(older), min(looks, default=0))


def _has_nothing(roll: Roll, parts: Mapping[int, Part], newest: int) -> bool:
    return roll.looked_ns >= newest and all(roll.is_without(part) for part in parts.values())
