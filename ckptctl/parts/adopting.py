"""What a node has of a checkpoint that others know, and that it would not recognise by itself; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from ckptctl.formats._base import Format
from ckptctl.group import Found, Item
from ckptctl.model import Claim, Kind, State
from ckptctl.parts.part import Part
from ckptctl.parts.whole import key_of
from ckptctl.transfer.destination import Destination


class Begun(NamedTuple):
    """A checkpoint of which others have handed in a part, or that is whole at the destination."""

    key: str
    name: str
    roots: tuple[str, ...]


def with_parts_of(found: Found, begun: Iterable[Begun], kind: Format) -> Found:
    """Return a run with a claim more for each directory of which others have something.

    A rank may have files in it by which no format knows anything; `kind` is what it counts as.
    """
    taken = {member for item in found.items for member in item.claim.members}
    more = []
    for one in begun:
        here = [root for root in one.roots if root not in taken and found.folder.inside(root)]
        if not here or one.key in taken:
            continue
        inside = found.folder.inside(here[0])
        files = sorted(path for path, _ in inside.walk()) if inside else []
        if not files:
            continue
        claim = Claim(
            format=kind.name,
            kind=Kind.DIRECTORY,
            name=one.name,
            members=tuple(here),
            key_file=f"{here[0]}/{files[0]}",
            family=one.key,
        )
        taken.update(here)
        more.append(Item(kind, claim, one.name))
    return replace(found, items=(*found.items, *more))


def known(begun: Iterable[Part], there: Destination) -> list[Begun]:
    """Return what others have parts of, and what is whole: perhaps it was published without this caller."""
    whole = (c for c in there.run.checkpoints if c.roots and c.state is State.COMPLETE)
    return [
        *(Begun(part.key, part.name, part.roots) for part in begun),
        *(Begun(key_of(c), c.name, c.roots) for c in whole),
    ]
