"""MMEngine, and what trains with it: MMDetection, MMSegmentation, MMPose, ..."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Digest, Format, Pointer
from ckptctl.formats._deepspeed_grid import read_grid, without_precision
from ckptctl.formats._folders import is_tensor, key_of
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.formats._mmengine_name import SUFFIX, Name, read_name
from ckptctl.formats._neighbours import Saved, lacking, lost_ranks
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_TRACKER = "last_checkpoint"
_META = "meta.pth"
_RANK = later(r"rank([0-9]{1,9})\.pth|.*_(?:model|optim)_states\.pt")
_PARTS = frozenset({"model", "optimizer"})  # of ColossalAI, beside meta.pth
_RECORD = b"PK\3\4"
_NAME_AT = 30  # where the first name stands in a ZIP; its length is 4 bytes before


@FORMATS.add("mmengine")
class MMEngine(Format):
    """`epoch_N.pth` or `iter_N.pth`, counted from one; `best_METRIC_epoch_N.pth`; `NAME-SHA8.pth`.

    With DeepSpeed, FSDP or ColossalAI it is a directory of that name.  The best one is saved without
    the optimizer, and the hook itself deletes the one before it.  Published weights carry the first
    eight digits of a SHA-256.  A validation is logged with its epoch as `step`.
    """

    name = "mmengine"
    summary = (
        "MMEngine (MMDetection, ...): epoch_12.pth, iter_5000.pth, best_coco_bbox_mAP_epoch_9.pth"
    )
    source = (
        "mmengine: hooks/checkpoint_hook.py, runner/checkpoint.py save_checkpoint, "
        "_strategy/{deepspeed,fsdp,colossalai}.py save_checkpoint"
    )
    parts: ClassVar = later(r"scheduler")  # ColossalAI: scheduler/scheduler_0.pth
    example: ClassVar[Mapping[str, bytes]] = {
        "epoch_12.pth": torch_zip(),
        "last_checkpoint": b"/data/run/epoch_12.pth",
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield the files and the directories of such names.

        Raises OSError where there are directories, and the tracker cannot be read.
        """
        for file, entry in folder.files.items():
            if file.endswith(SUFFIX) and (name := read_name(file)):
                yield _claim(
                    Kind.FILE,
                    file,
                    name,
                    key_file=file,
                    missing=None if entry.size else f"{file} is empty",
                    resumable=False if name.best or name.sha else None,
                )
        found = {
            directory: name
            for directory, inside in folder.folders.items()
            if directory.endswith(SUFFIX)
            and _holds_states(inside)
            and (name := read_name(directory))
        }
        if not found:
            return
        failed, vouched = None, None
        try:
            vouched = _target(folder, reader)
        except OSError as error:
            failed = error
        lost = _lost(found, folder, vouched)
        for directory, name in found.items():
            inside = folder.folders[directory]
            yield _claim(
                Kind.DIRECTORY,
                directory,
                name,
                key_file=f"{directory}/{_META if _META in inside.files else key_of(inside)}",
                missing=_missing(inside)
                or (lacking(lost[directory]) if directory in lost else None),
                resumable=_resumable(inside),
            )
        if failed is not None:
            raise failed

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what `last_checkpoint` names: a whole path, which may lie elsewhere (`out_dir`)."""
        if target := _target(folder, reader):
            yield Pointer(_TRACKER, target)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files, and what ColossalAI's indexes name in vain."""
        yield from super().prove(checkpoint, reader)
        yield from prove_indexes(checkpoint, reader)

    def digests(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Digest]:
        """Yield the digest that a published file has in its name.

        The tools that publish (`publish_model.py`) hash the file.  CheckpointHook hashes a pickle that
        it never writes: a digest of other bytes, which no file agrees with.  The two are told apart
        by the ZIP's top folder, which torch calls like the file it writes to, or `archive`.
        """
        name = read_name(checkpoint.key_file)
        if name is None or name.sha is None or checkpoint.kind is not Kind.FILE:
            return
        with reader.open(checkpoint.key_file) as blob:
            head = blob.read(0, 512)
        stem = checkpoint.key_file.removesuffix(f"-{name.sha}{SUFFIX}")
        sure = not head.startswith(_RECORD) or head[_NAME_AT:].startswith(f"{stem}/".encode())
        yield Digest(checkpoint.key_file, "sha256", name.sha, checkpoint.key_file, sure=sure)


def _claim(
    kind: Kind,
    member: str,
    name: Name,
    *,
    key_file: str,
    missing: str | None,
    resumable: bool | None,
) -> Claim:
    number = None if name.best else name.number
    return Claim(
        format=MMEngine.name,
        kind=kind,
        name=member if kind is Kind.DIRECTORY else member.removesuffix(SUFFIX),
        members=(member,),
        key_file=key_file,
        family=name.family,
        step=number if name.unit is Unit.STEP else None,
        epoch=number if name.unit is Unit.EPOCH else None,
        counts=None if name.best else name.unit,
        log_epochs=name.unit is Unit.EPOCH,
        named=name.best,
        missing=missing,
        resumable=resumable,
    )


def _target(folder: Folder, reader: Reader) -> str | None:
    """Return the last part of what the tracker names."""
    text = read_tracker(_TRACKER, folder, reader)
    return text.rstrip("/").rpartition("/")[2] if text else None


def _ranks(inside: Folder) -> frozenset[str]:
    return frozenset(file for file in inside.files if _RANK.fullmatch(file))


def _holds_states(inside: Folder) -> bool:
    """Whether a directory is what one of the three strategies saves."""
    colossal = _META in inside.files or not inside.folders.keys().isdisjoint(_PARTS)
    return colossal or bool(_ranks(inside))


def _missing(inside: Folder) -> str | None:
    """Return what is not there by names and sizes."""
    for path, entry in inside.walk():
        if not entry.size and is_tensor(path):
            return f"{path} is empty"
    if read_grid(inside.files).states:
        return read_grid(inside.files).missing
    if ranks := _ranks(inside):
        seen = {int(found[1]) for file in ranks if (found := _RANK.fullmatch(file)) and found[1]}
        absent = next(rank for rank in range(len(seen) + 1) if rank not in seen)
        return f"no rank{absent}.pth" if seen and absent < max(seen) else None
    model = inside.folders.get("model")
    if model is None or not any(True for _ in model.paths()):
        return "no model states"
    return None if _META in inside.files else f"no {_META}, which is written last"


def _resumable(inside: Folder) -> bool | None:
    """Whether the optimizer is there; FSDP's rank files do not tell."""
    if read_grid(inside.files).states:
        return True  # DeepSpeed's model states hold it where no ZeRO file does
    if _ranks(inside):
        return None
    optimizer = inside.folders.get("optimizer")
    return optimizer is not None and any(True for _ in optimizer.paths())


def _lost(found: Mapping[str, Name], folder: Folder, vouched: str | None) -> dict[str, str]:
    """Return the rank files that directories lack and others of their family have."""
    families: dict[str, list[Saved]] = {}
    for directory, name in found.items():
        ranks = _ranks(folder.folders[directory])
        parts = frozenset(map(without_precision, ranks))
        one = Saved(name.number, directory, parts)
        families.setdefault(name.family, []).append(one)
    return {n: file for one in families.values() for n, file in lost_ranks(one, vouched).items()}
