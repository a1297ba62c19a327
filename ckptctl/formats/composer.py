"""MosaicML Composer: a file of each rank that saves, or a directory of DCP."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl import names
from ckptctl.containers import prove_file
from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._dcp import METADATA, holds_data, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_NAME = later(
    r"ep(?P<epoch>[0-9]{1,4000})-ba(?P<batch>[0-9]{1,4000})(?:-rank(?P<rank>[0-9]{1,9}))?"
    r"(?P<suffix>\.pt(?:\.(?:bz2|gz|lz4|lzma|lzo|xz|zst))?|\.tar(?:\.(?:bz2|gz|lzma))?|\.tgz)?"
)
_SYMLINK = ".symlink"
_HEADS = {
    "bz2": b"BZh",
    "gz": b"\x1f\x8b",
    "lz4": b"\x04\x22\x4d\x18",
    "lzo": b"\x89LZO",
    "tgz": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "zst": b"\x28\xb5\x2f\xfd",
}
"""How what each of its compressors writes begins (composer/utils/compression.py)."""


class _File(NamedTuple):
    """One file of a checkpoint, and the rank that wrote it."""

    rank: int
    file: str
    stem: str


@FORMATS.add("composer")
class Composer(Format):
    """`epE-baB-rankR.pt`, compressed or not, or `epE-baB/`; B counts the batches, that is the steps.

    Usually rank 0 alone saves.  `latest-rankR.pt` is a symlink; in a bucket `latest-rankR.pt.symlink`
    is a text that names the last checkpoint, and is written when all of that is there.
    """

    name = "composer"
    summary = "MosaicML Composer: ep1-ba100-rank0.pt (.gz, .zst, .tar, ...), ep1-ba100/ with DCP"
    source = (
        "composer 0.32: composer/callbacks/checkpoint_saver.py, "
        "composer/utils/{checkpoint,compression,file_helpers}.py"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "ep1-ba100-rank0.pt": torch_zip(),
        "latest-rank0.pt.symlink": b"my-run/checkpoints/ep1-ba100-rank0.pt",
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the files of each batch together, and the directories of sharded checkpoints."""
        yield from _files(folder)
        for name, inside in folder.folders.items():
            found = _NAME.fullmatch(name) if name.startswith("ep") else None
            saved = holds_data(inside.files) or METADATA in inside.files
            if found and saved and not found["suffix"] and not found["rank"]:
                yield _directory(name, found, inside)

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what each `.symlink` file names: an object, or what the names of several begin with."""
        for file in folder.files:
            if file.endswith(_SYMLINK) and (target := read_tracker(file, folder, reader)):
                yield Pointer(file, target)

    def link_in_bucket(self, link: str, key: str) -> tuple[str, bytes]:
        """Return the text file that Composer uploads for a link (file_helpers.py create_symlink_file).

        It names an object by its whole key; autoresume looks for it under the link's name with
        `.symlink` after it.
        """
        return f"{link}{_SYMLINK}", key.encode("utf-8", "surrogateescape")

    def link_on_disk(self, tracker: str) -> str | None:
        """Return the link that such a text file stands for."""
        return tracker.removesuffix(_SYMLINK) if tracker.endswith(_SYMLINK) else None

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its files, and what DCP's index names in vain."""
        yield from prove_dcp(checkpoint, reader)
        for path, entry in checkpoint.files.items():
            if path.endswith((".pt", ".tar")) or not _NAME.fullmatch(path):
                continue
            torn = False
            for finding in prove_file(path, entry, reader):
                torn = True
                yield finding
            head = _HEADS.get(path.rpartition(".")[2])
            if head is not None and not torn:
                with reader.open(path) as blob:
                    if blob.read(0, len(head)) != head:
                        yield Finding(path, "torn", "does not begin as what its name says it is")


def _files(folder: Folder) -> Iterator[Claim]:
    """Yield a claim for the files of each epoch and batch that end alike."""
    groups: defaultdict[tuple[int, int, str], list[_File]] = defaultdict(list)
    worlds: defaultdict[str, int] = defaultdict(int)
    for file in folder.files:
        found = _NAME.fullmatch(file) if file.startswith("ep") else None
        if found is None or not (found["suffix"] or found["rank"]):
            continue
        suffix, rank = found["suffix"] or "", int(found["rank"] or 0)
        kin = f"{suffix}{'' if found['rank'] else ' '}"  # with and without rank are two families
        stem = file[: len(file) - len(suffix)]
        groups[int(found["batch"]), int(found["epoch"]), kin].append(_File(rank, file, stem))
        worlds[kin] = max(worlds[kin], rank + 1)
    for (batch, epoch, kin), several in groups.items():
        first = min(several)
        yield Claim(
            format=Composer.name,
            kind=Kind.FILE if len(several) == 1 else Kind.GROUP,
            name=first.stem,
            members=tuple(sorted(one.file for one in several)),
            key_file=first.file,
            family=_family(first.stem, kin.strip()),
            step=batch,
            epoch=epoch,
            counts=Unit.STEP,
            missing=_missing(folder, several, worlds[kin]),
        )


def _missing(folder: Folder, files: list[_File], world: int) -> str | None:
    """Return a rank's file that is not there, of as many as any of the family has, or an empty one."""
    ranks = {one.rank for one in files}
    lost = next(rank for rank in range(world + 1) if rank not in ranks)
    if lost < world:
        return f"no file of rank {lost}: its family has 0 to {world - 1}"
    empty = next((one.file for one in files if not folder.files[one.file].size), None)
    return f"{empty} is empty" if empty else None


def _directory(name: str, found: re.Match[str], inside: Folder) -> Claim:
    commit = read_commit(inside.files)
    below = [f"{part}/{path}" for part, deep in inside.folders.items() for path in deep.paths()]
    return Claim(
        format=Composer.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{commit.key}",
        family=_family(name, ""),
        step=int(found["batch"]),
        epoch=int(found["epoch"]),
        counts=Unit.STEP,
        missing=commit.missing,
        marker=f"{name}/{commit.marker}" if commit.marker else None,
        expects_marker=True,
        uncovered=tuple(f"{name}/{path}" for path in (*commit.uncovered, *below)),
    )


def _family(stem: str, suffix: str) -> str:
    found = _NAME.fullmatch(stem)
    spans = [found.span(key) for key in ("epoch", "batch", "rank") if found[key]] if found else []
    return names.family(stem, suffix, spans)
