"""Plain torch.distributed.checkpoint directories, torchtitan's among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp import METADATA, Commit, holds_data, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._hf_parts import is_trainers
from ckptctl.formats._lightning_name import is_nemos
from ckptctl.formats._neighbours import Saved, lacking, lost_ranks
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_TITAN = later(r"step-[0-9]+")
_OTHERS = later(r"iter_[0-9]{7,}|.+\.ckpt|ep[0-9]+-ba[0-9]+", re.DOTALL)
"""Names of Megatron-LM, Lightning and Composer, which save through DCP."""
_SIGNS = ("common.pt", "meta.pt", "recipe_state.pt")
"""Files beside the data by which Megatron Core, Lightning FSDP and torchtune are told."""


@FORMATS.add("torch-dcp")
class TorchDcp(Format):
    """A directory with `__R_F.distcp` files whose name carries a step or an epoch."""

    name = "torch-dcp"
    summary = "torch.distributed.checkpoint, torchtitan: a numbered directory with .distcp files"
    source = (
        "pytorch: torch/distributed/checkpoint/filesystem.py; "
        "torchtitan: components/checkpointer/base.py _find_load_step"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "step-1000/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
        "step-1000/__0_0.distcp": torch_zip(),
        "step-1000/__1_0.distcp": b"",
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each numbered directory with data files; one without a number nothing names.

        torchtitan counts a `step-N` that has lost its data files, so they are not asked for there.
        """
        claims: list[Claim] = []
        saved: dict[str, list[Saved]] = {}
        for name, inside in folder.folders.items():
            if not names.has_number_word(name):
                continue
            found = names.parse(name, file=False)
            if not found.numbered or names.is_copy(name, found) or _is_others(name, inside):
                continue
            titan = _TITAN.fullmatch(name) is not None and METADATA in inside.files
            if not titan and not holds_data(inside.files):
                continue
            commit = read_commit(inside.files)
            claim = _claim(name, found, commit, inside)
            claims.append(claim)
            if commit.ranks:
                number = found.step if found.step is not None else found.epoch or 0
                one = Saved(number, name, commit.ranks)
                saved.setdefault(claim.family, []).append(one)
        lost = {name: file for one in saved.values() for name, file in lost_ranks(one).items()}
        for claim in claims:
            if claim.missing is None and claim.name in lost:
                yield replace(claim, missing=lacking(lost[claim.name]))
            else:
                yield claim

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield each data file that `.metadata` names in vain or that is cut off."""
        yield from prove_dcp(checkpoint, reader)


def _is_others(name: str, inside: Folder) -> bool:
    """Whether a directory with DCP files is one of a framework that has a format of its own."""
    named = _OTHERS.fullmatch(name) is not None or is_nemos(name) or is_trainers(name, inside.files)
    return named or any(sign in inside.files for sign in _SIGNS)


def _claim(name: str, found: names.Name, commit: Commit, inside: Folder) -> Claim:
    return Claim(
        format=TorchDcp.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{commit.key}",
        family=names.family(name, "", found.spans),
        step=found.step,
        epoch=found.epoch,
        counts=found.counts,
        metrics=found.metrics,
        missing=commit.missing,
        marker=f"{name}/{commit.marker}" if commit.marker else None,
        expects_marker=True,
        uncovered=_uncovered(name, inside, commit.uncovered),
    )


def _uncovered(name: str, inside: Folder, beside: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that no marker of DCP covers: what others put beside or below its files."""
    return tuple(
        f"{name}/{path}" for path in (*beside, *(f"{folder}/" for folder in inside.folders))
    )
