"""Folders of tensor files that a loop of the user's own numbers by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._folders import Part, holds_tensors, key_of, missing_in, parts_of
from ckptctl.formats._foreign import foreign
from ckptctl.formats._grid import reaches_of
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_ITERATION = later(r"iter_[0-9]+")
_DUMP = later(r"mp_rank_[0-9_]+\.pth")


@FORMATS.add("tensor-folder")
class TensorFolder(Format):
    """`update_1000/` with tensor files somewhere below, and nothing of another step."""

    name = "tensor-folder"
    summary = "Folders of tensor files whose name carries a step or an epoch: update_1000/"
    source = "section 3 of the contract"
    generic = True
    example: ClassVar[Mapping[str, bytes]] = {
        "update_1000/model.safetensors": safetensors(),
        "update_1000/optimizer.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each such folder; the ranks in one are those of its family's."""
        families: defaultdict[str, dict[str, tuple[names.Name, list[Part]]]] = defaultdict(dict)
        for name, inside in folder.folders.items():
            said = names.parse(name, file=False)
            if not said.numbered or names.is_copy(name, said):
                continue
            if _is_dump(name, inside):
                continue
            if holds_tensors(inside) and foreign(inside, said.step, said.epoch) is None:
                family = names.family(name, "", said.spans)
                families[family][name] = said, list(parts_of(inside))
        for family, found in families.items():
            reaches = reaches_of(
                (part.kin, part.said) for _, parts in found.values() for part in parts
            )
            for name, (said, parts) in found.items():
                inside = folder.folders[name]
                yield Claim(
                    format=self.name,
                    kind=Kind.DIRECTORY,
                    name=name,
                    members=(name,),
                    key_file=f"{name}/{key_of(inside)}",
                    family=family,
                    step=said.step,
                    epoch=said.epoch,
                    counts=said.counts,
                    metrics=said.metrics,
                    saved_ns=said.saved_ns,
                    missing=missing_in(inside, parts, reaches),
                )

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterable[Finding]:
        """Yield what is wrong with its tensor files, and what its shard indexes name in vain."""
        yield from super().prove(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)


def _is_dump(name: str, inside: Folder) -> bool:
    """Whether it holds tensors that Megatron-LM wrote to be looked at: `wgrads/iter_N/mp_rank_*.pth`.

    So it is for `dgrads` and `activations`; a checkpoint has folders for its ranks, or `.distcp`.
    """
    return _ITERATION.fullmatch(name) is not None and all(
        _DUMP.fullmatch(path) for path in inside.paths()
    )
