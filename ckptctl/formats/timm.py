"""timm: ranked epochs, a recovery file, and hard links under fixed names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Reader

_SUFFIX = ".pth.tar"
_NUMBER = r"(?:0|[1-9][0-9]{0,3999})"
_NAME = later(
    rf"checkpoint-(?P<epoch>{_NUMBER})|recovery-(?P<during>{_NUMBER})-{_NUMBER}"
    r"|(?P<named>last|model_best)|(?P<rest>recovery_)?tmp"
)
_EPOCHS = "checkpoint-#.pth.tar"
_RECOVERIES = "recovery-#-#.pth.tar"


@FORMATS.add("timm")
class Timm(Format):
    """`checkpoint-E.pth.tar` and its like; each is one ZIP of torch, no tar.

    Epochs count from zero.  `last`, the epoch and `model_best` are hard links to the same bytes
    where the file system has links.  A save goes to `tmp` or `recovery_tmp` and is renamed.
    `milestone-N.pth.tar`, which timm itself never deletes, is left alone.
    """

    name = "timm"
    summary = "timm: checkpoint-12.pth.tar, recovery-12-500.pth.tar, last and model_best.pth.tar"
    source = "timm 1.0.31: timm/utils/checkpoint_saver.py"
    example: ClassVar[Mapping[str, bytes]] = {"checkpoint-12.pth.tar": torch_zip()}

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each file of such a name."""
        for file, entry in folder.files.items():
            if file.endswith(_SUFFIX) and (found := _NAME.fullmatch(file.removesuffix(_SUFFIX))):
                yield _claim(file, found, entry.size)


def _claim(file: str, found: re.Match[str], size: int) -> Claim:
    epoch = found["epoch"] or found["during"]
    temporary = epoch is None and found["named"] is None
    family = _RECOVERIES if found["during"] or found["rest"] else _EPOCHS
    missing = "timm had not renamed it yet" if temporary else None
    return Claim(
        format=Timm.name,
        kind=Kind.FILE,
        name=found[0],
        members=(file,),
        key_file=file,
        family=file if found["named"] else family,
        epoch=None if epoch is None else int(epoch),
        # What the log says of an epoch is not yet true in the midst of it.
        counts=Unit.EPOCH if found["epoch"] else None,
        named=found["named"] is not None,
        temporary=temporary,
        missing=missing if size else f"{file} is empty",
    )
