"""SpeechBrain: `CKPT+DATE+TIME+NN/`, one file for each object that is to be recovered."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format, ending
from ckptctl.formats._ckpt_yaml import read_meta
from ckptctl.formats._folders import key_of
from ckptctl.formats._json_files import too_large, unread
from ckptctl.formats._neighbours import Saved, lost_parts, unlike
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata
from ckptctl.patterns import later
from ckptctl.reading import SIDECAR_LIMIT, Reader, TooLargeError

_PREFIX = "CKPT+"
_META = "CKPT.yaml"
_SUFFIX = ".ckpt"
_DATED = later(r"CKPT\+[0-9]{4}-[0-9]{2}-[0-9]{2}\+[0-9]{2}-[0-9]{2}-[0-9]{2}\+[0-9]{2,}", re.ASCII)


@FORMATS.add("speechbrain")
class SpeechBrain(Format):
    """`CKPT+...`, ordered by the `unixtime` in `CKPT.yaml`; the time in the name is a local one.

    `CKPT.yaml` is written *first*, so it commits nothing: what must be there is told from the
    checkpoints before and after.
    """

    name = "speechbrain"
    summary = "SpeechBrain: CKPT+DATE+TIME+NN/ or CKPT+NAME/ with CKPT.yaml and *.ckpt"
    source = "speechbrain: utils/checkpoints.py Checkpointer save_checkpoint, _load_checkpoint"
    example: ClassVar[Mapping[str, bytes]] = {
        "CKPT+2026-01-02+03-04-05+00/CKPT.yaml": (
            b"# yamllint disable\nWER: 12.3\nend-of-epoch: true\nepoch: 5\nunixtime: 1767323045.5\n"
        ),
        "CKPT+2026-01-02+03-04-05+00/counter.ckpt": b"5",
        "CKPT+2026-01-02+03-04-05+00/model.ckpt": torch_zip(),
        "CKPT+2026-01-02+03-04-05+00/optimizer.ckpt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each directory with such a name that holds what SpeechBrain writes."""
        found = {
            name: inside
            for name, inside in folder.folders.items()
            if name.startswith(_PREFIX) and _is_ours(name, inside)
        }
        families: dict[str, list[Saved]] = {}
        for name, inside in found.items():
            if _missing(inside, None) is not None:
                continue  # what is torn by itself says nothing of the ones around it
            families.setdefault(_family(name), []).append(_saved(name, inside))
        lost = {name: file for one in families.values() for name, file in lost_parts(one).items()}
        for name, inside in found.items():
            yield _claim(name, inside, lost.get(name))

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the time, the epoch and the metrics in `CKPT.yaml`."""
        path = f"{claim.name}/{_META}"
        if _META not in folder.folders[claim.name].files:
            return Metadata()
        try:
            return read_meta(path, reader.read(path, SIDECAR_LIMIT))
        except TooLargeError:
            return unread(f"{path} {too_large(SIDECAR_LIMIT)}")

    def last(self, checkpoint: Checkpoint, made: Collection[str] = ()) -> tuple[str, ...]:
        """Return `CKPT.yaml`, without which SpeechBrain sees nothing, although it writes it first."""
        yaml = f"{checkpoint.member}/{_META}"
        return ending(checkpoint, (*super().last(checkpoint, made), yaml), made)


def _is_ours(name: str, inside: Folder) -> bool:
    """Whether it is SpeechBrain's; a name that goes on after the counter is a user's copy."""
    copied = _DATED.match(name) is not None and _DATED.fullmatch(name) is None
    said = names.parse(name.removeprefix(_PREFIX), file=False)
    return (
        not copied
        and not said.copy
        and (_META in inside.files or any(file.endswith(_SUFFIX) for file in inside.files))
    )


def _family(name: str) -> str:
    if _DATED.fullmatch(name):
        return f"{_PREFIX}#"
    return names.family(name, "", names.parse(name, file=False).spans)


def _saved(name: str, inside: Folder) -> Saved:
    """Return when it was saved, by its name if that says it, and the objects that it holds."""
    said = names.parse(name, file=False).saved_ns if _DATED.fullmatch(name) else None
    meta = inside.files.get(_META)
    time = said if said is not None else inside.mtime_ns if meta is None else meta.mtime_ns
    return Saved(time, name, frozenset(path for path in inside.paths() if path != _META))


def _claim(name: str, inside: Folder, lost: str | None) -> Claim:
    dated = _DATED.fullmatch(name) is not None
    said = names.Name() if dated else names.parse(name.removeprefix(_PREFIX), file=False)
    return Claim(
        format=SpeechBrain.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{key_of(inside)}",
        family=_family(name),
        step=said.step,
        epoch=said.epoch,
        counts=said.counts,
        metrics=said.metrics,
        missing=_missing(inside, lost),
        resumable=True if f"optimizer{_SUFFIX}" in inside.files else None,
    )


def _missing(inside: Folder, lost: str | None) -> str | None:
    """Return what is not there by names and sizes, `lost` being what the ones around it have."""
    if _META not in inside.files:
        return f"no {_META}, without which SpeechBrain does not see it"
    for file, entry in inside.files.items():
        if not entry.size and (file == _META or file.endswith(_SUFFIX)):
            return f"{file} is empty"
    if not any(file != _META for file in inside.paths()):
        return f"nothing but {_META}, which is written first"
    return unlike(f"no {lost}, which the checkpoints around it have") if lost else None
