"""Which checkpoint a user means by a name; pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ckptctl.errors import NotFoundError, UsageError
from ckptctl.group import Found, Item

_FEW = 5


@dataclass(frozen=True, slots=True)
class Named:
    """A checkpoint of one of the runs that were found."""

    found: Found
    item: Item


def named(runs: Sequence[Found], name: str, location: str) -> Named:
    """Return the one checkpoint of that name, file name, or path within its run or the location.

    The name that `list` shows comes before the others.  NotFoundError where nothing matches,
    UsageError where several do: the message names them, or those that are near.
    """
    every = [Named(found, item) for found in runs for item in found.items]
    wanted = name.removeprefix("./").rstrip("/")
    matching = [each for each in every if each.item.name == wanted]
    matching = matching or [each for each in every if wanted in _paths(each)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(
            f"{location}: {len(matching)} checkpoints are called {name!r}; nothing was changed:",
            "name the one run that you mean as location, or the path",
            [f"  {_shown(each)}" for each in matching],
        )
    names = [each.item.name for each in every]
    near = difflib.get_close_matches(wanted, dict.fromkeys(names), _FEW, 0.5)
    there = near or sorted(dict.fromkeys(names))[-_FEW:]
    raise NotFoundError(
        f"{location}: no checkpoint here is called {name!r}",
        f"{'near names' if near else 'there are'}: {', '.join(there)}"
        if there
        else "there are no checkpoints at all; name their directory as location",
    )


def _paths(named: Named) -> set[str]:
    claim, folder = named.item.claim, named.found.folder.path
    within = {*claim.members, claim.key_file}
    return within | ({f"{folder}/{path}" for path in within} if folder else set())


def _shown(named: Named) -> str:
    folder = named.found.folder.path
    return f"{folder}/{named.item.path}" if folder else named.item.path
