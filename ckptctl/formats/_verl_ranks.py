"""The rank files of verl, `model_world_size_W_rank_R.pt`: their names say how many there must be.

Source: verl, utils/checkpoint/fsdp_checkpoint_manager.py `save_checkpoint`: a file for each rank of
each kind in `save_contents`, under its final name from the start.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from ckptctl.listing import Folder
from ckptctl.model import Problem
from ckptctl.patterns import later

_FILE = later(
    r"(?P<kind>model|optim|extra_state)_world_size_(?P<world>[0-9]{1,4000})_rank_(?P<rank>[0-9]{1,4000})\.pt"
)


class Ranks(NamedTuple):
    """What the rank files of one role say."""

    missing: str | None = None  # in words; None where each kind has all ranks
    key: str | None = None  # the model file of the lowest rank, else the first of them
    kinds: frozenset[str] = frozenset()
    resumable: bool | None = None
    seen: bool = False  # whether there is any such file
    problems: tuple[Problem, ...] = ()


def read_ranks(folder: Folder) -> Ranks:
    """Return the ranks in one directory.

    Where several sizes of world saved there, the one that wrote last counts; the others are left of
    an earlier run.
    """
    worlds: defaultdict[int, list[tuple[str, int, str]]] = defaultdict(list)
    for file in folder.files:
        if file.endswith(".pt") and (found := _FILE.fullmatch(file)):
            worlds[int(found["world"])].append((found["kind"], int(found["rank"]), file))
    if not worlds:
        return Ranks()
    world = max(worlds, key=lambda w: (max(folder.files[f].mtime_ns for *_, f in worlds[w]), w))
    ours = sorted(worlds[world])
    ranks: defaultdict[str, set[int]] = defaultdict(set)
    for kind, rank, _ in ours:
        ranks[kind].add(rank)
    models = [one for one in ours if one[0] == "model"]
    return Ranks(
        _missing(folder, world, ours, ranks),
        (models or ours)[0][2],
        frozenset(ranks),
        "optim" in ranks if models else None,
        seen=True,
        problems=tuple(
            Problem("leftover-rank", f"{min(files)[2]} and the like: of a run with {other} ranks")
            for other, files in sorted(worlds.items())
            if other != world
        ),
    )


def _missing(
    folder: Folder,
    world: int,
    ours: list[tuple[str, int, str]],
    ranks: dict[str, set[int]],
) -> str | None:
    for kind, have in sorted(ranks.items()):
        lost = next(rank for rank in range(len(have) + 1) if rank not in have)
        if lost < world:
            return f"no {kind}_world_size_{world}_rank_{lost}.pt"
    return next((f"{file} is empty" for *_, file in ours if not folder.files[file].size), None)
