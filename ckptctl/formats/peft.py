"""PEFT adapters that a loop of the user's own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._folders import key_of, missing_alone
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._json_files import prove_json
from ckptctl.formats._samples import safetensors
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

CONFIG = "adapter_config.json"
_WEIGHTS = later(
    r"adapter_model(?:-[0-9]{5,}-of-[0-9]{5,})?\.(?:safetensors|bin)(?:\.index\.json)?"
)
_OTHERS = later(
    r"random_states_[0-9]+\.pkl|recipe_state\.pt|adapter_model\.pt"
    r"|CHECKPOINT_COMPLETE|CKPT\.yaml|training_info\.json|_CHECKPOINT_METADATA|.+\.distcp"
)
"""Files by which frameworks are told that put an adapter among their own."""


@FORMATS.add("peft")
class Peft(Format):
    """`step_N/`, `epoch_N/`, ... with an adapter, right in it or in a folder for each adapter.

    `checkpoint-N/` is of Hugging Face's Trainer.  `save_pretrained` writes the config last.
    """

    name = "peft"
    summary = "PEFT adapters in numbered directories: step_1000/adapter_model.safetensors"
    source = "peft: src/peft/peft_model.py save_pretrained, utils/constants.py"
    vague = True
    example: ClassVar[Mapping[str, bytes]] = {
        "step_1000/adapter_config.json": b"{}",
        "step_1000/adapter_model.safetensors": safetensors(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each numbered directory with an adapter that no framework wrote."""
        for name, inside in folder.folders.items():
            if not names.has_number_word(name) or _is_trainers(name):
                continue
            adapters = _adapters(inside)
            if not adapters or any(_OTHERS.fullmatch(file) for file in inside.files):
                continue
            said = names.parse(name, file=False)
            if said.numbered and not names.is_copy(name, said):
                yield _claim(name, said, inside, adapters)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, its indexes and its configs."""
        yield from super().prove(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)
        yield from prove_json(checkpoint, reader)


def _is_trainers(name: str) -> bool:
    return name.startswith("checkpoint-") and name[len("checkpoint-") :].isdecimal()


def _adapters(inside: Folder) -> dict[str, Folder]:
    """Return the folders of adapters by their names, "" for the one right in the directory."""
    found = {name: deep for name, deep in inside.folders.items() if _is_adapter(deep)}
    return {"": inside, **found} if _is_adapter(inside) else found


def _is_adapter(folder: Folder) -> bool:
    return CONFIG in folder.files or any(_WEIGHTS.fullmatch(file) for file in folder.files)


def _claim(name: str, said: names.Name, inside: Folder, adapters: Mapping[str, Folder]) -> Claim:
    first = min(adapters)
    key = key_of(adapters[first])
    states = any("optim" in path.lower() for path in inside.paths())
    return Claim(
        format=Peft.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file="/".join(filter(None, (name, first, key))),
        family=names.family(name, "", said.spans),
        step=said.step,
        epoch=said.epoch,
        counts=said.counts,
        metrics=said.metrics,
        saved_ns=said.saved_ns,
        missing=next(_gaps(inside, adapters), None),
        resumable=None if states else False,
    )


def _gaps(inside: Folder, adapters: Mapping[str, Folder]) -> Iterator[str]:
    """Yield what is not there of the pairs of weights and config, and of shards."""
    for name, adapter in sorted(adapters.items()):
        where = f"{name}/" if name else ""
        if not any(_WEIGHTS.fullmatch(file) for file in adapter.files):
            yield f"no adapter_model beside {where}{CONFIG}"
        if CONFIG not in adapter.files:
            yield f"no {where}{CONFIG}, which is written last"
    if gap := missing_alone(inside):
        yield gap
