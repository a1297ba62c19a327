"""NVIDIA NeMo 1 and 2: Lightning's names after a model's name and two dashes; `.nemo` archives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._core_config import CONFIG, why_uncommitted
from ckptctl.formats._dcp import is_dcp_file, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._json_files import prove_json
from ckptctl.formats._lightning_name import is_nemos, read_name
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_ARCHIVE = later(r"(?P<prefix>.+?)(?:-v[0-9]+)?\.nemo", re.DOTALL)
_RANK = later(
    r"(?:mp_rank_[0-9]+|tp_rank_[0-9]+_pp_rank_[0-9]+)(?:_fsdp_shard_[0-9]+)?|fsdp_shard_[0-9]+"
)
_CORE = frozenset({"metadata.json", "common.pt"})
_UNFINISHED = "-unfinished"


class _Weights(NamedTuple):
    """What commits the weights of a distributed checkpoint."""

    missing: str | None = None
    marker: str | None = None  # relative to the directory
    covered: str = ""  # the folder that the marker covers, with "/" at its end


@FORMATS.add("nemo")
class Nemo(Format):
    """A directory or a `.ckpt`; while it is written or deleted `<name>-unfinished` lies beside it."""

    name = "nemo"
    summary = "NVIDIA NeMo 1 and 2: gpt--val_loss=1.20-step=100-consumed_samples=6400.0[-last]"
    source = (
        "NeMo, nemo/utils/callbacks/nemo_model_checkpoint.py, "
        "nemo/lightning/pytorch/callbacks/model_checkpoint.py, nemo/utils/model_utils.py"
    )
    scans_everything = True  # it rebuilds its list from every directory beside its checkpoints
    example: ClassVar[Mapping[str, bytes]] = {
        f"gpt--val_loss=1.20-step=100-consumed_samples=6400.0/{path}": content
        for path, content in {
            "context/io.json": b"{}",
            "weights/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
            "weights/__0_0.distcp": torch_zip(),
            "weights/common.pt": torch_zip(),
            "weights/metadata.json": b'{"sharded_backend": "torch_dist"}',
        }.items()
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield directories by name and content, files by name, and archives beside these."""
        prefixes = set()
        for claim in (*_directories(folder), *_files(folder)):
            prefixes.add(claim.name.partition("--")[0])
            yield claim
        for file in folder.files:
            found = _ARCHIVE.fullmatch(file)
            if found and found["prefix"] in prefixes:
                yield Claim(
                    format=self.name,
                    kind=Kind.FILE,
                    name=file.removesuffix(".nemo"),
                    members=(file,),
                    key_file=file,
                    family=found["prefix"] + ".nemo",
                    named=True,
                    missing=_unfinished(file, folder),
                    resumable=False,
                )

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return that a rank's part of NeMo 1 is no whole, and why `metadata.json` commits nothing."""
        rank = folder.path.rpartition("/")[2]
        if claim.kind is Kind.FILE and _RANK.fullmatch(rank):
            text = f"{rank}/ holds one rank of checkpoints whose other ranks lie in other folders"
            return Metadata(unread=text)
        if claim.marker and claim.marker.endswith(f"/{CONFIG}"):
            entry = folder.find(claim.marker)
            return Metadata(
                missing=why_uncommitted(claim.marker, entry.size if entry else 0, reader)
            )
        return Metadata()

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, `.distcp` by what their index says of them."""
        yield from prove_dcp(checkpoint, reader)
        yield from prove_json(checkpoint, reader, ("io.json",))


def _directories(folder: Folder) -> Iterator[Claim]:
    """Yield NeMo 2's directories (`weights/`), and NeMo 1's (the weights lie in it directly)."""
    for directory, inside in folder.folders.items():
        name = read_name(directory)
        if name is None or directory.endswith(".ckpt"):
            continue
        second = "weights" in inside.folders or "context" in inside.folders
        if not second and not (is_nemos(directory) and _is_core(inside)):
            continue
        paths = sorted(inside.paths())
        if not paths:
            continue
        weights = _second(inside) if second else _commit(inside, "")
        yield Claim(
            format=Nemo.name,
            kind=Kind.DIRECTORY,
            name=directory,
            members=(directory,),
            key_file=f"{directory}/{weights.marker or paths[0]}",
            family=name.family,
            step=name.step,
            epoch=name.epoch,
            counts=name.counts,
            log_offset=name.log_offset,
            metrics=name.metrics,
            zeros=name.zeros,
            missing=_unfinished(directory, folder) or weights.missing,
            marker=f"{directory}/{weights.marker}" if weights.marker else None,
            uncovered=tuple(f"{directory}/{p}" for p in paths if not p.startswith(weights.covered)),
            claims_sidecars=() if second else ("metadata.json",),
        )


def _files(folder: Folder) -> Iterator[Claim]:
    """Yield the files of checkpoints that are not distributed."""
    for file in folder.files:
        stem = file.removesuffix(".ckpt")
        if stem == file or not is_nemos(stem) or (name := read_name(stem, ".ckpt")) is None:
            continue
        yield Claim(
            format=Nemo.name,
            kind=Kind.FILE,
            name=stem,
            members=(file,),
            key_file=file,
            family=name.family,
            step=name.step,
            epoch=name.epoch,
            counts=name.counts,
            log_offset=name.log_offset,
            metrics=name.metrics,
            zeros=name.zeros,
            missing=_unfinished(file, folder),
        )


def _unfinished(name: str, folder: Folder) -> str | None:
    """Return that the sibling is there which NeMo makes before it saves or deletes; else None."""
    base = name.removesuffix(".nemo").removesuffix(".ckpt").removesuffix("-EMA")
    marker = base + _UNFINISHED
    return f"{marker} is still there" if marker in folder.files else None


def _is_core(inside: Folder) -> bool:
    return any(file in _CORE or is_dcp_file(file) for file in inside.files)


def _second(inside: Folder) -> _Weights:
    weights = inside.folders.get("weights")
    if weights is None or next(weights.walk(), None) is None:
        return _Weights("no weights/")
    return _commit(weights, "weights/")


def _commit(weights: Folder, prefix: str) -> _Weights:
    """Return how Megatron Core, or torch's DCP alone, commits a folder of weights.

    `metadata.json` comes last.  DCP alone ends with `.metadata`; where Megatron's `common.pt` lies
    beside it, that is not the end yet.  Hugging Face weights have neither.
    """
    files = {name: entry for name, entry in weights.files.items() if is_dcp_file(name)}
    dcp = read_commit(files) if files else None
    if dcp is not None and dcp.missing is not None:
        return _Weights(f"{dcp.missing} ({prefix or '.'})")
    if "metadata.json" in weights.files:
        return _Weights(None, f"{prefix}metadata.json", prefix)
    if "common.pt" in weights.files:
        return _Weights(f"no {prefix}metadata.json, which is written last")
    if dcp is not None:
        return _Weights(None, f"{prefix}{dcp.marker}", prefix)
    return _Weights()
