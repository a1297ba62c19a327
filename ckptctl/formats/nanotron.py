"""nanotron: `N/` with a file for each parameter, committed by the model's config."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._grid import gap
from ckptctl.formats._json_files import prove_json, read_json, unread
from ckptctl.formats._neighbours import Saved, doubted, lost_parts
from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.formats._trackers import read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.patterns import later
from ckptctl.reading import SIDECAR_LIMIT, Finding, Reader

LATEST = "latest.txt"
METADATA = "checkpoint_metadata.json"
MODEL_CONFIG = "model_config.json"
_OPTIMIZER_CONFIG = "optimizer_config.json"
_AXIS = later(r"(pp|dp|tp|exp)(?:-rank)?-([0-9]{1,9})-of-([0-9]{1,9})")
_SPREAD = ("tp", "exp")  # a parameter lies with one pipeline rank, but is split among these


@FORMATS.add("nanotron")
class Nanotron(Format):
    """`N/`; `model_config.json` is written last, after `latest.txt` and when all ranks are done.

    But for their random states: no rank waits for those of the others.
    """

    name = "nanotron"
    summary = "nanotron: N/ with checkpoint_metadata.json, model_config.json, model/, optimizer/"
    source = (
        "nanotron: src/nanotron/trainer.py save_checkpoint, serialize/{main,weights,optimizer,"
        "random,metadata,utils}.py"
    )
    parts: ClassVar = later(r"model|optimizer|lr_scheduler|random")
    example: ClassVar[Mapping[str, bytes]] = {
        "latest.txt": b"1000",
        "1000/checkpoint_metadata.json": (
            b'{"dp": 1, "metas": {"last_train_step": 1000}, "tp": 2, "version": "1.5"}'
        ),
        "1000/config.yaml": b"general: {}\n",
        "1000/model/norm/model_weight.safetensors": safetensors(),
        "1000/model/mlp/model_weight_pp-rank-0-of-1_tp-rank-0-of-2.safetensors": safetensors(),
        "1000/model/mlp/model_weight_pp-rank-0-of-1_tp-rank-1-of-2.safetensors": safetensors(),
        "1000/model_config.json": b"{}",
        "1000/optimizer/optimizer_config.json": b"{}",
        "1000/optimizer/optimizer_pp-0-of-1_tp-0-of-2_exp-0-of-1.pt": torch_zip(),
        "1000/optimizer/optimizer_pp-0-of-1_tp-1-of-2_exp-0-of-1.pt": torch_zip(),
        "1000/random/tp-0-of-2_dp-0-of-1_pp-0-of-1.pt": torch_zip(),
        "1000/random/tp-1-of-2_dp-0-of-1_pp-0-of-1.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory of digits with nanotron's content."""
        found = {
            name: inside
            for name, inside in folder.folders.items()
            if name.isdecimal() and name.isascii() and _is_nanotrons(inside)
        }
        lost = lost_parts(
            Saved(int(name), name, frozenset(path for path in inside.paths() if "/" in path))
            for name, inside in found.items()
        )
        for name, inside in found.items():
            yield doubted(_claim(name, inside), lost)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the step that `checkpoint_metadata.json` states."""
        entry = folder.folders[claim.name].files.get(METADATA)
        if entry is None:
            return Metadata()
        path = f"{claim.name}/{METADATA}"
        said = read_json(reader, path, entry.size, SIDECAR_LIMIT)
        if isinstance(said, str):
            return unread(f"{path} {said}", missing=f"{path} {said}")
        metas = said.get("metas")
        step = metas.get("last_train_step") if isinstance(metas, Mapping) else None
        return Metadata(step=step if type(step) is int else None)

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what `latest.txt` names."""
        target = read_tracker(LATEST, folder, reader)
        if target and target.isdecimal():
            yield Pointer(LATEST, target)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files and its configs."""
        yield from super().prove(checkpoint, reader)
        yield from prove_json(checkpoint, reader, (MODEL_CONFIG, _OPTIMIZER_CONFIG))


def _is_nanotrons(inside: Folder) -> bool:
    if METADATA in inside.files or (MODEL_CONFIG in inside.files and "model" in inside.folders):
        return True
    optimizer = inside.folders.get("optimizer")
    return optimizer is not None and _OPTIMIZER_CONFIG in optimizer.files


def _claim(name: str, inside: Folder) -> Claim:
    marked = MODEL_CONFIG in inside.files
    paths = sorted(inside.paths())
    weights = [path for path in paths if path.startswith("model/")]
    optimizer = inside.folders.get("optimizer")
    return Claim(
        format=Nanotron.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{MODEL_CONFIG if marked else (weights or paths)[0]}",
        family="#",
        step=int(name),
        counts=Unit.STEP,
        missing=next(_gaps(inside), None),
        marker=f"{name}/{MODEL_CONFIG}" if marked else None,
        expects_marker=True,
        uncovered=tuple(f"{name}/{path}" for path in paths if path.startswith("random/")),
        resumable=optimizer is not None and any(file.endswith(".pt") for file in optimizer.files),
    )


def _gaps(inside: Folder) -> Iterator[str]:
    """Yield what is not there, the plainest first."""
    if MODEL_CONFIG not in inside.files:
        yield f"no {MODEL_CONFIG}, which is written last"
    if METADATA not in inside.files:
        yield f"no {METADATA}"
    files = dict(inside.walk())
    if not any(path.startswith("model/") and path.endswith(".safetensors") for path in files):
        yield "no weights in model/"
    for path, entry in files.items():
        if not entry.size and path.endswith((*TENSOR_SUFFIXES, ".yaml")):
            yield f"{path} is empty"
    optimizer = inside.folders.get("optimizer", Folder("optimizer"))
    if optimizer.files.keys() == {_OPTIMIZER_CONFIG}:
        yield "no states in optimizer/"
    elif optimizer.files and _OPTIMIZER_CONFIG not in optimizer.files:
        yield f"no optimizer/{_OPTIMIZER_CONFIG}"
    if not any(path.startswith("random/") for path in files):
        yield "no random states in random/"
    yield from _lost_ranks(files)


def _lost_ranks(paths: Iterable[str]) -> Iterator[str]:
    """Yield the first rank's file that is not there of each grid, whose size the names state."""
    grids: defaultdict[tuple[str, tuple[str, ...], tuple[int, ...]], list[names.Name]]
    grids = defaultdict(list)
    for path in paths:
        axes = list(_AXIS.finditer(path))
        if path.startswith("model/"):
            axes = [axis for axis in axes if axis[1] in _SPREAD]
        if axes:
            words, sizes = tuple(axis[1] for axis in axes), tuple(int(axis[3]) for axis in axes)
            spans = [axis.span() for axis in axes]
            ranks = tuple(int(axis[2]) for axis in axes)
            place = names.Name(ranks=ranks, rank_words=words)
            grids[names.blank(path, spans), words, sizes].append(place)
    for (path, _, sizes), seen in sorted(grids.items()):
        if lost := gap(seen, tuple((0, size - 1) for size in sizes)):
            yield f"{path}: {lost}"
