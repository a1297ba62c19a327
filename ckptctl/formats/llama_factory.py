"""LLaMA-Factory's v1 engine; its classic engine is Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl.containers import prove_file
from ckptctl.formats._accelerate_parts import is_pickle
from ckptctl.formats._base import FORMATS, Format, ending
from ckptctl.formats._dcp import holds_data, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._deepspeed_grid import read_grid
from ckptctl.formats._folders import is_tensor, key_of, missing_alone
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._hf_parts import STATE
from ckptctl.formats._json_files import CONFIGS, prove_json, read_json, unread
from ckptctl.formats._llama_factory_signs import COMPLETE, METADATA, is_llama_factory
from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import SIDECAR_LIMIT, Finding, Reader
from ckptctl.sidecar import as_number

_NAME = later(r"checkpoint-([0-9]{1,4000})")
_TAG = "pytorch_model"  # what accelerate calls DeepSpeed's states
_RANKED = ("dataloader", "rng_state")


@FORMATS.add("llama-factory")
class LlamaFactory(Format):
    """`checkpoint-N/` with `CHECKPOINT_COMPLETE`, an empty file that is written when all is done.

    The engine deletes each `checkpoint-N` without that file when it next saves.
    """

    name = "llama-factory"
    summary = "LLaMA-Factory's v1 engine: checkpoint-N/ with CHECKPOINT_COMPLETE"
    source = (
        "LLaMA-Factory: src/llamafactory/v1/core/utils/checkpoint.py, "
        "v1/plugins/trainer_plugins/distributed/{fsdp2,deepspeed}.py save_checkpoint"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint-500/CHECKPOINT_COMPLETE": b"",
        "checkpoint-500/dataloader/rank_0.pt": torch_zip(),
        "checkpoint-500/metadata.json": (
            b'{"global_step": 500, "epoch": 1, "num_training_steps": 1000}'
        ),
        "checkpoint-500/model/config.json": b"{}",
        "checkpoint-500/model/model.safetensors": safetensors(),
        "checkpoint-500/optimizer/state_dict.pt": torch_zip(),
        "checkpoint-500/rng_state/rank_0.pt": torch_zip(),
        "checkpoint-500/scheduler.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory of the engine.  Raises OSError where its metadata cannot be read."""
        for name, inside in folder.folders.items():
            found = _NAME.fullmatch(name)
            if found and STATE not in inside.files and is_llama_factory(name, inside, reader):
                yield _claim(name, int(found[1]), inside)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the step and the epoch that `metadata.json` states; it is written first."""
        entry = folder.folders[claim.name].files.get(METADATA)
        if entry is None:
            return Metadata()
        path = f"{claim.name}/{METADATA}"
        said = read_json(reader, path, entry.size, SIDECAR_LIMIT)
        if isinstance(said, str):
            return unread(f"{path} {said}", missing=f"{path} {said}")
        step, epoch = said.get("global_step"), said.get("epoch")
        if type(step) is int and step != claim.step:
            return Metadata(missing=f"{METADATA} is of step {step}", step=step)
        return Metadata(
            step=step if type(step) is int else None,
            epoch=as_number(epoch) if type(epoch) is int else None,
        )

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, its indexes and its configs."""
        yield from prove_dcp(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)
        yield from prove_json(checkpoint, reader, CONFIGS)
        for path, entry in checkpoint.files.items():
            if is_pickle(path):
                yield from prove_file(path, entry, reader)

    def first(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return what it is told by, of which LLaMA-Factory writes `metadata.json` first as well."""
        top = f"{checkpoint.member}/"
        states = sorted(p for p in checkpoint.files if p.startswith(f"{top}rng_state/"))
        return ending(checkpoint, (f"{top}{METADATA}", *states))


def _claim(name: str, step: int, inside: Folder) -> Claim:
    marked = COMPLETE in inside.files
    optimizer = inside.folders.get("optimizer")
    known = (optimizer is not None and bool(optimizer.files)) or _TAG in inside.folders
    return Claim(
        format=LlamaFactory.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{COMPLETE if marked else key_of(inside)}",
        family="checkpoint-#",
        step=step,
        counts=Unit.STEP,
        missing=next(_gaps(inside), None),
        marker=f"{name}/{COMPLETE}" if marked else None,
        expects_marker=True,
        resumable=True if known else False if marked else None,
        claims_sidecars=(METADATA,),
    )


def _gaps(inside: Folder) -> Iterator[str]:
    """Yield what is not there, the plainest first."""
    if COMPLETE not in inside.files:
        yield f"no {COMPLETE}, which is written last"
    if METADATA not in inside.files:
        yield f"no {METADATA}"
    weights = [inside.folders[name] for name in ("model", _TAG) if name in inside.folders]
    if not any(is_tensor(path) for folder in weights for path in folder.paths()):
        yield "no weights in model/"
    for name in ("model", "optimizer"):
        folder = inside.folders.get(name, Folder(name))
        through_dcp = holds_data(folder.files) or ".metadata" in folder.files
        if through_dcp and (gap := read_commit(folder.files).missing):
            yield f"{name}/: {gap}"
    tag = inside.folders.get(_TAG)
    if tag is not None and (lost := read_grid(tag.files).missing):
        yield f"{_TAG}/: no {lost}"
    elif tag is None:  # DeepSpeed holds the scheduler and the random states itself
        if "scheduler.pt" not in inside.files:
            yield "no scheduler.pt"
        yield from _lost_ranks(inside)
    if gap := missing_alone(inside):
        yield gap


def _lost_ranks(inside: Folder) -> Iterator[str]:
    """Yield a rank's state that is not there: each writes two, and DeepSpeed's has but one."""
    seen = {
        name: set(inside.folders[name].files) if name in inside.folders else set[str]()
        for name in _RANKED
    }
    every = set[str]().union(*seen.values()) or {"rank_0.pt"}
    for name in _RANKED:
        for file in sorted(every - seen[name]):
            yield f"no {name}/{file}"
