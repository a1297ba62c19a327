"""TensorFlow: the shard sets of CheckpointManager, of TF1's Saver, and of Keras 2."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format, Move, Pointer
from ckptctl.formats._neighbours import Saved, lost_parts, unlike
from ckptctl.formats._samples import tensor_bundle
from ckptctl.formats._tensor_bundle import (
    FOOTER_SIZE,
    INDEX_LIMIT,
    MAGIC,
    CompressedError,
    message_fault,
    read_bundle,
)
from ckptctl.formats._tf_names import grid_of, number_of, prefix_of, shard_of, spelling
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint, Claim, Kind, Problem
from ckptctl.reading import TRACKER_LIMIT, Finding, Reader, VanishedError

TRACKER = "checkpoint"
_PATH = rb'^(all_)?model_checkpoint_paths?: "((?:[^"\\\n]|\\.)*)"'
_ALL = b"all_model_checkpoint_paths:"
_TIMES = b"all_model_checkpoint_timestamps:"
_ESCAPE = rb"\\([0-7]{1,3}|.)"


class _Set(NamedTuple):
    """The files of one shard set, and what their prefix says."""

    prefix: str
    said: names.Name
    files: tuple[str, ...]

    @property
    def family(self) -> str:
        return names.family(self.prefix, ".index", self.said.spans)

    @property
    def number(self) -> float:
        return self.said.step if self.said.step is not None else self.said.epoch or 0


@FORMATS.add("tensorflow")
class TensorFlow(Format):
    """`PREFIX-N.index` with `PREFIX-N.data-00000-of-00001`, and `.meta` by TF1.

    The index is written when all data is there, and is what TensorFlow looks for; so it commits.
    A prefix that says neither step nor epoch counts only where `checkpoint` names one like it:
    `resnet-50.index` may be anything.  Of that file only the last path is a pointer: what
    `keep_checkpoint_every_n_hours` keeps leaves its list.
    """

    name = "tensorflow"
    summary = "TensorFlow (CheckpointManager, Saver): PREFIX-N.index with its .data-i-of-n files"
    source = (
        "tensorflow: python/checkpoint/checkpoint_management.py, functional_saver.py, "
        "core/util/tensor_bundle/tensor_bundle.cc"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint": b'model_checkpoint_path: "ckpt-12"\nall_model_checkpoint_paths: "ckpt-12"\n',
        "ckpt-12.data-00000-of-00002": bytes(8),
        "ckpt-12.data-00001-of-00002": bytes(4),
        "ckpt-12.index": tensor_bundle(8, 4),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each shard set, and the directories in which one was being written.

        Raises OSError where `checkpoint`, or an index without data, cannot be read.
        """
        files: defaultdict[str, list[str]] = defaultdict(list)
        for file in folder.files:
            if prefix := prefix_of(file):
                files[prefix].append(file)
        staged = {
            name: final for name in folder.folders if (final := _final(name, folder)) is not None
        }
        if not files and not staged:
            return
        tracked = {spelling(path.rpartition("/")[2]) for _, path in _tracked(folder, reader)}
        sets = [
            _Set(prefix, said, tuple(sorted(own)))
            for prefix, own in files.items()
            if (said := number_of(prefix, tracked)) is not None and _is_set(prefix, own, reader)
        ]
        lost = _without_meta(sets)
        for one in sets:
            yield _claim(one, folder.files, lost=one.prefix in lost)
        for name, final in staged.items():
            if (said := number_of(final, tracked)) is not None:
                yield _leftover(name, _Set(final, said, ()), folder.folders[name])

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what `checkpoint` says is the last one."""
        for listed, path in _tracked(folder, reader):
            target = path.rpartition("/")[2]
            if not listed and target:
                index = f"{target}.index"
                yield Pointer(TRACKER, index if index in folder.files else target)

    def repointed(self, content: bytes, there: Collection[str], move: Move) -> bytes:
        """Return the list without what is not there.

        A CheckpointManager counts what is listed against `max_to_keep`, and deletes what is there
        because of what is not (checkpoint_management.py).  Full paths of the run become relative.
        """
        lines = content.splitlines(keepends=True)
        listed = [at for at, line in enumerate(lines) if line.startswith(_ALL)]
        times = [at for at, line in enumerate(lines) if line.startswith(_TIMES)]
        lost: set[int] = set()
        for number, at in enumerate(listed):
            name = (_path_in(lines[at]) or "").rpartition("/")[2]
            if name not in there and f"{name}.index" not in there:
                lost |= {at, times[number]} if len(times) == len(listed) else {at}
        return b"".join(_relative(ln, move) for at, ln in enumerate(lines) if at not in lost)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield each data file that the index names in vain or that is cut off."""
        for path, entry in checkpoint.files.items():
            if path in checkpoint.sidecars:
                continue
            if path.endswith(".index") and entry.size <= INDEX_LIMIT:
                yield from _prove_index(path, checkpoint.files, reader)
            elif path.endswith(".meta"):
                with reader.open(path) as blob:
                    if (wrong := message_fault(blob)) is not None:
                        yield Finding(path, "torn", wrong)


def _is_set(prefix: str, files: Iterable[str], reader: Reader) -> bool:
    """Whether these are TensorFlow's: data files are by their names, an index alone by its end."""
    if any(shard_of(file) for file in files):
        return True
    index = f"{prefix}.index"
    if index not in files:
        return False
    try:
        with reader.open(index) as blob:
            return blob.read(max(blob.size - FOOTER_SIZE, 0), FOOTER_SIZE).endswith(MAGIC)
    except VanishedError:
        return False


def _final(name: str, folder: Folder) -> str | None:
    """Return the prefix to which the parts in a directory were to be merged.

    TF2 calls it PREFIX_temp (functional_saver.py), TF1 PREFIX_temp_UUID (training/saver.py).
    """
    final, joint, unique = name.rpartition("_temp")
    inside = folder.folders[name]
    if not joint or len(unique) not in {0, 33} or not inside.files or inside.folders:
        return None
    return final if all(file.startswith("part") for file in inside.files) else None


def _tracked(folder: Folder, reader: Reader) -> Iterator[tuple[bool, str]]:
    """Yield each path in `checkpoint`, and whether it is only of the list of all.

    Of a long list the beginning is read; the last one comes first.
    """
    if TRACKER not in folder.files:
        return
    try:
        with reader.open(TRACKER) as blob:
            text = blob.read(0, TRACKER_LIMIT)
    except VanishedError:
        return
    for found in re.finditer(_PATH, text, re.MULTILINE):
        path = re.sub(_ESCAPE, _unescape, found[2])
        yield found[1] is not None, path.decode("utf-8", "surrogateescape")


def _unescape(found: re.Match[bytes]) -> bytes:
    said = found[1]
    return bytes([int(said, 8) & 0xFF]) if said.isdigit() else said


def _path_in(line: bytes) -> str | None:
    """Return the path in a line of `checkpoint`, if it has one."""
    found = re.match(_PATH, line)
    if found is None:
        return None
    return re.sub(_ESCAPE, _unescape, found[2]).decode("utf-8", "surrogateescape")


def _relative(line: bytes, move: Move) -> bytes:
    """Return a line with a path in the run relative to it, as TensorFlow reads those too."""
    path = _path_in(line)
    inside = move.below(path) if path else None
    if path is None or inside is None:
        return line
    said = path.encode("utf-8", "surrogateescape")
    return line.replace(said, inside.encode("utf-8", "surrogateescape"))


def _without_meta(sets: Iterable[_Set]) -> dict[str, str]:
    """Return the prefixes of those that lack the `.meta` which both their neighbours have."""
    families: defaultdict[str, list[Saved]] = defaultdict(list)
    for one in sets:
        meta = frozenset({"meta"} if f"{one.prefix}.meta" in one.files else ())
        families[one.family].append(Saved(one.number, one.prefix, meta))
    return {name: part for saved in families.values() for name, part in lost_parts(saved).items()}


def _claim(one: _Set, entries: Mapping[str, Entry], *, lost: bool) -> Claim:
    index, meta = f"{one.prefix}.index", f"{one.prefix}.meta"
    missing, leftovers = grid_of(one.files)
    empty = next((f for f in (index, meta) if f in one.files and not entries[f].size), None)
    if index not in one.files:
        missing = f"no {index}, which is written last"
    elif empty:
        missing = f"{empty} is empty"
    elif lost and not missing:
        missing = unlike(f"no {meta}, unlike those around it")
    text = f"{', '.join(leftovers)}: of an earlier save with another number of shards"
    return Claim(
        format=TensorFlow.name,
        kind=Kind.GROUP,
        name=one.prefix,
        members=one.files,
        key_file=index if index in one.files else min(f for f in one.files if f != meta),
        family=one.family,
        step=one.said.step,
        epoch=one.said.epoch,
        counts=one.said.counts,
        metrics=one.said.metrics,
        saved_ns=one.said.saved_ns,
        missing=missing,
        marker=index if index in one.files else None,
        expects_marker=True,
        uncovered=(*leftovers, *(file for file in one.files if file == meta)),
        problems=(Problem("leftover-shard", text),) if leftovers else (),
    )


def _leftover(name: str, of: _Set, inside: Folder) -> Claim:
    return Claim(
        format=TensorFlow.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=f"{name}/{min(inside.files)}",
        family=of.family,
        step=of.said.step,
        epoch=of.said.epoch,
        counts=of.said.counts,
        temporary=True,
        missing="its parts were not merged yet",
    )


def _prove_index(path: str, files: Mapping[str, Entry], reader: Reader) -> Iterator[Finding]:
    try:
        said = read_bundle(reader.read(path, INDEX_LIMIT))
    except CompressedError:
        return
    except ValueError as error:
        yield Finding(path, "index-unreadable", f"is cut off or damaged: {error}")
        return
    prefix = path.removesuffix(".index")

    def shard(number: int) -> str:
        return f"{prefix}.data-{number:05}-of-{said.files:05}"

    lost = next((number for number in range(said.files) if shard(number) not in files), None)
    if lost is not None:
        yield Finding(shard(lost), "data-missing", f"is named by {path}, but is not there")
    for number, size in sorted(said.sizes.items()):
        entry = files.get(shard(number))
        if entry is not None and entry.size < size:
            text = f"has {entry.size} bytes, but {path} names {size} in it"
            yield Finding(shard(number), "data-truncated", text)
