"""DeepSpeed: a tag directory of rank files in a save directory, named by `latest`."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._deepspeed_grid import is_state, is_tag, key_of, read_grid, without_precision
from ckptctl.formats._mmengine_name import read_name
from ckptctl.formats._neighbours import Saved, lacking, lost_ranks
from ckptctl.formats._openrlhf_tags import tags_of
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import not_updated, read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind
from ckptctl.patterns import later
from ckptctl.reading import Reader

_TAG = later(r"global_step([0-9]{1,4000})")  # no more digits than int() takes
_LATEST = "latest"
_TRACKERS = (_LATEST, "latest_universal")
_EXPERTS = later(
    r"(?P<owner>(?:layer_[0-9]+_)?expert_)(?P<rank>[0-9]+)_mp_rank_(?P<mp>[0-9]+)_model_states\.pt"
    r"|(?P<optim>expp_rank_)(?P<ep>[0-9]+)_mp_rank_(?P<emp>[0-9]+)_optim_states\.pt"
)
_MODEL = later(r"(?:zero_pp_rank_([0-9]+)_)?mp_rank_([0-9]+)_model_states\.pt")


@FORMATS.add("deepspeed")
class DeepSpeed(Format):
    """`global_stepN/`, another numbered tag, or whatever tag `latest` names.

    There is no marker within: `latest` is written after all ranks, but only names the last one.
    """

    name = "deepspeed"
    summary = "DeepSpeed: global_stepN/ or the tag that latest names, ZeRO 0 to 3, pipeline, MoE"
    source = (
        "DeepSpeed: deepspeed/runtime/engine.py save_checkpoint, _get_ckpt_name; "
        "runtime/pipe/module.py ckpt_layer_path; checkpoint/ds_to_universal.py"
    )
    own_names = _TAG
    example: ClassVar[Mapping[str, bytes]] = {
        "latest": b"global_step500",
        "global_step500/mp_rank_00_model_states.pt": torch_zip(),
        "global_step500/zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
        "global_step500/zero_pp_rank_1_mp_rank_00_optim_states.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the tags, but for MMEngine's (`epoch_12.pth/`) and OpenRLHF's.

        Raises OSError where `latest`, or what it names, cannot be read.
        """
        others = tags_of(folder)
        tags = {
            name: inside
            for name, inside in folder.folders.items()
            if name not in others and is_tag(inside) and read_name(name) is None
        }
        closed = [name for name, inside in folder.folders.items() if inside.error is not None]
        latest, failed = None, None
        try:
            latest = read_tracker(_LATEST, folder, reader) if tags or closed else None
        except OSError as error:
            failed = error
        chosen = {name: found for name in tags if (found := _name_of(name, pointed=name == latest))}
        lost = _lost(chosen, tags, latest)
        for name, found in chosen.items():
            doubt = lacking(lost[name]) if name in lost else _late(name, latest, folder)
            yield _claim(name, found, tags[name], doubt)
        if latest in closed:
            failed = OSError(errno.EACCES, folder.folders[latest].error, latest)
        if failed is not None:
            raise failed

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what `latest` and `latest_universal` name."""
        for file in _TRACKERS:
            if target := read_tracker(file, folder, reader):
                yield Pointer(file, target)


def _name_of(name: str, *, pointed: bool) -> names.Name | None:
    """Return what the name of a tag says; None where it is no checkpoint by its name."""
    found = names.parse(name, file=False)
    extended = _TAG.match(name) is not None and _TAG.fullmatch(name) is None
    if pointed or (found.numbered and not names.is_copy(name, found) and not extended):
        return found
    return None


def _lost(
    chosen: Mapping[str, names.Name], tags: Mapping[str, Folder], latest: str | None
) -> dict[str, str]:
    """Return the files that tags lack and others of their family have, at the same ZeRO stage."""
    families: dict[tuple[str, bool], list[Saved]] = {}
    for name, found in chosen.items():
        number = found.step if found.step is not None else found.epoch or 0
        files = [file for file in tags[name].files if is_state(file)]
        parts = frozenset(without_precision(file) for file in files)
        third = any(model[1] for file in files if (model := _MODEL.fullmatch(file)))
        kin = names.family(name, "", found.spans), third
        families.setdefault(kin, []).append(Saved(number, name, parts))
    return {n: file for one in families.values() for n, file in lost_ranks(one, latest).items()}


def _late(name: str, latest: str | None, folder: Folder) -> str | None:
    """Return why a tag above the one that `latest` names is no whole save: it was saved after it."""
    mine, named = _TAG.fullmatch(name), _TAG.fullmatch(latest or "")
    if not mine or not named or int(mine[1]) <= int(named[1]):
        return None
    states = [entry for file, entry in folder.folders[name].files.items() if is_state(file)]
    return not_updated(_LATEST, folder.files[_LATEST], latest, states)


def _claim(name: str, found: names.Name, inside: Folder, doubt: str | None) -> Claim:
    grid = read_grid(inside.files)
    return Claim(
        format=DeepSpeed.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{key_of(inside.files)}",
        family=names.family(name, "", found.spans),
        step=found.step,
        epoch=found.epoch,
        counts=found.counts,
        metrics=found.metrics,
        missing=_missing(inside, grid.missing) or doubt,
        resumable=True if grid.world else None,  # without ZeRO the model states hold the optimizer
    )


def _missing(inside: Folder, hole: str | None) -> str | None:
    if hole:
        return f"no {hole}"
    for file, entry in inside.files.items():
        if is_state(file) and not entry.size:
            return f"{file} is empty"
    expert = _expert_hole(inside.files)
    return f"no {expert}" if expert else None


def _expert_hole(files: Iterable[str]) -> str | None:
    """Return an expert's file that is not there: each layer has every expert for every mp rank."""
    grids: dict[str, set[tuple[int, int]]] = {}
    for file in files:
        if found := _EXPERTS.fullmatch(file):
            owner = found["owner"] or found["optim"]
            place = (int(found["rank"] or found["ep"]), int(found["mp"] or found["emp"]))
            grids.setdefault(owner, set()).add(place)
    for owner, seen in sorted(grids.items()):
        rows, columns = (1 + max(place[axis] for place in seen) for axis in (0, 1))
        if len(seen) < rows * columns:
            row, column = next(
                (r, c) for r in range(rows) for c in range(columns) if (r, c) not in seen
            )
            return f"{owner}{row} of mp rank {column}"
    return None
