"""NeMo-RL: `step_N/` with a policy, renamed from `tmp_step_N/` when it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format, ending
from ckptctl.formats._dcp_below import uncommitted_below
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._folders import is_tensor
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._json_files import read_json, unread
from ckptctl.formats._neighbours import Saved, lost_parts, unlike
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader
from ckptctl.sidecar import as_number

_INFO = "training_info.json"
_NAME = later(r"(tmp_|old_|)step_([0-9]{1,4000})")  # no more digits than int() takes
_MODELS = ("policy", "value")
_MEASURED = ("val", "train")
"""How the keys of metrics begin in the training info; its other numbers count and place it."""


@FORMATS.add("nemo-rl")
class NemoRl(Format):
    """`step_N/`, whose name commits it; `training_info.json` is written first of all, so it proves nothing.

    Where `step_N` is saved anew, the old one is `old_step_N` until the new one has its name.  So
    `old_step_N` alone is checkpoint N; beside a whole `step_N` it is what was not deleted in time.
    """

    name = "nemo-rl"
    summary = "NeMo-RL: step_N/ with training_info.json and policy/, old_step_N/ where it is alone"
    source = (
        "NeMo-RL: nemo_rl/utils/checkpoint.py init_tmp_checkpoint, _rename_checkpoint, "
        "get_resume_paths; nemo_rl/algorithms/grpo.py"
    )
    own_names = later(r"step_[0-9]+")
    parts: ClassVar = later(r"iter_[0-9]{7,}")  # Megatron Core's, always of iteration 0
    example: ClassVar[Mapping[str, bytes]] = {
        "step_10/config.yaml": b"grpo: {}\n",
        "step_10/policy/optimizer/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
        "step_10/policy/optimizer/__0_0.distcp": torch_zip(),
        "step_10/policy/weights/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
        "step_10/policy/weights/__0_0.distcp": torch_zip(),
        "step_10/train_dataloader.pt": torch_zip(),
        "step_10/training_info.json": b'{"consumed_samples": 320, "val:accuracy": 0.5}',
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the steps, and what is left of saves and of deletions."""
        found: dict[str, tuple[str, Claim]] = {}
        for name, inside in folder.folders.items():
            if "step_" in name and (said := _NAME.fullmatch(name)) and _is_ours(inside):
                found[name] = said[1], _claim(name, said, inside)
        for name, part in _lost(found, folder).items():
            prefix, claim = found[name]
            doubt = unlike(f"no {part}, which the steps around it have")
            found[name] = prefix, replace(claim, missing=claim.missing or doubt)
        for name, (prefix, claim) in found.items():
            twin = found.get(name.removeprefix(prefix)) if prefix == "old_" else None
            if twin is not None and twin[1].missing is None:
                text = f"{twin[1].name}/ took its place"
                yield replace(claim, temporary=True, committed=False, missing=text)
            else:
                yield claim

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the metrics in the training info."""
        entry = folder.folders[claim.name].files.get(_INFO)
        if entry is None or claim.temporary:
            return Metadata()
        path = f"{claim.name}/{_INFO}"
        said = read_json(reader, path, entry.size)
        if isinstance(said, str):
            return unread(f"{path} {said}")
        return Metadata(
            metrics={
                key: number
                for key, value in said.items()
                if key.startswith(_MEASURED) and (number := as_number(value)) is not None
            }
        )

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, and what its indexes name in vain."""
        yield from prove_dcp(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)

    def first(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return `training_info.json`, which NeMo-RL writes first as well."""
        return ending(checkpoint, (f"{checkpoint.member}/{_INFO}",))


def _is_ours(inside: Folder) -> bool:
    """Whether it holds what NeMo-RL writes: the info, or a model's weights beside its config."""
    return _INFO in inside.files or (
        "config.yaml" in inside.files
        and any("weights" in inside.folders[m].folders for m in _MODELS if m in inside.folders)
    )


def _lost(found: Mapping[str, tuple[str, Claim]], folder: Folder) -> dict[str, str]:
    """Return what steps lack and those right before and after them have."""
    saved = [
        Saved(claim.step or 0, name, _parts(folder.folders[name]))
        for name, (prefix, claim) in found.items()
        if prefix != "tmp_"
    ]
    return lost_parts(saved)


def _parts(inside: Folder) -> frozenset[str]:
    """Return what a step consists of: its tensor files, and its folders with what lies in them."""
    files = {file for file in inside.files if is_tensor(file)}
    return frozenset(files).union(
        f"{name}/{below}/" for name, deep in inside.folders.items() for below in deep.folders
    )


def _claim(name: str, said: re.Match[str], inside: Folder) -> Claim:
    unfinished = said[1] == "tmp_"
    paths = sorted(inside.paths())
    on_disk = any(entry.inode for _, entry in inside.walk())  # in a bucket nothing is renamed
    return Claim(
        format=NemoRl.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{_key(paths)}",
        family="step_#",
        step=int(said[2]),
        counts=Unit.STEP,
        temporary=unfinished,
        missing="NeMo-RL had not renamed it yet" if unfinished else _missing(inside),
        committed=on_disk and not unfinished,
        resumable=_resumable(inside),
    )


def _key(paths: list[str]) -> str:
    """Return the marker or index of the policy's weights, else its first file of tensors."""
    weights = [path for path in paths if path.startswith("policy/weights/")]
    for end in ("/metadata.json", "/.metadata", ".index.json"):
        if found := next((path for path in weights if path.endswith(end)), None):
            return found
    return next((path for path in weights if is_tensor(path)), paths[0])


def _missing(inside: Folder) -> str | None:
    if _INFO not in inside.files:
        return f"no {_INFO}"
    weights = inside.folders.get("policy", Folder("")).folders.get("weights")
    if weights is None or next(weights.walk(), None) is None:
        return "no policy/weights/"
    for path, entry in inside.walk():
        if not entry.size and (path == _INFO or is_tensor(path)) and not path.endswith(".distcp"):
            return f"{path} is empty"
    return uncommitted_below(inside)


def _resumable(inside: Folder) -> bool | None:
    """Whether the policy's optimizer is there; Megatron keeps it among the weights."""
    policy = inside.folders.get("policy", Folder(""))
    optimizer = policy.folders.get("optimizer")
    if optimizer is not None and next(optimizer.walk(), None) is not None:
        return True
    weights = policy.folders.get("weights", Folder(""))
    return None if any(name.startswith("iter_") for name in weights.folders) else False
