"""Ultralytics YOLO: `weights/` with last.pt, best.pt and, where asked for, an epochN.pt now and then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Reader

_LAST = "last.pt"
_NAMED = (_LAST, "best.pt")
_EPOCH = later(r"epoch(0|[1-9][0-9]{0,3999})\.pt")  # no more digits than int() takes
_FOLDER = "weights"


@FORMATS.add("ultralytics")
class Ultralytics(Format):
    """`last.pt` of each epoch, `best.pt`, and `epochN.pt` with the zero-based epoch.

    Loops of users have the same names, so these are Ultralytics' only in a directory called
    `weights`, as its trainer calls it whatever the run is called, and only beside `last.pt`, which
    it writes before the other two.  `results.csv` counts epochs from 1.
    """

    name = "ultralytics"
    summary = "Ultralytics YOLO: weights/ with last.pt, best.pt and epochN.pt"
    source = "ultralytics 8.4: engine/trainer.py BaseTrainer save_model, final_eval"
    rewrites = frozenset(_NAMED)  # at the end both lose their optimizer states: `strip_optimizer`
    example: ClassVar[Mapping[str, bytes]] = {_LAST: torch_zip()}

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the two that the trainer replaces, and each epoch that it kept."""
        if _LAST not in folder.files or folder.name not in {"", _FOLDER}:
            return
        for file in _NAMED:
            if file in folder.files:
                yield _claim(file, folder, None)
        for file in folder.files:
            if file.startswith("epoch") and (found := _EPOCH.fullmatch(file)):
                yield _claim(file, folder, int(found[1]))


def _claim(file: str, folder: Folder, epoch: int | None) -> Claim:
    named = epoch is None
    return Claim(
        format=Ultralytics.name,
        kind=Kind.FILE,
        name=file.removesuffix(".pt"),
        members=(file,),
        key_file=file,
        family=file if named else "epoch#.pt",
        epoch=epoch,
        counts=None if named else Unit.EPOCH,
        log_offset=0 if named else 1,
        named=named,
        missing=None if folder.files[file].size else f"{file} is empty",
    )
