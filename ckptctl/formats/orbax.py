"""Orbax, and what saves through it: MaxText, Keras OrbaxCheckpoint, Flax NNX."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format, ending
from ckptctl.formats._neighbours import Saved, doubted, lost_parts
from ckptctl.formats._orbax_parts import (
    COMMITTED,
    STEP_METADATA,
    is_step,
    is_tree,
    items_of,
    parts_of,
    prove_items,
    read_metrics,
    read_step,
)
from ckptctl.formats._samples import ocdbt_manifest
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_NAME = later(r"(?:.+_)?[0-9]+", re.DOTALL)
_STAGED = later(r"(?P<final>(?:.+_)?(?P<step>[0-9]+))\.orbax-checkpoint-tmp(?:-[0-9]+)?", re.DOTALL)

_OWN = frozenset({STEP_METADATA, COMMITTED})


@FORMATS.add("orbax")
class Orbax(Format):
    """`[PREFIX_]N/` with Orbax content.

    Orbax writes a step under another name and renames it when it is whole, so that on a file system
    the name commits it.  Since 0.12.3 `commit_success.txt` is written before, at the top and in each
    item; where an item has it, the top must have it too.  In a bucket nothing can be renamed: there
    (told by entries without an inode) only that file commits.
    """

    name = "orbax"
    summary = "Orbax (MaxText, Keras, Flax NNX): N/ or PREFIX_N/ with _CHECKPOINT_METADATA or items"
    source = (
        "orbax 0.12.8: checkpoint/orbax/checkpoint/_src/path/{step,atomicity}.py, "
        "_src/metadata/checkpoint.py, CHANGELOG.md 0.12.3"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "1000/_CHECKPOINT_METADATA": (
            b'{"item_handlers": {"default": "StandardCheckpointHandler"}, "metrics": {},'
            b' "init_timestamp_nsecs": 1790000000000000000,'
            b' "commit_timestamp_nsecs": 1790000001000000000}'
        ),
        "1000/commit_success.txt": b"Checkpoint commit was successful to 1000",
        "1000/default/_METADATA": b'{"tree_metadata": {}, "use_ocdbt": true}',
        "1000/default/commit_success.txt": b"Checkpoint commit was successful to 1000/default",
        "1000/default/manifest.ocdbt": ocdbt_manifest(),
        "1000/metrics/commit_success.txt": b"Checkpoint commit was successful to 1000/metrics",
        "1000/metrics/metrics": b'{"val_loss": 0.5}',
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the steps, and what was left under a staging name.

        Raises OSError where another step of the same spelling cannot be read.
        """
        steps = {
            name: inside
            for name, inside in folder.folders.items()
            if _NAME.fullmatch(name) and not _is_copy(name) and is_step(name, inside)
        }
        described = any(STEP_METADATA in inside.files for inside in steps.values())
        families: dict[str, list[Saved]] = {}
        for name, inside in steps.items():
            one = Saved(_step(name), name, parts_of(inside))
            families.setdefault(_family(name), []).append(one)
        lost = {n: f"{part}/" for one in families.values() for n, part in lost_parts(one).items()}
        for name, inside in steps.items():
            if f"{name}_gda" not in folder.folders:  # Flax keeps half of such a checkpoint there
                yield doubted(_claim(name, inside, described=described), lost)
        for name, inside in folder.folders.items():
            if (found := _STAGED.fullmatch(name)) and (first := _first(inside)):
                yield _leftover(name, found, f"{name}/{first}")
        for name, inside in folder.folders.items():
            if inside.error and _NAME.fullmatch(name) and _family(name) in families:
                raise OSError(errno.EACCES, inside.error, name)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the metrics and the time that Orbax noted, and whether it noted the end."""
        if claim.temporary:
            return Metadata()
        inside = folder.folders[claim.name]
        step = read_step(claim.name, inside, reader)
        measured = read_metrics(claim.name, inside, reader)
        return Metadata(
            saved_ns=step.saved_ns,
            metrics={**step.metrics, **measured.metrics},
            problems=(*step.problems, *measured.problems),
            unread=step.unread or measured.unread,
            missing=step.missing,
        )

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its JSON and with the manifests of its arrays."""
        yield from prove_items(checkpoint, reader)
        yield from super().prove(checkpoint, reader)

    def markers(self, checkpoint: Checkpoint, scheme: str) -> Mapping[str, bytes]:
        """Return `commit_success.txt` of each item and, last, of the step, for a bucket.

        On GCS Orbax takes nothing else for whole (atomicity.py, CommitFileTemporaryPath); it only
        asks whether the file is there.  It has written one in every item and step since 0.12.3, on
        any store, so that another bucket gets them too.
        """
        if scheme == "file" or COMMITTED in {path.rpartition("/")[2] for path in checkpoint.files}:
            return {}
        return {
            f"{place}/{COMMITTED}": f"Checkpoint commit was successful to {place}".encode()
            for place in (*_items(checkpoint), checkpoint.member)
        }

    def last(self, checkpoint: Checkpoint, made: Collection[str] = ()) -> tuple[str, ...]:
        """Return what describes the step, then the markers of its items, then its own."""
        marker = f"{checkpoint.member}/{COMMITTED}"
        markers = sorted(
            path for path in (*checkpoint.files, *made) if path.endswith(f"/{COMMITTED}")
        )
        described = f"{checkpoint.member}/{STEP_METADATA}"
        return ending(
            checkpoint,
            (*super().last(checkpoint), described, *markers, *([marker] if markers else ())),
            made,
        )


def _items(checkpoint: Checkpoint) -> list[str]:
    """Return the folders of the items of a step: none where a tree was saved right into it."""
    top = f"{checkpoint.member}/"
    paths = [path.removeprefix(top) for path in checkpoint.files if path.startswith(top)]
    if not {"_METADATA", "manifest.ocdbt", "checkpoint"}.isdisjoint(paths):
        return []
    return sorted({top + path.split("/")[0] for path in paths if "/" in path})


def _is_copy(name: str) -> bool:
    """Whether it is a copy of `checkpoint_N`; `best_N` may well be a prefix that someone chose."""
    said = names.parse(name, file=False)
    return said.numbered and names.is_copy(name, said)


def _claim(name: str, inside: Folder, *, described: bool) -> Claim:
    items = items_of(inside)
    marked = COMMITTED in inside.files
    bucket = any(not entry.inode for _, entry in inside.walk())
    expects = marked or bucket or any(COMMITTED in item.files for item in items.values())
    return Claim(
        format=Orbax.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{_key(inside)}",
        family=_family(name),
        step=_step(name),
        counts=Unit.STEP,
        missing=_missing(inside, items, expects=expects, described=described),
        marker=f"{name}/{COMMITTED}" if marked else None,
        expects_marker=expects,
        committed=not expects,
        uncovered=()
        if "" in items
        else tuple(f"{name}/{file}" for file in inside.files.keys() - _OWN),
    )


def _missing(
    inside: Folder, items: Mapping[str, Folder], *, expects: bool, described: bool
) -> str | None:
    """Return what is not there by names; `described` where another step has its own metadata."""
    if expects and COMMITTED not in inside.files:
        return f"no {COMMITTED}, which is written last"
    if described and STEP_METADATA not in inside.files:
        return f"no {STEP_METADATA}, unlike the other steps"
    staged = next((folder for folder in inside.folders if ".orbax-checkpoint-tmp" in folder), None)
    if staged:
        return f"{staged} was not renamed: its item is not whole"
    if not items:
        return "no item"
    if described and not inside.files[STEP_METADATA].size:
        return f"{STEP_METADATA} is empty"
    return next(_uncommitted(inside, items), None)


def _uncommitted(inside: Folder, items: Mapping[str, Folder]) -> Iterator[str]:
    """Yield what is wrong with the markers, of which Orbax writes one in each item, with a text."""
    commits = [item for item, deep in items.items() if COMMITTED in deep.files]
    for path in (COMMITTED, *(f"{item}/{COMMITTED}".lstrip("/") for item in commits)):
        if (entry := inside.find(path)) is not None and not entry.size:
            yield f"{path} is empty"
    for item, deep in items.items():
        if commits and item not in commits and _is_saved(deep):
            yield f"no {item}/{COMMITTED}"
    measured = items.get("metrics")
    if measured is not None and set(measured.files) == {COMMITTED} and not measured.folders:
        yield "no metrics/metrics"


def _is_saved(item: Folder) -> bool:
    """Whether Orbax saved a folder; a user may have put others beside it."""
    return is_tree(item) or "metrics" in item.files


def _key(inside: Folder) -> str:
    """Return the marker, else the step's metadata, else a tree's, else the first file."""
    for name in (COMMITTED, STEP_METADATA):
        if name in inside.files:
            return name
    paths = sorted(inside.paths())
    trees = (path for path in paths if path.rpartition("/")[2] in {"_METADATA", "manifest.ocdbt"})
    return next(trees, paths[0])


def _leftover(name: str, found: re.Match[str], key_file: str) -> Claim:
    return Claim(
        format=Orbax.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=key_file,
        family=_family(found["final"]),
        step=int(found["step"]),
        counts=Unit.STEP,
        temporary=True,
        missing="Orbax had not renamed it yet",
    )


def _step(name: str) -> int:
    return int(name.rpartition("_")[2])


def _family(name: str) -> str:
    prefix, joint, number = name.rpartition("_")
    at = len(name) - len(number)
    spans = names.parse(prefix, file=False).spans
    return names.family(name, "", (*spans, (at, len(name)))) if joint or prefix else "#"


def _first(inside: Folder) -> str | None:
    return min(inside.paths(), default=None)
