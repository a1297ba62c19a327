"""Megatron-LM: `iter_N/` and `release/`, in the layouts of Megatron Core, torch DCP and old ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.formats._base import FORMATS, Digest, Format, Pointer
from ckptctl.formats._core_config import CONFIG, why_uncommitted
from ckptctl.formats._dcp import holds_data, is_dcp_file, read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.formats._megatron_ranks import axes_of, holds_ranks, rank_files, read_ranks
from ckptctl.formats._neighbours import Saved, lacking, lost_ranks
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.formats._trackers import read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import SIDECAR_LIMIT, Finding, Reader, TooLargeError

TRACKER = "latest_checkpointed_iteration.txt"
INTEGRITY = "integrity.json"
_COMMON = "common.pt"
_RELEASE = "release"
_NAME = later(r"iter_([0-9]{7,})")


class _Own(NamedTuple):
    """What a save directory says of all its checkpoints."""

    tracker: int | None  # the iteration that the tracker names; None for `release`, or for none
    core: bool  # another checkpoint of it is Megatron Core's
    lost: Mapping[str, str]  # by name, a rank file that others have


@FORMATS.add("megatron")
class Megatron(Format):
    """`iter_N/` with at least seven digits, or `release/`, which has no step.

    Which layout a directory has is told as Megatron does it (`_get_checkpoint_format`): by
    `metadata.json`, a folder `mp_rank_...`, or `.metadata`.  But a `.metadata` alone is also what
    Megatron Core leaves when it dies before `metadata.json`.  It counts as the marker only where
    nothing speaks for Megatron Core (`common.pt`, or a `metadata.json` in another checkpoint
    here) and the tracker, which is written last of all, does not name a lower iteration.
    """

    name = "megatron"
    summary = "Megatron-LM: iter_N/ and release/, torch_dist, torch_dcp, fsdp_dtensor and old ranks"
    source = (
        "Megatron-LM: megatron/training/checkpointing.py get_checkpoint_name, save_checkpoint, "
        "_get_checkpoint_format; megatron/core/dist_checkpointing/{core,serialization}.py"
    )
    own_names = _NAME
    example: ClassVar[Mapping[str, bytes]] = {
        TRACKER: b"1000",
        "iter_0001000/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
        "iter_0001000/__0_0.distcp": torch_zip(),
        "iter_0001000/common.pt": torch_zip(),
        "iter_0001000/metadata.json": (
            b'{"sharded_backend": "torch_dist", "sharded_backend_version": 1}'
        ),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the iterations and `release`.  A linked one is no directory, so it is none.

        Raises OSError where the tracker is there and cannot be read.
        """
        found = {
            name: inside
            for name, inside in folder.folders.items()
            if (_NAME.fullmatch(name) or name == _RELEASE) and _is_ours(inside)
        }
        if not found:
            return
        target, failed = None, None
        try:
            target = _read_tracker(folder, reader)
        except OSError as error:
            failed = error
        tracker = int(target) if target and target != _RELEASE else None
        lost = _lost(found, _target_name(target) if target else None)
        cores = {name for name, inside in found.items() if _is_core(inside)}
        for name, inside in found.items():
            yield _claim(name, inside, _Own(tracker, len(cores) > (name in cores), lost))
        if failed is not None:
            raise failed

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return whether `metadata.json` is Megatron Core's: anything else commits nothing."""
        if claim.marker is None or not claim.marker.endswith(f"/{CONFIG}"):
            return Metadata()
        size = folder.folders[claim.name].files[CONFIG].size
        return Metadata(missing=why_uncommitted(claim.marker, size, reader))

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what the tracker names; verl has one of the same name, but no `iter_N`."""
        ours = any(_NAME.fullmatch(name) or name == _RELEASE for name in folder.folders)
        if ours and (target := _read_tracker(folder, reader)):
            yield Pointer(TRACKER, _target_name(target))

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with the files of old ranks, or with those that `.metadata` names."""
        yield from prove_dcp(checkpoint, reader)

    def digests(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Digest]:
        """Yield what `integrity.json` says of the files at the top (core/dist_checkpointing/validation.py)."""
        path = f"{checkpoint.member}/{INTEGRITY}"
        entry = checkpoint.files.get(path)
        if entry is None:
            return
        try:
            said = read_object(chunks_of(reader, path, entry.size, SIDECAR_LIMIT))
        except (ValueError, TooLargeError):
            return
        files = said.get("files")
        if said.get("algorithm") != "sha256" or not isinstance(files, dict):
            return
        for name, hexdigest in files.items():
            if isinstance(hexdigest, str):
                file = f"{checkpoint.member}/{name}"
                yield Digest(file, "sha256", hexdigest.lower(), INTEGRITY)


def _is_ours(inside: Folder) -> bool:
    """Whether it holds a checkpoint; dumps (`wgrads/iter_N/mp_rank_0.pth`) have no rank folders."""
    return _is_dist(inside) or holds_ranks(inside)


def _is_dist(inside: Folder) -> bool:
    return holds_data(inside.files) or _COMMON in inside.files or _is_zarr(inside)


def _is_core(inside: Folder) -> bool:
    """Whether a directory is one of Megatron Core; beside anything else it may be a sidecar."""
    return _is_dist(inside) and (_COMMON in inside.files or CONFIG in inside.files)


def _is_zarr(inside: Folder) -> bool:
    """Whether it is in the older backend of Megatron Core: a folder for each tensor, no DCP."""
    return CONFIG in inside.files and any(
        ".zarray" in deep.files for deep in inside.folders.values()
    )


def _read_tracker(folder: Folder, reader: Reader) -> str | None:
    """Return what the tracker says: digits, or `release`; None where there is none to go by."""
    text = read_tracker(TRACKER, folder, reader)
    return text if text and re.fullmatch(r"[0-9]{1,40}|release", text) else None


def _target_name(target: str) -> str:
    return target if target == _RELEASE else f"iter_{int(target):07d}"


def _lost(found: Mapping[str, Folder], vouched: str | None) -> dict[str, str]:
    """Return the files that iterations of old ranks lack, by those with as many axes of ranks."""
    layouts: dict[int, list[Saved]] = {}
    for name, inside in found.items():
        step = _NAME.fullmatch(name)
        if step and holds_ranks(inside) and not _is_dist(inside):
            one = Saved(int(step[1]), name, rank_files(inside))
            layouts.setdefault(axes_of(one.parts), []).append(one)
    return {n: file for one in layouts.values() for n, file in lost_ranks(one, vouched).items()}


def _claim(name: str, inside: Folder, own: _Own) -> Claim:
    found = _NAME.fullmatch(name)
    step = int(found[1]) if found else None
    behind = None
    if step is not None and own.tracker is not None and step > own.tracker:
        behind = f"{TRACKER}, which is written last, names {own.tracker}"
    if not _is_dist(inside):
        ranks = read_ranks(inside)
        lost = lacking(own.lost[name]) if name in own.lost else None
        layout = _Layout(ranks.missing or lost or behind, None, ranks.key)
    elif own.core or _is_core(inside):
        layout = _core(inside)
    else:
        commit = read_commit(inside.files)
        layout = _Layout(
            commit.missing or behind, commit.marker, commit.key, _others(inside), marks=True
        )
    return Claim(
        format=Megatron.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{layout.key}",
        family="iter_#" if found else name,
        step=step,
        counts=Unit.STEP if found else None,
        named=found is None,
        missing=layout.missing,
        marker=f"{name}/{layout.marker}" if layout.marker else None,
        expects_marker=layout.marks,
        uncovered=tuple(f"{name}/{path}" for path in layout.uncovered),
        resumable=None if found else False,  # Megatron starts at 0 from it, without the optimizer
        claims_sidecars=(CONFIG,) if layout.marker == CONFIG else (),
    )


class _Layout(NamedTuple):
    """What one of the three layouts says; names are relative to the directory."""

    missing: str | None
    marker: str | None
    key: str
    uncovered: tuple[str, ...] = ()
    marks: bool = False  # it commits by a marker


def _others(inside: Folder) -> tuple[str, ...]:
    """Return the files, and the directories, that are none of DCP's."""
    return (
        *(file for file in inside.files if not is_dcp_file(file)),
        *(f"{d}/" for d in inside.folders),
    )


def _core(inside: Folder) -> _Layout:
    """Return what Megatron Core's layout says: `metadata.json` is written after all the rest.

    `integrity.json` comes later still, and so may a tokenizer's files.
    """
    data = read_commit(inside.files)
    uncovered = tuple(path for path in _others(inside) if path not in {_COMMON, CONFIG})
    if CONFIG not in inside.files:
        return _Layout(f"no {CONFIG}, which is written last", None, data.key, marks=True)
    missing = None if _is_zarr(inside) else data.missing
    if not inside.files[CONFIG].size:
        missing = f"{CONFIG} is empty"
    return _Layout(missing, CONFIG, CONFIG, uncovered, marks=True)
