"""detectron2, and what else saves through fvcore's `PeriodicCheckpointer`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Reader

_SUFFIX = ".pth"
_TRACKER = "last_checkpoint"
_NAME = later(r"model_(?:(?P<step>[0-9]{7}|[1-9][0-9]{7,3999})|final|best)")


@FORMATS.add("detectron2")
class Detectron2(Format):
    """`model_N.pth` with at least seven digits, `model_final.pth`, `model_best.pth`.

    Iterations count from zero, in `metrics.json` too: after 5000 of them N is 4999.
    """

    name = "detectron2"
    summary = "detectron2 and fvcore: model_0004999.pth, model_final.pth, model_best.pth"
    source = (
        "fvcore: common/checkpoint.py PeriodicCheckpointer, Checkpointer.tag_last_checkpoint; "
        "detectron2: engine/hooks.py BestCheckpointer"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "last_checkpoint": b"model_0004999.pth",
        "model_0004999.pth": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each file of such a name."""
        for file, entry in folder.files.items():
            if not file.startswith("model_") or not file.endswith(_SUFFIX):
                continue
            if found := _NAME.fullmatch(file.removesuffix(_SUFFIX)):
                yield _claim(file, found, entry.size)

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what `last_checkpoint` names: the file that was saved last, of whatever kind.

        MMEngine has one of the same name, but it holds a path.
        """
        target = read_tracker(_TRACKER, folder, reader)
        if target and "/" not in target:
            yield Pointer(_TRACKER, target)


def _claim(file: str, found: re.Match[str], size: int) -> Claim:
    step = found["step"]
    return Claim(
        format=Detectron2.name,
        kind=Kind.FILE,
        name=found[0],
        members=(file,),
        key_file=file,
        family="model_#.pth" if step else file,
        step=int(step) if step else None,
        counts=Unit.STEP if step else None,
        named=step is None,
        missing=None if size else f"{file} is empty",
    )
