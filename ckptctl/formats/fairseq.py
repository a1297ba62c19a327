"""fairseq: epochs, updates and the best of a metric, one file for each rank or shard."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._grid import Kin, gap, place, reaches_of
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Reader

_SUFFIX = ".pt"
_STAGED = ".tmp"
_NUMBER = r"(?:0|[1-9][0-9]{0,3999})"
_NAME = later(
    rf"checkpoint(?:(?P<epoch>{_NUMBER})|_(?P<during>{_NUMBER})_(?P<step>{_NUMBER})|_(?P<named>best|last)"
    r"|\.best_(?P<metric>.+)_(?P<value>(?P<number>-?[0-9]+\.[0-9]{3}|nan|-?inf)[0-9]+|-?[0-9]+\.[0-9]{2}))"
    rf"(?:-model_part-(?P<part>{_NUMBER})|-rank-(?P<rank>{_NUMBER}))?(?:-shard(?P<shard>{_NUMBER}))?",
    re.DOTALL,
)
_RANKS = ("part", "rank", "shard")


class _File(NamedTuple):
    """One file, and what its name says."""

    file: str
    found: re.Match[str]
    said: names.Name  # its place in the grid
    kin: Kin


@FORMATS.add("fairseq")
class Fairseq(Format):
    """`checkpointE.pt`, `checkpoint_E_U.pt`, `checkpoint.best_METRIC_VALUE.pt`, best and last.

    Model parallel, BASE layers and sharded FSDP add a suffix for each rank; the files of all ranks
    are one checkpoint.  After the three decimals of a value come random digits that resolve ties
    (versions before 0.12 wrote two decimals and none).  `crash.pt` is a dump, no checkpoint.
    A save goes to `NAME.pt.tmp` and is renamed; `checkpoint_best`, `checkpoint_last` and the best
    ones are plain copies of it.
    """

    name = "fairseq"
    summary = "fairseq: checkpoint5.pt, checkpoint_5_1000.pt, checkpoint.best_loss_2.3007.pt"
    source = (
        "fairseq: checkpoint_utils.py save_checkpoint, torch_persistent_save; trainer.py "
        "checkpoint_suffix; distributed/utils.py distributed_init"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint_5_1000.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield the files of one save together, and each that was not renamed yet."""
        groups: defaultdict[str, list[_File]] = defaultdict(list)
        for name in folder.files:
            if not name.startswith("checkpoint"):
                continue
            file = name.removesuffix(_STAGED)
            stem = file.removesuffix(_SUFFIX)
            if stem == file or not (found := _NAME.fullmatch(stem)):
                continue
            one = _read(name, stem, found)
            if name == file:
                groups[names.blank(stem, one.said.grid)].append(one)
            else:
                yield _claim([one], "fairseq had not renamed it yet", staged=True)
        reaches = reaches_of((one.kin, one.said) for files in groups.values() for one in files)
        for files in groups.values():
            empty = next((one.file for one in files if not folder.files[one.file].size), None)
            missing = gap([one.said for one in files], reaches[files[0].kin])
            yield _claim(files, missing or (f"{empty} is empty" if empty else None))


def _read(file: str, stem: str, found: re.Match[str]) -> _File:
    ranks = [key for key in _RANKS if found[key]]
    grid = tuple(found.span(key) for key in ranks)
    spans = [found.span(key) for key in ("epoch", "during", "step", "value") if found[key]]
    words = ("rank",) * len(ranks)  # all of them count from zero
    said = names.Name(ranks=tuple(int(found[key]) for key in ranks), rank_words=words, grid=grid)
    return _File(file, found, said, (names.family(stem, _SUFFIX, (*grid, *spans)), words))


def _claim(files: Sequence[_File], missing: str | None, *, staged: bool = False) -> Claim:
    key = min(files, key=lambda one: place(one.said))
    found = key.found
    epoch, step = found["epoch"] or found["during"], found["step"]
    counts = (Unit.STEP if step else Unit.EPOCH) if epoch else None
    metrics = {}
    if found["metric"]:
        metrics[found["metric"]] = names.parse_number(found["number"] or found["value"])
    return Claim(
        format=Fairseq.name,
        kind=Kind.FILE if len(files) == 1 else Kind.GROUP,
        name=key.file if staged else found[0],
        members=tuple(sorted(one.file for one in files)),
        key_file=key.file,
        family=key.kin[0],
        step=int(step) if step else None,
        epoch=int(epoch) if epoch else None,
        counts=counts,
        metrics=metrics,
        named=found["named"] is not None,
        temporary=staged,
        missing=missing,
    )
