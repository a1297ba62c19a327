"""PyTorch Lightning: checkpoints that are one file, named by `ModelCheckpoint`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._lightning_name import Name, fixed_name, is_nemos, read_name
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Metadata
from ckptctl.patterns import later
from ckptctl.reading import Reader

SUFFIX = ".ckpt"

_SPLIT = later(r"(?:.*[-_ ])?(?:global_step|step|epoch)=[^=]+-[^=]+", re.DOTALL)
"""A directory that a "/" in a metric's name makes: `epoch=1-val` of `epoch=1-val/loss=0.5.ckpt`."""


@FORMATS.add("lightning")
class Lightning(Format):
    """`epoch=E-step=S-metric=V[-vN].ckpt`, `last[-vN].ckpt`, `hpc_ckpt_N.ckpt`."""

    name = "lightning"
    summary = "PyTorch Lightning: epoch=3-step=1000-val_loss=0.5.ckpt, last.ckpt, hpc_ckpt_1.ckpt"
    source = (
        "lightning 2.6, pytorch/callbacks/model_checkpoint.py, on_exception_checkpoint.py, "
        "trainer/connectors/checkpoint_connector.py hpc_save_path"
    )
    example: ClassVar[Mapping[str, bytes]] = {"epoch=3-step=1000-val_loss=0.25.ckpt": torch_zip()}

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each file with such a name, and each directory that a "/" in a metric made."""
        for file in folder.files:
            stem = file.removesuffix(SUFFIX)
            if stem != file and not is_nemos(stem):
                yield from _file(file, stem)
        for name, inside in folder.folders.items():
            if _SPLIT.fullmatch(name) and not name.endswith(SUFFIX):
                yield from _split(name, inside)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return nothing, but that two values of one metric in one directory are none."""
        if claim.kind is Kind.DIRECTORY and len(_leaves(folder.folders[claim.members[0]])) > 1:
            text = f"{claim.name}/ holds several checkpoints, so its metrics cannot be told"
            return Metadata(unread=text)
        return Metadata()


def _file(file: str, stem: str) -> Iterator[Claim]:
    """Yield the claim of a file whose name is one of Lightning's."""
    name = fixed_name(stem, SUFFIX) or read_name(stem, SUFFIX)
    if name is not None:
        yield _claim(Kind.FILE, stem, file, file, name)


def _claim(kind: Kind, shown: str, member: str, key_file: str, name: Name) -> Claim:
    return Claim(
        format=Lightning.name,
        kind=kind,
        name=shown,
        members=(member,),
        key_file=key_file,
        family=name.family,
        named=name.named,
        step=name.step,
        epoch=name.epoch,
        counts=name.counts,
        log_offset=name.log_offset,
        metrics=name.metrics,
        zeros=name.zeros,
    )


def _leaves(inside: Folder) -> list[str]:
    """Return the checkpoint files of such a directory; none where it holds anything else."""
    paths = [path for path in inside.paths() if not path.endswith(".json")]
    fits = all(path.endswith(SUFFIX) and "=" in path for path in paths)
    return sorted(paths) if fits and inside.error is None else []


def _split(directory: str, inside: Folder) -> Iterator[Claim]:
    """Yield the claim of a directory whose name goes on in the name of the file in it.

    Where files of several steps lie in it, it is a run.
    """
    leaves = _leaves(inside)
    said = [read_name(f"{directory}/{leaf.removesuffix(SUFFIX)}") for leaf in leaves]
    whole = read_name(directory)
    first = said[0] if said else None
    if whole is None or first is None:
        return
    if any(name is None or name[:2] != first[:2] for name in said):
        return
    metrics = first.metrics if len(said) == 1 else {}
    name = first._replace(metrics=metrics, family=whole.family)
    yield _claim(Kind.DIRECTORY, directory, directory, f"{directory}/{leaves[0]}", name)
