"""PaddleNLP's Trainer: `checkpoint-N/` with Paddle's files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._folders import missing_alone
from ckptctl.formats._grid import gap
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._hf_parts import PADDLES, STATE
from ckptctl.formats._hf_state import read_state_file
from ckptctl.formats._json_files import prove_json
from ckptctl.formats._pickle_tail import prove_pickles
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

DONE = ".checkpoint_done"
_NAME = later(r"checkpoint-([0-9]{1,4000})")
_AXES = later(r"(tp|pp|shard|sharding|moe|sep)([0-9]{1,9})(?![0-9])")
_PICKLES = (".pdparams", ".pdopt", ".pth", ".bin", DONE)
_EMPTY_PICKLE = b"\x80\x04}."
_NO_WEIGHTS = ("scheduler", "scaler", "optimizer")


@FORMATS.add("paddlenlp")
class PaddleNlp(Format):
    """`checkpoint-N/`; the random states are written last, after `trainer_state.json`.

    `rng_state_W.pth` is one file of a run of W processes.  With `FLAG_LLM_PDC`
    `.checkpoint_done` comes after all.
    """

    name = "paddlenlp"
    summary = "PaddleNLP's Trainer: checkpoint-N/ with .pdparams and .pdopt, or unified safetensors"
    source = "PaddleNLP 2.8: paddlenlp/trainer/trainer.py _save_checkpoint, utils/env.py"
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint-500/config.json": b"{}",
        "checkpoint-500/model_state.tp00.pdparams": _EMPTY_PICKLE,
        "checkpoint-500/model_state.tp01.pdparams": _EMPTY_PICKLE,
        "checkpoint-500/optimizer.tp00.pdopt": _EMPTY_PICKLE,
        "checkpoint-500/optimizer.tp01.pdopt": _EMPTY_PICKLE,
        "checkpoint-500/rng_state_2.pth": _EMPTY_PICKLE,
        "checkpoint-500/scheduler.pdparams": _EMPTY_PICKLE,
        "checkpoint-500/trainer_state.json": json.dumps(
            {"best_model_checkpoint": None, "epoch": 1.5, "global_step": 500, "log_history": []}
        ).encode(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory with Paddle's files."""
        claims = [
            _claim(name, int(found[1]), inside)
            for name, inside in folder.folders.items()
            if (found := _NAME.fullmatch(name)) and any(PADDLES.fullmatch(f) for f in inside.files)
        ]
        marked = any(claim.marker and claim.marker.endswith(DONE) for claim in claims)
        for claim in claims:
            if marked and claim.missing is None and DONE not in folder.folders[claim.name].files:
                yield replace(claim, missing=f"no {DONE}, which others of its family have")
            else:
                yield claim

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return what `trainer_state.json` says; it is that of Hugging Face's Trainer."""
        entry = folder.folders[claim.name].files.get(STATE)
        return read_state_file(reader, f"{claim.name}/{STATE}", entry, claim.step)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its pickles, its safetensors, their indexes and its configs."""
        yield from prove_pickles(checkpoint, reader, _PICKLES)
        yield from prove_indexes(checkpoint, reader)
        yield from prove_json(checkpoint, reader)
        pickles = {path for path in checkpoint.files if path.endswith(_PICKLES)}
        rest = {p: entry for p, entry in checkpoint.files.items() if p not in pickles}
        yield from super().prove(replace(checkpoint, files=rest), reader)


def _claim(name: str, step: int, inside: Folder) -> Claim:
    rng = [file for file in inside.files if file.startswith("rng_state") and file.endswith(".pth")]
    marker = next((file for file in (DONE, STATE) if file in inside.files), None)
    weights = sorted(filter(_is_weights, inside.files))
    indexes = [file for file in weights if file.endswith(".index.json")]
    key = marker or (indexes or weights or sorted(inside.files))[0]
    return Claim(
        format=PaddleNlp.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{key}",
        family="checkpoint-#",
        step=step,
        counts=Unit.STEP,
        missing=next(_gaps(inside, rng), None),
        marker=f"{name}/{marker}" if marker else None,
        expects_marker=True,
        uncovered=tuple(f"{name}/{file}" for file in rng) if marker == STATE else (),
        resumable=any(file.startswith("optimizer") for file in inside.files),
    )


def _is_weights(file: str) -> bool:
    tensors = (".pdparams", ".safetensors", ".index.json")
    return file.endswith(tensors) and not file.startswith(_NO_WEIGHTS)


def _gaps(inside: Folder, rng: list[str]) -> Iterator[str]:
    """Yield what is not there, the plainest first."""
    if STATE not in inside.files:
        yield f"no {STATE}"
    if not rng:
        yield "no rng_state.pth, which is written last"
    if not any(_is_weights(file) and not file.endswith(".json") for file in inside.files):
        yield "no weights"
    for file, entry in inside.files.items():
        if not entry.size and file.endswith(_PICKLES):
            yield f"{file} is empty"
    optimizer = any(file.startswith("optimizer") for file in inside.files)
    if optimizer and "scheduler.pdparams" not in inside.files:  # saved both, or neither
        yield "no scheduler.pdparams"
    yield from _lost_ranks(inside.files)
    if lost := missing_alone(inside):
        yield lost


def _lost_ranks(files: Iterable[str]) -> Iterator[str]:
    """Yield the first rank that has no file of its own: `tp00_pp01` and the like fill a box.

    The highest of each kind of rank is that of the model's and of the optimizer's files together.
    """
    grids: defaultdict[tuple[str, tuple[str, ...]], list[names.Name]] = defaultdict(list)
    tops: defaultdict[str, int] = defaultdict(int)
    for file in files:
        axes = list(_AXES.finditer(file)) if file.endswith((".pdparams", ".pdopt")) else []
        for axis in axes:
            tops[axis[1]] = max(tops[axis[1]], int(axis[2]))
        if axes:
            words = tuple(axis[1] for axis in axes)
            place = names.Name(ranks=tuple(int(axis[2]) for axis in axes), rank_words=words)
            grids[names.blank(file, [axis.span(2) for axis in axes]), words].append(place)
    for (file, words), seen in sorted(grids.items()):
        if lost := gap(seen, tuple((0, tops[word]) for word in words)):
            yield f"{file}: {lost}"
