"""Rank files that are lost without a trace: told from the checkpoints saved before and after."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple


class Saved(NamedTuple):
    """One checkpoint of a family: where it stands, and the names of its rank files."""

    number: float
    name: str
    parts: frozenset[str]


def lost_parts(saved: Iterable[Saved], vouched: Collection[str] = ()) -> dict[str, str]:
    """Return, for each checkpoint that lacks a file which both its neighbours have, that file.

    Where the number of ranks is in no name, a grid without its highest rank looks whole.  A run
    that goes on with fewer ranks differs from one neighbour only, or is `vouched` for by name.
    """
    order = sorted(saved)
    found = {}
    for at, one in enumerate(order):
        near = [other.parts for other in (*order[max(at - 1, 0) : at], *order[at + 1 : at + 2])]
        if near and one.name not in vouched:
            lost = frozenset.intersection(*near) - one.parts
            if lost:
                found[one.name] = min(lost)
    return found
