"""What lies in a directory of `Accelerator.save_state`, told from its names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptctl.formats._dcp import data_ranks, holds_data, read_commit
from ckptctl.formats._deepspeed_grid import read_grid
from ckptctl.formats._folders import is_tensor, key_of, missing_alone
from ckptctl.listing import Folder
from ckptctl.patterns import later

SAVED = later(
    r"(?P<kind>model|pytorch_model(?:_fsdp)?|optimizer|scheduler|sampler|dl_state_dict|scaler"
    r"|custom_checkpoint|random_states)(?:_(?P<index>[0-9]{1,9}))?(?:_rank[0-9]+)?"
    r"(?:\.(?:safetensors|bin|pkl|pt))?"
)
"""Files and folders that accelerate writes; the first of its models has no number."""

_WEIGHTS = frozenset({"model", "pytorch_model", "pytorch_model_fsdp"})
_BY_DCP = ("pytorch_model_fsdp", "optimizer")
_UNBROKEN = ("model", "pytorch_model", "optimizer", "scheduler")
"""Kinds of which none is left out in between: a sampler is saved for some data loaders only."""


class Parts(NamedTuple):
    """What the names in a directory tell."""

    missing: str | None  # in words
    resumable: bool | None
    key: str
    ranks: frozenset[str]  # random states, one of each process
    saved: frozenset[str]  # the rest but the optimizer, which may well be stripped from some


def is_pickle(path: str) -> bool:
    """Whether a file is one that `torch.save` wrote under the name of a pickle."""
    found = SAVED.fullmatch(path.rpartition("/")[2])
    return found is not None and path.endswith(".pkl")


def looks_saved(inside: Folder, *, counted: bool) -> bool:
    """Whether accelerate saved a directory: random states tell it, whatever its name.

    Under its own name also an optimizer as only accelerate calls it, beside weights: the save was
    cut off before the random states.
    """
    if any(name.startswith("random_states_") and is_pickle(name) for name in inside.files):
        return True
    if not counted:
        return False
    found = [one for name in inside.files if (one := SAVED.fullmatch(name))]
    weights = any(one["kind"] in _WEIGHTS for one in found)
    return (weights and "optimizer.bin" in inside.files) or any(
        name.startswith("pytorch_model") and SAVED.fullmatch(name) for name in inside.folders
    )


def read_parts(inside: Folder) -> Parts:
    """Return what is there of a save, and what is not.

    Source: accelerate, checkpointing.py `save_accelerator_state`, utils/fsdp_utils.py.
    """
    found = {name: one for name in inside.files if (one := SAVED.fullmatch(name))}
    ranks = frozenset(
        name for name, one in found.items() if one["kind"] == "random_states" and one["index"]
    )
    kinds = {one["kind"] for one in found.values()}
    folders = [name for name in inside.folders if SAVED.fullmatch(name)]
    tags = [name for name in folders if read_grid(inside.folders[name].files).states]
    zero = any(read_grid(inside.folders[name].files).world for name in tags)
    optimizer = zero or "optimizer" in kinds or any(f.startswith("optimizer_") for f in folders)
    return Parts(
        missing=next(_gaps(inside, ranks), None),
        resumable=True if optimizer else None if tags else False,
        key=_key(inside, folders),
        ranks=ranks,
        saved=frozenset(name for name in (*found, *folders) if not name.startswith("optimizer"))
        - ranks,
    )


def _gaps(inside: Folder, ranks: frozenset[str]) -> Iterator[str]:
    """Yield what is not there, the plainest first."""
    yield from _folder_gaps(inside)
    if not any(is_tensor(path) and not _is_state(path) for path in inside.paths()):
        yield "no weights"
    if gap := missing_alone(inside):
        yield gap
    seen = {int(found["index"]) for name in ranks if (found := SAVED.fullmatch(name))}
    data = {rank for deep in inside.folders.values() for rank in data_ranks(deep.files)}
    world = 1 + max(seen | data, default=0)
    lost = next(rank for rank in range(world + 1) if rank not in seen)
    if lost < world:
        yield f"no random_states_{lost}.pkl, which is written last"
    for name in ranks:
        if not inside.files[name].size:
            yield f"{name} is empty"
    for kind in _UNBROKEN:
        yield from _hole(kind, inside)


def _folder_gaps(inside: Folder) -> Iterator[str]:
    """Yield what is missing in the folders of FSDP, which saves through DCP, and of DeepSpeed."""
    tagged = False
    for name, deep in inside.folders.items():
        if not (found := SAVED.fullmatch(name)):
            continue
        if holds_data(deep.files) or (found["index"] and found["kind"] in _BY_DCP):
            if gap := read_commit(deep.files).missing:
                yield f"{name}/: {gap}"
        elif found["kind"] == "pytorch_model":
            tagged = True
            if gap := read_grid(deep.files).missing:
                yield f"{name}/: no {gap}"
    if tagged and "latest" not in inside.files:
        yield "no latest, which DeepSpeed writes when all ranks are done"


def _hole(kind: str, inside: Folder) -> Iterator[str]:
    """Yield the first of several models, optimizers or schedulers that is not there."""
    seen: dict[int, str] = {}
    for name in inside.files:
        found = SAVED.fullmatch(name)
        if found and found["kind"] == kind:
            seen[int(found["index"] or 0)] = name
    lost = next(index for index in range(len(seen) + 1) if index not in seen)
    if lost < len(seen):
        suffix = "." + seen[max(seen)].rpartition(".")[2]
        yield f"no {kind}{f'_{lost}' if lost else ''}{suffix}"


def _is_state(path: str) -> bool:
    """Whether a file holds no weights: the optimizer's or another state."""
    top = SAVED.fullmatch(path.partition("/")[0])
    return top is not None and top["kind"] not in _WEIGHTS


def _key(inside: Folder, folders: list[str]) -> str:
    """Return the index of the first model that DCP saved, else the first model file."""
    for name in sorted(folders):
        if name.startswith("pytorch_model_fsdp_") and ".metadata" in inside.folders[name].files:
            return f"{name}/.metadata"
    key = key_of(inside)
    assert key is not None  # noqa: S101 - it looks saved by its files
    return key
