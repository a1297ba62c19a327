"""What is lost without a trace in a checkpoint itself: told from the others of its family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptctl.model import Claim, Inferred


class Saved(NamedTuple):
    """One checkpoint of a family: where it stands, and the names of its rank files."""

    number: float
    name: str
    parts: frozenset[str]


def lost_ranks(saved: Iterable[Saved], vouched: str | None = None) -> dict[str, str]:
    """Return, for each checkpoint that lacks a file which any of its family has, that file.

    Where the number of ranks is in no name, they go up to the highest seen in the family.  Fewer
    are sure only where a tracker, which is written when all ranks are done, names the checkpoint
    (`vouched`), and in those right before it that have the same files.
    """
    order = sorted(saved)
    every = frozenset[str]().union(*(one.parts for one in order))
    named = next((at for at, one in enumerate(order) if one.name == vouched), -1)
    sure = set()
    for one in reversed(order[: named + 1]):
        if one.parts != order[named].parts:
            break
        sure.add(one.name)
    return {
        one.name: min(every - one.parts)
        for one in order
        if one.name not in sure and one.parts != every
    }


def lacking(part: str) -> Inferred:
    """Return in words what one checkpoint lacks by `lost_ranks`."""
    return Inferred(f"no {part}, which others of its family have")


def lost_parts(saved: Iterable[Saved]) -> dict[str, str]:
    """Return, for each checkpoint that lacks a file which both its neighbours have, that file.

    For formats with a commit marker, where less than others have may well be whole: a run that
    goes on with fewer ranks differs from one neighbour only.
    """
    order = sorted(saved)
    found = {}
    for at, one in enumerate(order):
        near = [other.parts for other in (*order[max(at - 1, 0) : at], *order[at + 1 : at + 2])]
        if near and (lost := frozenset.intersection(*near) - one.parts):
            found[one.name] = min(lost)
    return found


def doubted(claim: Claim, lost: Mapping[str, str]) -> Claim:
    """Return a claim that says what it lacks by `lost_parts`, unless it lacks something by itself."""
    part = lost.get(claim.name)
    if part is None or claim.missing is not None:
        return claim
    return replace(claim, missing=unlike(f"no {part}, unlike those around it"))


def unlike(text: str) -> Inferred:
    """Return the words for what one checkpoint lacks by `lost_parts`.

    A run that began to save more explains it as well, or a user who deleted what was large.
    """
    return Inferred(text)
