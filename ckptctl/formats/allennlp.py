"""AllenNLP: `model_state_eE_bB.th` and `training_state_eE_bB.th` together, and copies of the best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._json_files import read_json, unread
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import SIDECAR_LIMIT, Reader
from ckptctl.sidecar import as_number

_MODEL, _TRAINING = "model", "training"
_NAME = later(
    r"(?P<part>model|training)_state_e(?P<epoch>[0-9]{1,4000})_b(?P<batch>[0-9]{1,4000})"
    r"(?:_w(?P<rank>[0-9]{1,4000}))?\.th"
)
_BEST = later(r"best(?:_w([0-9]{1,4000}))?\.th")
_WEIGHTS = "weights.th"
_MEASURED = ("training_", "validation_")
_COUNTERS = frozenset({"training_epochs", "training_start_epoch"})


class _File(NamedTuple):
    """One state file."""

    file: str
    part: str
    rank: int | None  # None where the states are not sharded


@FORMATS.add("allennlp")
class AllenNlp(Format):
    """The two states of one moment: E epochs completed, and B batches of the next.

    Of sharded states each rank has two of its own, `..._wR.th`.  The model comes first, and nothing
    is overwritten.  `metrics_epoch_E.json` counts epochs from 0, so that of e3_b0 is number 2; in
    the midst of an epoch there is none.
    """

    name = "allennlp"
    summary = "AllenNLP: model_state_eE_bB.th with training_state_eE_bB.th, best.th, weights.th"
    source = (
        "allennlp: training/checkpointer.py, training/gradient_descent_trainer.py _try_train; "
        "models/archival.py"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "model_state_e3_b0.th": torch_zip(),
        "training_state_e3_b0.th": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the states of each moment together, and the copies of the best."""
        moments: defaultdict[tuple[str, str], list[_File]] = defaultdict(list)
        best: list[_File] = []
        for file in folder.files:
            if not file.endswith(".th"):
                continue
            if found := _NAME.fullmatch(file):
                rank = int(found["rank"]) if found["rank"] else None
                moments[found["epoch"], found["batch"]].append(_File(file, found["part"], rank))
            elif found := _BEST.fullmatch(file):
                best.append(_File(file, _MODEL, int(found[1]) if found[1] else None))
        every = [one for files in moments.values() for one in files]
        for (epoch, batch), files in moments.items():
            yield _moment(int(epoch), int(batch), files, every, folder)
        for ranked in (False, True):
            if copies := [one for one in best if (one.rank is not None) is ranked]:
                yield _copy(copies, every, folder)
        if _WEIGHTS in folder.files and (moments or best):
            yield _copy([_File(_WEIGHTS, _MODEL, None)], every, folder)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the metrics of the epoch that had just been completed."""
        if claim.counts is None or not claim.epoch:
            return Metadata()
        file = f"metrics_epoch_{int(claim.epoch) + claim.log_offset}.json"
        entry = folder.files.get(file)
        if entry is None:
            return Metadata()
        said = read_json(reader, file, entry.size, SIDECAR_LIMIT)
        if isinstance(said, str):
            return unread(f"{file} {said}")
        return Metadata(
            metrics={
                key: number
                for key, value in said.items()
                if key.startswith(_MEASURED)
                and key not in _COUNTERS
                and (number := as_number(value)) is not None
            }
        )


def _moment(
    epoch: int, batch: int, files: list[_File], every: list[_File], folder: Folder
) -> Claim:
    key = min(files, key=lambda one: (one.part != _MODEL, one.rank or 0, one.file))
    shard = "" if key.rank is None else "_w#"
    whole = any(one.part == _TRAINING for one in files)
    return Claim(
        format=AllenNlp.name,
        kind=Kind.FILE if len(files) == 1 else Kind.GROUP,
        name=key.file.removesuffix(".th"),
        members=tuple(sorted(one.file for one in files)),
        key_file=key.file,
        family=f"{key.part}_state_e#_b#{shard}.th",
        epoch=epoch,
        counts=None if batch else Unit.EPOCH,
        log_offset=-1,
        missing=_missing(files, every, (_MODEL, _TRAINING), folder),
        resumable=whole,
    )


def _copy(files: list[_File], every: list[_File], folder: Folder) -> Claim:
    key = min(files, key=lambda one: (one.rank or 0, one.file))
    return Claim(
        format=AllenNlp.name,
        kind=Kind.FILE if len(files) == 1 else Kind.GROUP,
        name=key.file.removesuffix(".th"),
        members=tuple(sorted(one.file for one in files)),
        key_file=key.file,
        family=key.file if key.rank is None else "best_w#.th",
        named=True,
        missing=_missing(files, [*every, *files], (_MODEL,), folder),
        resumable=False,
    )


def _missing(
    files: list[_File], every: Iterable[_File], parts: Iterable[str], folder: Folder
) -> str | None:
    """Return what is not there: either state, that of a rank up to the highest seen, any content."""
    ranks: list[int | None] = [None]
    if any(one.rank is not None for one in files):
        seen = {one.rank for one in every if one.rank is not None}
        # Of a name with an enormous rank the first one that is lost says enough.
        ranks = [*range(min(max(seen) + 1, len(seen) + 1))]
    have = {(one.part, one.rank) for one in files}
    for part in parts:
        for rank in ranks:
            if (part, rank) not in have:
                return f"no {part} state" + ("" if rank is None else f" of rank {rank}")
    return next((f"{one.file} is empty" for one in files if not folder.files[one.file].size), None)
