"""ESPnet2: weights of each epoch beside one file to resume from; or a DeepSpeed directory an epoch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._deepspeed_grid import is_state, is_tag, key_of, read_grid
from ckptctl.formats._neighbours import Saved, lost_parts, unlike
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Reader

_RESUME = "checkpoint.pth"
_EPOCH = later(r"([0-9]{1,4000})epoch\.pth")  # no more digits than int() takes
_COPY = later(
    r"latest\.pth|(?:train|valid)\..+\.(?:best|ave(?:_[0-9]+best)?)(?:\.till[0-9]+epoch)?\.pth",
    re.DOTALL,
)
_FOLDER = later(r"checkpoint_([0-9]{1,4000})")
_LATEST = "latest"


@FORMATS.add("espnet")
class Espnet(Format):
    """`Nepoch.pth`, counted from 1: weights alone; `checkpoint.pth` resumes, and is overwritten.

    `latest.pth` and `PHASE.METRIC.best.pth` are links, which are no checkpoints but guard what they
    name; averages of the best are files.  The DeepSpeed trainer saves `checkpoint_E/E/` instead.
    """

    name = "espnet"
    summary = "ESPnet2: Nepoch.pth, checkpoint.pth, averages; checkpoint_E/E/ of DeepSpeed"
    source = (
        "espnet 202511: espnet2/train/trainer.py, espnet2/train/deepspeed_trainer.py, "
        "espnet2/main_funcs/average_nbest_models.py"
    )
    example: ClassVar[Mapping[str, bytes]] = {"5epoch.pth": torch_zip()}

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each epoch; where there are any, what the trainer makes of them too."""
        epochs = [
            (file, int(found[1]))
            for file in folder.files
            if file.endswith("epoch.pth") and (found := _EPOCH.fullmatch(file))
        ]
        for file, epoch in epochs:
            yield _file(file, folder, epoch)
        if epochs:
            for file in folder.files:
                if file == _RESUME or (file.endswith(".pth") and _COPY.fullmatch(file)):
                    yield _file(file, folder, None)
        yield from _directories(folder)


def _file(file: str, folder: Folder, epoch: int | None) -> Claim:
    stem = file.removesuffix(".pth")
    return Claim(
        format=Espnet.name,
        kind=Kind.FILE,
        name=stem,
        members=(file,),
        key_file=file,
        family=names.family(stem, ".pth", ()) if epoch is None else "#epoch.pth",
        epoch=epoch,
        counts=None if epoch is None else Unit.EPOCH,
        named=epoch is None,
        missing=None if folder.files[file].size else f"{file} is empty",
        resumable=file == _RESUME,
    )


def _directories(folder: Folder) -> Iterator[Claim]:
    """Yield the directories of the DeepSpeed trainer: the tag in each is the epoch once more."""
    found = {}
    for name, inside in folder.folders.items():
        if name.startswith("checkpoint_") and (number := _FOLDER.fullmatch(name)):
            tag = inside.folders.get(number[1])
            if tag is not None and is_tag(tag):
                found[name] = int(number[1]), tag
    saved = [
        Saved(epoch, name, frozenset(file for file in tag.files if is_state(file)))
        for name, (epoch, tag) in found.items()
    ]
    lost = lost_parts(saved)
    for name, (epoch, tag) in found.items():
        doubt = (
            unlike(f"no {lost[name]}, which the epochs around it have") if name in lost else None
        )
        yield Claim(
            format=Espnet.name,
            kind=Kind.DIRECTORY,
            name=name,
            members=(name,),
            key_file=f"{name}/{name.removeprefix('checkpoint_')}/{key_of(tag.files)}",
            family="checkpoint_#",
            epoch=epoch,
            counts=Unit.EPOCH,
            missing=_missing(folder.folders[name], tag) or doubt,
            resumable=True if read_grid(tag.files).world else None,
        )


def _missing(inside: Folder, tag: Folder) -> str | None:
    if hole := read_grid(tag.files).missing:
        return f"no {hole}"
    empty = next((f for f, entry in tag.files.items() if is_state(f) and not entry.size), None)
    if empty:
        return f"{empty} is empty"
    return None if _LATEST in inside.files else f"no {_LATEST}, which is written after all ranks"
