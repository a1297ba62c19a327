"""The ranks of a DeepSpeed tag directory, told from its file names; several formats hold one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ckptctl.listing import Folder
from ckptctl.patterns import later

_MODEL = later(r"(?:zero_pp_rank_(?P<dp>[0-9]+)_)?mp_rank_(?P<mp>[0-9]+)_model_states\.pt")
_OPTIM = later(
    r"(?:bf16_|fp16_)?zero_pp_rank_(?P<dp>[0-9]+)_mp_rank_(?P<mp>[0-9]+)_optim_states\.pt"
)
_LAYER = later(r"layer_[0-9]+-(?:.+-)?model_states\.pt")
_STATES = later(r".+_(?:model|optim)_states\.pt|layer_.+-model_states\.pt", re.DOTALL)


_PRECISION = later(r"^(?:bf16|fp16)_")


class Grid(NamedTuple):
    """What the names of a tag directory say of the ranks that saved it."""

    missing: str | None  # in words; None where the whole grid is there
    world: int  # ranks by the optimizer files; 0 where there are none
    states: bool  # whether it holds any state file at all


def is_state(file: str) -> bool:
    """Whether a file of a tag directory holds states, of whatever kind."""
    return file.endswith("_states.pt") and _STATES.fullmatch(file) is not None


def without_precision(file: str) -> str:
    """Return the name without what only says in which precision a rank trained."""
    return _PRECISION.sub("", file)


def is_tag(inside: Folder) -> bool:
    """Whether a directory holds states; a universal one (`zero/PARAMETER/`) is none."""
    return "zero" not in inside.folders and any(is_state(file) for file in inside.files)


def key_of(files: Iterable[str]) -> str:
    """Return the model file of the lowest rank, else the first file of states."""
    states = sorted(file for file in files if is_state(file))
    models = [
        (int(m["mp"]), int(m["dp"] or 0), m[0]) for file in states if (m := _MODEL.fullmatch(file))
    ]
    return min(models)[2] if models else states[0]


def read_grid(names: Iterable[str]) -> Grid:
    """Return the (dp, mp) grid of the files of a tag directory.

    The number of ranks is only in the pickles, so the grid is the rectangle up to the highest rank
    seen.  Source: DeepSpeed, deepspeed/runtime/engine.py `_get_ckpt_name`, `_get_zero_ckpt_name`.
    """
    model: set[tuple[int, int]] = set()
    zero3: set[tuple[int, int]] = set()
    optim: set[tuple[int, int]] = set()
    layers = False
    for name in names:
        if found := _OPTIM.fullmatch(name):
            optim.add((int(found["dp"]), int(found["mp"])))
        elif found := _MODEL.fullmatch(name):
            place = (int(found["dp"] or 0), int(found["mp"]))
            (model if found["dp"] is None else zero3).add(place)
        elif _LAYER.fullmatch(name):
            layers = True
    every = model | zero3 | optim
    ranks = 1 + max((mp for _, mp in every), default=0)
    copies = 1 + max((dp for dp, _ in zero3 | optim), default=0)
    missing = None
    if not model and not zero3:
        missing = "model states" if every or layers else "model and optimizer states"
    elif hole := (
        _hole(zero3, copies, ranks, "model") if zero3 else _hole(model, 1, ranks, "model")
    ):
        missing = hole
    elif optim:
        missing = _hole(optim, copies, ranks, "optimizer")
    return Grid(missing, len(optim), bool(every) or layers)


def _hole(seen: set[tuple[int, int]], copies: int, ranks: int, what: str) -> str | None:
    """Return the first place of a rectangle that nothing fills, in words."""
    if len(seen) == copies * ranks:
        return None
    for dp in range(copies):
        for mp in range(ranks):
            if (dp, mp) not in seen:
                return f"{what} states of dp rank {dp}, mp rank {mp}"
    return None
