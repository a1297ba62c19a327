"""torchtune: `epoch_N/` and `step_N/` with a recipe's state, in Hugging Face form or through DCP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format, ending
from ckptctl.formats._dcp import METADATA, holds_data, is_dcp_file, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._folders import is_tensor, key_of, missing_alone
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._json_files import prove_json
from ckptctl.formats._samples import safetensors, shard_index, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_NAME = later(r"(epoch|step)_([0-9]{1,4000})")
RECIPE = "recipe_state.pt"
_ADAPTER = "adapter_model.pt"
_ABOVE = "recipe_state"
"""Where the last recipe's state lies that older versions, and Meta's format, wrote."""
_SHARD = later(r"model-[0-9]{5,}-of-([0-9]{5,})\.safetensors")
_INDEX = "model.safetensors.index.json"


@FORMATS.add("torchtune")
class Torchtune(Format):
    """`epoch_N/` (from 0 on) or `step_N/`; the last one of a training has no recipe's state.

    Without it, a directory looks like any other of these names.  It is torchtune's where one
    beside it is.  Through DCP the state is written at once, and `.metadata` when all is there.
    """

    name = "torchtune"
    summary = "torchtune: epoch_N/ and step_N/ with recipe_state.pt, or an adapter"
    source = (
        "torchtune: torchtune/training/checkpointing/_checkpointer.py save_checkpoint, "
        "_checkpoint_client.py, _utils.py"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "epoch_0/config.json": b"{}",
        "epoch_0/model-00001-of-00002.safetensors": safetensors("a"),
        "epoch_0/model-00002-of-00002.safetensors": safetensors("b"),
        "epoch_0/model.safetensors.index.json": shard_index(
            {
                "model-00001-of-00002.safetensors": ["a"],
                "model-00002-of-00002.safetensors": ["b"],
            }
        ),
        "epoch_0/recipe_state.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the directories with a recipe's state or an adapter, and those beside such a one."""
        found: dict[str, list[tuple[str, int, Folder]]] = {}
        for name, inside in folder.folders.items():
            said = _NAME.fullmatch(name) if name.startswith(("epoch_", "step_")) else None
            if said and not _is_others(inside):
                found.setdefault(said[1], []).append((name, int(said[2]), inside))
        above = folder.folders.get(_ABOVE)
        older = above is not None and RECIPE in above.files
        for unit, several in found.items():
            if older or any(_is_ours(inside) for *_, inside in several):
                for name, number, inside in several:
                    if any(is_tensor(path) for path in inside.paths()):
                        yield _claim(name, Unit(unit), number, inside, older=older)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, its indexes and its configs."""
        yield from prove_dcp(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)
        yield from prove_json(checkpoint, reader)

    def first(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return the recipe's state, or the adapter, by which it is told from any folder of weights."""
        names = (RECIPE, _ADAPTER)
        return ending(checkpoint, (f"{checkpoint.member}/{name}" for name in names))


def _is_ours(inside: Folder) -> bool:
    return RECIPE in inside.files or _ADAPTER in inside.files


def _is_others(inside: Folder) -> bool:
    """Whether it is NeMo-RL's, Orbax's or accelerate's, or DCP's without a recipe's state."""
    if RECIPE not in inside.files and (METADATA in inside.files or holds_data(inside.files)):
        return True
    others = ("training_info.json", "_CHECKPOINT_METADATA")
    return any(file in inside.files for file in others) or any(
        file.startswith("random_states_") for file in inside.files
    )


def _claim(name: str, unit: Unit, number: int, inside: Folder, *, older: bool) -> Claim:
    dcp = METADATA in inside.files or holds_data(inside.files)
    commit = read_commit({f: e for f, e in inside.files.items() if is_dcp_file(f)}) if dcp else None
    adapter = inside.folders.get("adapter_model")
    if commit is None and adapter is not None and adapter.files:
        inner = read_commit(adapter.files)
        commit = inner._replace(
            key=f"adapter_model/{inner.key}",
            marker=f"adapter_model/{inner.marker}" if inner.marker else None,
            missing=f"adapter_model/: {inner.missing}" if inner.missing else None,
        )
    marker = commit.marker if commit else None
    covered = {marker, *(path for path in inside.paths() if path.endswith(".distcp"))}
    return Claim(
        format=Torchtune.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{commit.key if commit else _key(inside)}",
        family=f"{unit}_#",
        step=number if unit is Unit.STEP else None,
        epoch=number if unit is Unit.EPOCH else None,
        counts=unit,
        missing=(commit.missing if commit else None) or next(_gaps(inside), None),
        marker=f"{name}/{marker}" if marker else None,
        expects_marker=commit is not None,
        uncovered=tuple(f"{name}/{path}" for path in inside.paths() if path not in covered)
        if commit
        else (),
        resumable=_resumes(inside, older=older, through_dcp=dcp),
    )


def _resumes(inside: Folder, *, older: bool, through_dcp: bool) -> bool | None:
    """Return whether the optimizer's state is there: in the recipe's state, or in what DCP saved."""
    if through_dcp:
        return None
    if RECIPE in inside.files:
        return True
    return None if older else False


def _key(inside: Folder) -> str:
    """Return the index, else the first model or adapter file."""
    key = key_of(inside)
    assert key is not None  # noqa: S101 - it holds a tensor file
    return key


def _gaps(inside: Folder) -> Iterator[str]:
    """Yield what is not there by names and sizes: weights, a shard, the index of several."""
    paths = list(inside.paths())
    if not any(is_tensor(path) and path != RECIPE for path in paths):
        yield "no weights"
    if gap := missing_alone(inside):
        yield gap
    several = any(int(one[1]) > 1 for path in paths if (one := _SHARD.fullmatch(path)))
    if several and _INDEX not in inside.files:
        yield f"no {_INDEX}, which is written after the shards"
    if _INDEX in inside.files and not any(_SHARD.fullmatch(path) for path in paths):
        yield f"no shard that {_INDEX} names"
