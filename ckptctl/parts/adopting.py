"""What a node has of a checkpoint that others know, and that it would not recognise by itself; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ckptctl.formats._base import Format
from ckptctl.group import Found, Item
from ckptctl.model import Claim, Kind
from ckptctl.parts.part import Part


def with_parts_of(found: Found, begun: Iterable[Part], kind: Format) -> Found:
    """Return a run with a claim more for each directory of which others have handed in a part.

    A rank may have files in it by which no format knows anything; `kind` is what it counts as.
    """
    taken = {member for item in found.items for member in item.claim.members}
    more = []
    for part in begun:
        here = [root for root in part.roots if root not in taken and found.folder.inside(root)]
        if not here or part.key in taken:
            continue
        inside = found.folder.inside(here[0])
        files = sorted(path for path, _ in inside.walk()) if inside else []
        if not files:
            continue
        claim = Claim(
            format=kind.name,
            kind=Kind.DIRECTORY,
            name=part.name,
            members=tuple(here),
            key_file=f"{here[0]}/{files[0]}",
            family=part.key,
        )
        taken.update(here)
        more.append(Item(kind, claim, part.name))
    return replace(found, items=(*found.items, *more))
