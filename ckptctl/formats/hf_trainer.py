"""Hugging Face Trainer, and what shares its layout: PEFT, TRL, axolotl, classic LLaMA-Factory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._deepspeed_grid import read_grid
from ckptctl.formats._folders import empty_in
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._hf_parts import NAME, STAGED, STATE, Parts, read_parts
from ckptctl.formats._hf_state import read_state_file
from ckptctl.formats._json_files import prove_json
from ckptctl.formats._llama_factory_signs import is_llama_factory
from ckptctl.formats._neighbours import Saved, lost_parts, unlike
from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Problem, Unit
from ckptctl.patterns import later
from ckptctl.reading import TRACKER_LIMIT, Finding, Reader, TooLargeError

_ALWAYS = frozenset({"config.json", "generation_config.json", "training_args.bin"})
"""Files that all checkpoints of a run have, or none; the optimizer's may well be stripped from some."""


@FORMATS.add("hf-trainer")
class HfTrainer(Format):
    """`checkpoint-N/`, committed by a `trainer_state.json` of step N, which is written last."""

    name = "hf-trainer"
    summary = "Hugging Face Trainer (PEFT, TRL, axolotl, classic LLaMA-Factory): checkpoint-N/"
    source = (
        "transformers 5.23, 4.44, 4.37: trainer.py _save_checkpoint, trainer_utils.py "
        "get_last_checkpoint and rotate_checkpoints, trainer_jit_checkpoint.py"
    )
    parts: ClassVar = later(r"global_step[0-9]+")  # DeepSpeed's own count, unlike the Trainer's
    own_names = NAME
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint-500/config.json": b"{}",
        "checkpoint-500/model.safetensors": safetensors(),
        "checkpoint-500/optimizer.pt": torch_zip(),
        "checkpoint-500/rng_state.pth": torch_zip(),
        "checkpoint-500/trainer_state.json": json.dumps(
            {
                "best_model_checkpoint": None,
                "epoch": 1.5,
                "global_step": 500,
                "log_history": [{"epoch": 1.5, "eval_loss": 0.5, "step": 500}],
            }
        ).encode(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory with the Trainer's content, and those that 4.36 to 4.38 staged.

        Raises OSError where a `metadata.json` cannot be read that may tell LLaMA-Factory's.
        """
        ranks: list[Saved] = []
        models: list[Saved] = []
        claims: list[Claim] = []
        for name, inside in folder.folders.items():
            found = NAME.fullmatch(name) or STAGED.fullmatch(name)
            if found is None:
                continue
            if STATE not in inside.files and is_llama_factory(name, inside, reader):
                continue
            parts = read_parts(tuple(inside.paths()))
            if parts.trainers:
                step = int(found[1]) if found[1] else None
                staged = NAME.fullmatch(name) is None
                claims.append(_claim(name, inside, parts, step, staged=staged))
                if step is None or staged:
                    continue
                models.append(Saved(step, name, _ALWAYS.intersection(inside.files)))
                if parts.ranked:
                    ranks.append(Saved(step, name, parts.rng))
        lost: dict[str, str] = {
            name: unlike(f"no {file}, unlike those around it")
            for name, file in lost_parts(models).items()
        }
        lost |= _lost_ranks(ranks)
        for claim in claims:
            missing = claim.missing or lost.get(claim.name)
            yield claim if missing == claim.missing else replace(claim, missing=missing)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return what `trainer_state.json` says, and whether it commits this step."""
        directory = claim.members[0]
        inside = folder.folders[directory]
        if STATE not in inside.files or claim.temporary:
            return Metadata()
        said = read_state_file(reader, f"{directory}/{STATE}", inside.files[STATE], claim.step)
        if said.missing is None and "latest" in inside.files:
            said = replace(said, missing=_tag_lost(directory, inside, reader))
        return said

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, and what its indexes name in vain, and its configs."""
        yield from prove_dcp(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)
        yield from prove_json(checkpoint, reader)


def _claim(name: str, inside: Folder, parts: Parts, step: int | None, *, staged: bool) -> Claim:
    """Return the claim of a directory that holds what the Trainer writes."""
    missing, problems = parts.missing or empty_in(inside), parts.problems
    if parts.surplus and missing is None:
        missing, found = _judge_surplus(inside, parts.surplus)
        problems += found
    marked = parts.key == STATE
    return Claim(
        format=HfTrainer.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{parts.key}",
        family="checkpoint-#",
        step=step,
        counts=Unit.STEP,
        temporary=staged,
        missing="the Trainer had not renamed it yet" if staged else missing,
        marker=f"{name}/{STATE}" if marked else None,
        expects_marker=True,
        uncovered=tuple(f"{name}/{file}" for file in sorted(parts.rng)),
        resumable=parts.resumable if marked else None,
        problems=problems,
    )


def _judge_surplus(
    inside: Folder, surplus: Iterable[str]
) -> tuple[str | None, tuple[Problem, ...]]:
    """Tell RNG states that an earlier, larger run left from those whose optimizer states are lost.

    DeepSpeed writes `latest` before any rank goes on to write its RNG state.
    """
    latest = inside.files["latest"].mtime_ns
    for file in surplus:
        if inside.files[file].mtime_ns >= latest:
            return f"no optimizer states of the rank of {file}", ()
    text = f"{', '.join(surplus)}: of an earlier run with more ranks"
    return None, (Problem("leftover-rank", text),)


def _lost_ranks(saved: Iterable[Saved]) -> dict[str, str]:
    """Return which checkpoints lack an RNG state that those before and after it both have.

    The first and the last say nothing: a run may have gone on with fewer ranks.
    """
    order = sorted(saved)
    lost = lost_parts(order)
    return {one.name: unlike(f"no {lost[one.name]}") for one in order[1:-1] if one.name in lost}


def _tag_lost(directory: str, inside: Folder, reader: Reader) -> str | None:
    """Return why the DeepSpeed states that `latest` names cannot be used; None where they can."""
    try:
        tag = reader.read(f"{directory}/latest", TRACKER_LIMIT).decode("utf-8", "replace").strip()
    except TooLargeError:
        tag = ""
    if not tag or tag not in inside.folders:
        return "no DeepSpeed states that latest names"
    missing = read_grid(inside.folders[tag].files).missing
    return f"{tag}/: no {missing}" if missing else None
