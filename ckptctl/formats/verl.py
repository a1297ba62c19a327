"""verl: `global_step_N/` with the ranks of an actor, of a critic, or of the one model of SFT."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._dcp_below import uncommitted_below
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._json_files import CONFIGS, prove_json
from ckptctl.formats._neighbours import Saved, lacking, lost_parts, lost_ranks, unlike
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import not_updated, read_tracker
from ckptctl.formats._verl_ranks import Ranks, read_ranks
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

TRACKER = "latest_checkpointed_iteration.txt"
_PREFIX = "global_step_"
_NAME = later(rf"{_PREFIX}([0-9]{{1,4000}})")  # no more digits than int() takes
_ROLES = ("actor", "critic")
_DIST = "dist_ckpt"
_DATA = later(r"data(?:_[0-9]+)?\.pt")


@FORMATS.add("verl")
class Verl(Format):
    """`global_step_N/`, whose rank files say in their names how many ranks there are.

    The models come first, then the state of the data, then the tracker beside it.  What verl itself
    deletes is `global_step_N/actor` and `critic` alone: the husk that stays is no checkpoint.
    """

    name = "verl"
    summary = "verl: global_step_N/ with actor/, critic/ or one model; FSDP ranks or Megatron"
    source = (
        "verl: trainer/ppo/ray_trainer.py _save_checkpoint; utils/checkpoint/{checkpoint_manager,"
        "fsdp_checkpoint_manager,megatron_checkpoint_manager,checkpoint_handler}.py"
    )
    own_names = _NAME
    example: ClassVar[Mapping[str, bytes]] = {
        TRACKER: b"100",
        "global_step_100/actor/extra_state_world_size_2_rank_0.pt": torch_zip(),
        "global_step_100/actor/extra_state_world_size_2_rank_1.pt": torch_zip(),
        "global_step_100/actor/fsdp_config.json": b'{"FSDP_version": 1, "world_size": 2}',
        "global_step_100/actor/huggingface/config.json": b"{}",
        "global_step_100/actor/model_world_size_2_rank_0.pt": torch_zip(),
        "global_step_100/actor/model_world_size_2_rank_1.pt": torch_zip(),
        "global_step_100/actor/optim_world_size_2_rank_0.pt": torch_zip(),
        "global_step_100/actor/optim_world_size_2_rank_1.pt": torch_zip(),
        "global_step_100/data.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the steps, husks too.  Raises OSError where the tracker cannot be read."""
        found: dict[str, tuple[int, Mapping[str, Ranks]]] = {}
        for name, inside in folder.folders.items():
            if name.startswith(_PREFIX) and (number := _NAME.fullmatch(name)):
                ranks = _read(inside)
                if ranks or _is_husk(inside):
                    found[name] = int(number[1]), ranks
        if not found:
            return
        failed, tracker = None, None
        try:
            tracker = _read_tracker(folder, reader)
        except OSError as error:
            failed = error
        lost = _lost(found, tracker)
        for name, (step, roles) in found.items():
            doubt = lost.get(name) or _late(step, tracker, folder)
            yield _claim(name, step, folder.folders[name], roles, doubt)
        if failed is not None:
            raise failed

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what the tracker names; Megatron-LM has one of the same name, for its `iter_N`."""
        if any(name.startswith(_PREFIX) and _NAME.fullmatch(name) for name in folder.folders):
            step = _read_tracker(folder, reader)
            if step is not None:
                yield Pointer(TRACKER, f"{_PREFIX}{step}")

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its rank files, and what its indexes name in vain."""
        yield from prove_dcp(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)
        yield from prove_json(checkpoint, reader, CONFIGS | {"fsdp_config.json"})


def _read(inside: Folder) -> dict[str, Ranks]:
    """Return the ranks of each role that saved something; "" is the one model of SFT."""
    roles = {}
    for role in ("", *_ROLES):
        deep = inside.folders.get(role) if role else inside
        if deep is not None:
            ranks = read_ranks(deep)
            if ranks.seen or _DIST in deep.folders or (role and next(deep.walk(), None)):
                roles[role] = ranks
    return roles


def _is_husk(inside: Folder) -> bool:
    """Whether the state of the data is all that is left."""
    return not any(path for path in inside.paths() if not _DATA.fullmatch(path)) and bool(
        inside.files
    )


def _read_tracker(folder: Folder, reader: Reader) -> int | None:
    text = read_tracker(TRACKER, folder, reader)
    return int(text) if text and re.fullmatch("[0-9]{1,4000}", text) else None


def _lost(
    found: Mapping[str, tuple[int, Mapping[str, Ranks]]], tracker: int | None
) -> dict[str, str]:
    """Return what steps lack that others have: a role that any has, a kind of file of both around.

    A role that is gone was deleted by its own limit (`max_critic_ckpt_to_keep`).
    """
    vouched = f"{_PREFIX}{tracker}"
    roles = [
        Saved(step, name, frozenset(f"{role}/" for role in ranks if role))
        for name, (step, ranks) in found.items()
    ]
    kinds = [
        Saved(step, name, frozenset(f"{r}/{kind}" for r, one in ranks.items() for kind in one.kinds))
        for name, (step, ranks) in found.items()
    ]  # fmt: skip
    lost: dict[str, str] = {name: unlike(f"no {kind}, which the steps around it have") for name, kind in lost_parts(kinds).items()}  # fmt: skip
    return lost | {name: lacking(role) for name, role in lost_ranks(roles, vouched).items()}


def _late(step: int, tracker: int | None, folder: Folder) -> str | None:
    """Return why a step above the tracker's is no whole save: it was written after the tracker."""
    if tracker is None or step <= tracker:
        return None
    files = (entry for _, entry in folder.folders[f"{_PREFIX}{step}"].walk())
    return not_updated(TRACKER, folder.files[TRACKER], tracker, files)


def _claim(
    name: str, step: int, inside: Folder, roles: Mapping[str, Ranks], doubt: str | None
) -> Claim:
    return Claim(
        format=Verl.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{_key(inside, roles)}",
        family="global_step_#",
        step=step,
        counts=Unit.STEP,
        missing=_missing(inside, roles) or doubt,
        resumable=_resumable(roles),
        problems=tuple(problem for ranks in roles.values() for problem in ranks.problems),
    )


def _missing(inside: Folder, roles: Mapping[str, Ranks]) -> str | None:
    if not roles:
        return "a husk: no actor/, no critic/ and no rank file, only the state of the data"
    for role, ranks in roles.items():
        if ranks.missing:
            return f"{role}/: {ranks.missing}" if role else ranks.missing
    if "critic" in roles and "actor" not in roles:
        return "no actor/, without which verl cannot go on"
    if committed := uncommitted_below(inside, _DIST):
        return committed
    data = [file for file in inside.files if _DATA.fullmatch(file)]
    if not data:
        return "no data.pt or data_N.pt, which is written after the models"
    empty = next((file for file in data if not inside.files[file].size), None)
    return f"{empty} is empty" if empty else None


def _resumable(roles: Mapping[str, Ranks]) -> bool | None:
    """Whether each role has optimizer states; of Megatron's only their content tells."""
    known = [ranks.resumable for ranks in roles.values()]
    return False if False in known else True if known and all(known) else None


def _key(inside: Folder, roles: Mapping[str, Ranks]) -> str:
    """Return Megatron Core's marker, else the model file of the lowest rank, else the first file."""
    for role, ranks in roles.items():
        place = f"{role}/" if role else ""
        if ranks.key:
            return place + ranks.key
        for file in ("metadata.json", ".metadata"):
            if inside.find(f"{place}{_DIST}/{file}"):
                return f"{place}{_DIST}/{file}"
    return min(inside.paths(), default="")
