"""Hugging Face accelerate: what `Accelerator.save_state` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl import names
from ckptctl.containers import prove_file
from ckptctl.formats._accelerate_parts import (
    SAVED,
    Parts,
    is_pickle,
    looks_saved,
    read_parts,
)
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._hf_parts import is_trainers
from ckptctl.formats._llama_factory_signs import is_llama_factory
from ckptctl.formats._neighbours import Saved, lacking, lost_parts, lost_ranks, unlike
from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata
from ckptctl.patterns import later
from ckptctl.reading import TRACKER_LIMIT, Finding, Reader, TooLargeError

_COUNTED = later(r"checkpoint_[0-9]+")


@FORMATS.add("accelerate")
class Accelerate(Format):
    """`checkpoint_N/`, or any numbered directory, with the random states of each process.

    N of `checkpoint_N` counts the saves, so no log is joined by it; in a name that the script gave
    (`step_1000`, diffusers' `checkpoint-500`) the number is what the name says.  The random states
    are written last, but each process writes its own: how many there were is in no name.  With
    `total_limit` accelerate takes each entry of its directory for a checkpoint, and fails on one
    without digits.
    """

    name = "accelerate"
    summary = "Hugging Face accelerate (diffusers): checkpoint_N/ of save_state, FSDP, DeepSpeed"
    source = (
        "accelerate 1.15: src/accelerate/accelerator.py save_state, checkpointing.py "
        "save_accelerator_state, utils/fsdp_utils.py, utils/constants.py"
    )
    scans_everything = True
    own_names = _COUNTED
    parts: ClassVar = SAVED
    vague = True
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint_0/model.safetensors": safetensors(),
        "checkpoint_0/optimizer.bin": torch_zip(),
        "checkpoint_0/random_states_0.pkl": torch_zip(),
        "checkpoint_0/random_states_1.pkl": torch_zip(),
        "checkpoint_0/scheduler.bin": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each numbered directory with accelerate's states; a final `save_state` has no number.

        Raises OSError where a `metadata.json`, by which LLaMA-Factory is told, cannot be read.
        """
        families: dict[str, list[tuple[Claim, Parts]]] = {}
        for name, inside in folder.folders.items():
            if not names.has_number_word(name):
                continue
            said = names.parse(name, file=False)
            if not said.numbered or names.is_copy(name, said) or is_trainers(name, inside.files):
                continue
            if not looks_saved(inside, counted=_COUNTED.fullmatch(name) is not None):
                continue
            if not is_llama_factory(name, inside, reader):
                parts = read_parts(inside)
                claim = _claim(name, said, parts)
                families.setdefault(claim.family, []).append((claim, parts))
        for found in families.values():
            yield from _compared(found)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return nothing, but that DeepSpeed's states are missing where `latest` names none."""
        inside = folder.folders[claim.name]
        if "latest" not in inside.files:
            return Metadata()
        try:
            said = reader.read(f"{claim.name}/latest", TRACKER_LIMIT).decode("utf-8", "replace")
        except TooLargeError:
            said = ""
        if said.strip() in inside.folders:
            return Metadata()
        return Metadata(missing="no DeepSpeed states that latest names")

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, its random states, and DCP's indexes."""
        yield from prove_dcp(checkpoint, reader)
        for path, entry in checkpoint.files.items():
            if is_pickle(path):
                yield from prove_file(path, entry, reader)

    def first(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return the random states, by which it is told from any folder with an `optimizer.bin`."""
        return tuple(sorted(path for path in checkpoint.files if is_pickle(path)))


def _claim(name: str, said: names.Name, parts: Parts) -> Claim:
    return Claim(
        format=Accelerate.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{parts.key}",
        family=names.family(name, "", said.spans),
        step=said.step,
        epoch=said.epoch,
        counts=None if _COUNTED.fullmatch(name) else said.counts,
        metrics=said.metrics,
        missing=parts.missing,
        resumable=parts.resumable,
    )


def _compared(found: list[tuple[Claim, Parts]]) -> Iterator[Claim]:
    """Yield the claims of one family; each must have the ranks of all, and what those around it have."""

    def saved(parts: frozenset[str], claim: Claim) -> Saved:
        number = claim.step if claim.step is not None else claim.epoch or 0
        return Saved(number, claim.name, parts)

    ranks = lost_ranks([saved(parts.ranks, claim) for claim, parts in found])
    others = lost_parts([saved(parts.saved, claim) for claim, parts in found])
    for claim, _ in found:
        doubt: str | None = None
        if claim.name in ranks:
            doubt = lacking(ranks[claim.name])
        elif claim.name in others:
            doubt = unlike(f"no {others[claim.name]}, unlike those around it")
        yield replace(claim, missing=claim.missing or doubt)
