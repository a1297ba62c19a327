"""torchtitan's last step in Hugging Face form; its other steps are plain DCP (see `torch_dcp`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp import METADATA, holds_data
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._samples import safetensors, shard_index
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

INDEX = "model.safetensors.index.json"
_NAME = later(r"step-([0-9]+)")
_SHARDED = "sharded"
"""Where the ranks write, before their files are made those that the index names."""


@FORMATS.add("torchtitan")
class Torchtitan(Format):
    """`step-N/` with a Hugging Face index, which is written last: weights alone."""

    name = "torchtitan"
    summary = "torchtitan's last step in Hugging Face form: step-N/ with a safetensors index"
    source = (
        "torchtitan: components/checkpointer/{base,dcp}.py; pytorch: "
        "torch/distributed/checkpoint/hf_storage.py finish"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "step-1000/model-00001-of-00002.safetensors": safetensors("a"),
        "step-1000/model-00002-of-00002.safetensors": safetensors("b"),
        "step-1000/model.safetensors.index.json": shard_index(
            {
                "model-00001-of-00002.safetensors": ["a"],
                "model-00002-of-00002.safetensors": ["b"],
            }
        ),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each `step-N` with an index, or with what is there before it is written."""
        for name, inside in folder.folders.items():
            found = _NAME.fullmatch(name)
            if not found or METADATA in inside.files or holds_data(inside.files):
                continue
            sharded = inside.folders.get(_SHARDED)
            if INDEX in inside.files or (sharded is not None and sharded.files):
                yield _claim(name, int(found[1]), inside)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its shards, and what its index names in vain."""
        yield from super().prove(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)


def _claim(name: str, step: int, inside: Folder) -> Claim:
    files = dict(inside.walk())
    weights = {path: entry for path, entry in files.items() if path.endswith(".safetensors")}
    state = any(path.lower().endswith(TENSOR_SUFFIXES) for path in files.keys() - weights.keys())
    committed = INDEX in files
    return Claim(
        format=Torchtitan.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{INDEX if committed else min(weights or files)}",
        family="step-#",
        step=step,
        counts=Unit.STEP,
        missing=_missing(files, weights),
        marker=f"{name}/{INDEX}" if committed else None,
        expects_marker=True,
        uncovered=tuple(f"{name}/{path}" for path in files.keys() - weights.keys() - {INDEX}),
        resumable=None if state else False,
    )


def _missing(files: Mapping[str, Entry], weights: Mapping[str, Entry]) -> str | None:
    """Return what is not there by names and sizes: the index, a shard of those that names count."""
    if INDEX not in files:
        return f"no {INDEX}, which is written last"
    for file in (INDEX, *weights):
        if not files[file].size:
            return f"{file} is empty"
    if not weights:
        return "no .safetensors file"
    have: defaultdict[int, set[int]] = defaultdict(set)
    for file in weights:
        if "/" not in file and (shard := names.parse(file.rpartition(".")[0], file=True).shard):
            have[shard[1]].add(shard[0])
    for count, seen in have.items():
        absent = next(number for number in range(1, len(seen) + 2) if number not in seen)
        if absent <= count:
            return f"no shard {absent} of {count}"
    return None
