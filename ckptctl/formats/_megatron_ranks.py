"""Megatron-LM's old layout: a folder for each rank, `mp_rank_TT[_PPP][_EEE]/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ckptctl.listing import Folder
from ckptctl.patterns import later

_FOLDER = later(r"mp_rank_([0-9]{2,})(?:_([0-9]{3,}))?(?:_([0-9]{3,}))?")
_MODEL = frozenset({"model_optim_rng.pt", "model_rng.pt"})
_STATES = later(r"model_(?:optim_)?rng\.pt|(?:distrib_)?optim\.pt|layer_wise_optimizer_[0-9]+\.pt")


class Ranks(NamedTuple):
    """What the names say of the ranks that saved."""

    missing: str | None
    key: str  # the model file of the lowest rank, relative to the directory


def holds_ranks(inside: Folder) -> bool:
    """Whether a directory holds states of ranks; the dataloader's own root holds none."""
    return any(_STATES.fullmatch(file) for _, deep in _folders(inside) for file in deep.files)


def rank_files(inside: Folder) -> frozenset[str]:
    """Return the paths of all states, relative to the directory."""
    return frozenset(
        f"{name}/{file}"
        for name, deep in _folders(inside)
        for file in deep.files
        if _STATES.fullmatch(file)
    )


def axes_of(paths: Iterable[str]) -> int:
    """Return how many numbers the names of the rank folders in such paths have, at most."""
    return max(len(_place(path.partition("/")[0])) for path in paths)


def read_ranks(inside: Folder) -> Ranks:
    """Return what is missing of the grid of ranks, each of which has a model file.

    A name of two numbers is of tensor and pipeline, or of tensor and expert rank: either way all
    names of one save have the same numbers of them, and fill the box up to the highest.
    """
    grids: defaultdict[int, set[tuple[int, ...]]] = defaultdict(set)
    missing = None
    for name, deep in sorted(_folders(inside)):
        place = _place(name)
        grids[len(place)].add(place)
        if not any(file in _MODEL for file in deep.files):
            missing = missing or f"no {name}/model_optim_rng.pt"
        empty = next(
            (f for f, e in deep.files.items() if _STATES.fullmatch(f) and not e.size), None
        )
        if empty:
            missing = missing or f"{name}/{empty} is empty"
    for places in grids.values():
        box = [1 + max(axis) for axis in zip(*places, strict=True)]
        hole = next((place for place in _cells(box) if place not in places), None)
        if hole is not None:
            missing = missing or f"no rank folder {_name(hole)}"
    paths = sorted(rank_files(inside), key=lambda path: (_place(path.split("/")[0]), path))
    models = [path for path in paths if path.rpartition("/")[2] in _MODEL]
    return Ranks(missing, (models or paths)[0])


def _folders(inside: Folder) -> list[tuple[str, Folder]]:
    return [(name, deep) for name, deep in inside.folders.items() if _FOLDER.fullmatch(name)]


def _place(name: str) -> tuple[int, ...]:
    found = _FOLDER.fullmatch(name)
    return tuple(int(number) for number in found.groups() if number) if found else ()


def _cells(box: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield every place of a box, one by one: a name may claim any number of ranks."""
    if not box:
        yield ()
        return
    for first in range(box[0]):
        for rest in _cells(box[1:]):
            yield (first, *rest)


def _name(place: tuple[int, ...]) -> str:
    return "mp_rank_" + "_".join(f"{n:0{2 if at == 0 else 3}d}" for at, n in enumerate(place))
