"""PyTorch Lightning: checkpoints that are directories named `....ckpt` (FSDP, DeepSpeed)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp import is_dcp_file, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._deepspeed_grid import read_grid
from ckptctl.formats._folders import empty_in
from ckptctl.formats._lightning_name import Name, fixed_name, read_name
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata
from ckptctl.reading import TRACKER_LIMIT, Finding, Reader, TooLargeError

SUFFIX = ".ckpt"
META = "meta.pt"
TAG = "checkpoint"
LATEST = "latest"


@FORMATS.add("lightning-fsdp")
class LightningFsdp(Format):
    """DCP's files and `meta.pt`, which is written last; ModelParallelStrategy has the same."""

    name = "lightning-fsdp"
    summary = "PyTorch Lightning, FSDP or ModelParallel: epoch=3-step=1000.ckpt/ with meta.pt"
    source = "lightning 2.6, fabric/strategies/fsdp.py save_checkpoint, _is_sharded_checkpoint"
    example: ClassVar[Mapping[str, bytes]] = {
        "epoch=3-step=1000.ckpt/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
        "epoch=3-step=1000.ckpt/__0_0.distcp": torch_zip(),
        "epoch=3-step=1000.ckpt/meta.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory `....ckpt` that holds files of DCP, or what is left of one."""
        return _directories(folder, self.name, _is_fsdp, META, _fsdp_gap)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, and what DCP's index names in vain."""
        return prove_dcp(checkpoint, reader)


@FORMATS.add("lightning-deepspeed")
class LightningDeepSpeed(Format):
    """DeepSpeed's states under the tag `checkpoint`, which `latest` names when all ranks are done."""

    name = "lightning-deepspeed"
    summary = "PyTorch Lightning, DeepSpeed: epoch=3-step=1000.ckpt/ with checkpoint/ and latest"
    source = "lightning 2.6, fabric/strategies/deepspeed.py _validate_checkpoint_directory"
    example: ClassVar[Mapping[str, bytes]] = {
        f"epoch=3-step=1000.ckpt/{path}": content
        for path, content in {
            "checkpoint/mp_rank_00_model_states.pt": torch_zip(),
            "checkpoint/zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
            "latest": b"checkpoint",
            "zero_to_fp32.py": b"",
        }.items()
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory `....ckpt` that holds DeepSpeed's tag, or what is left of one."""
        return _directories(folder, self.name, _is_deepspeed, LATEST, _deepspeed_gap)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return that the states are missing where `latest` does not name them."""
        if claim.marker is None:
            return Metadata()
        try:
            tag = reader.read(claim.marker, TRACKER_LIMIT).strip()
        except TooLargeError:
            tag = b""
        return Metadata(missing=None if tag == TAG.encode() else f"no {LATEST} that names {TAG}")


def _directories(
    folder: Folder,
    layout: str,
    fits: Callable[[Folder], bool],
    last: str,
    gap: Callable[[Folder], str | None],
) -> Iterator[Claim]:
    """Yield a claim for each directory with Lightning's suffix whose content fits the layout."""
    for directory, inside in folder.folders.items():
        stem = directory.removesuffix(SUFFIX)
        if stem == directory or not fits(inside) or (name := _name(stem)) is None:
            continue
        paths = sorted(inside.paths())
        if paths:
            marked = last in inside.files
            yield Claim(
                format=layout,
                kind=Kind.DIRECTORY,
                name=directory,
                members=(directory,),
                key_file=f"{directory}/{last if marked else paths[0]}",
                family=name.family,
                step=name.step,
                epoch=name.epoch,
                counts=name.counts,
                log_offset=name.log_offset,
                metrics=name.metrics,
                zeros=name.zeros,
                named=name.named,
                missing=gap(inside)
                or empty_in(inside)
                or (None if marked else f"no {last}, which is written last"),
                marker=f"{directory}/{last}" if marked else None,
                expects_marker=True,
            )


def _name(stem: str) -> Name | None:
    """Return what a name says: a template's pairs, or a number as the grammar of names finds it.

    A template of `auto_insert_metric_name=False` is free text.
    """
    if (name := fixed_name(stem, SUFFIX) or read_name(stem, SUFFIX)) is not None:
        return name
    free = names.parse(stem, file=False)
    if free.copy or not free.numbered:
        return None
    family = names.family(stem, SUFFIX, free.spans)
    return Name(free.step, free.epoch, free.metrics, family, free.counts)


def _is_fsdp(inside: Folder) -> bool:
    return any(is_dcp_file(name) or name == META for name in inside.files)


def _fsdp_gap(inside: Folder) -> str | None:
    files = {name: entry for name, entry in inside.files.items() if is_dcp_file(name)}
    return read_commit(files).missing


def _is_deepspeed(inside: Folder) -> bool:
    return (TAG in inside.folders or LATEST in inside.files) and not _is_fsdp(inside)


def _deepspeed_gap(inside: Folder) -> str | None:
    tag = inside.folders.get(TAG)
    missing = read_grid(tag.files).missing if tag is not None else "states"
    return f"no {missing} in {TAG}/" if missing else None
