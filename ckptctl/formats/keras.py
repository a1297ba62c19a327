"""Keras: what ModelCheckpoint saves under a template of the user's, and BackupAndRestore."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._files import claim_files
from ckptctl.formats._hf_index import INDEX_LIMIT, read_shards
from ckptctl.formats._json_stream import chunks_of
from ckptctl.formats._samples import hdf5
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.reading import TRACKER_LIMIT, Finding, Reader, TooLargeError

INDEX = ".weights.json"
WEIGHTS = ".weights.h5"
BACKUP = "latest.weights.h5"
PROGRESS = "training_metadata.json"
_SUFFIXES = frozenset({WEIGHTS, ".keras", ".h5", ".hdf5"})
_TWINS = frozenset({PROGRESS, f"{PROGRESS}.bkp", f"{BACKUP}.bkp", f"_{PROGRESS}", f"_{BACKUP}"})
_HEADS = (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04")


@FORMATS.add("keras")
class Keras(Format):
    """`weights-epoch-05.weights.h5`, `.keras`, `.h5`; `X.weights.json` with `X_00000.weights.h5`.

    A template is the user's own, so that its numbers count only as in any other name: after a word,
    or at the end of a name of parts.  `weights.05-0.32.weights.h5` may be anything; `formats:` can
    say what it is.  What Keras 3 saves of a compiled model holds its optimizer, under either suffix.
    """

    name = "keras"
    summary = "Keras (ModelCheckpoint, BackupAndRestore): .keras, .weights.h5, .h5 with a number"
    source = (
        "keras: src/callbacks/{model_checkpoint,backup_and_restore,csv_logger}.py, "
        "src/saving/saving_lib.py"
    )
    generic = True
    example: ClassVar[Mapping[str, bytes]] = {"model-epoch-05.weights.h5": hdf5()}

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each file, each set of shards, and the backup of `BackupAndRestore`."""
        files = {
            name: entry
            for name, entry in folder.files.items()
            if name.endswith((INDEX, *_SUFFIXES)) and not name.startswith(".")
        }
        if BACKUP in files and not _TWINS.isdisjoint(folder.files):
            yield _backup(folder.files)
        sets = _sets(files)
        for base, shards in sets.items():
            said = names.parse(base, file=True)
            begun = base + INDEX in shards or f"{base}_00000{WEIGHTS}" in shards
            if begun and said.numbered and not said.copy:
                yield _counted(_sharded(base, said, shards, files))
        taken = {BACKUP, *(shard for shards in sets.values() for shard in shards)}
        left = {name: entry for name, entry in files.items() if name not in taken}
        for claim in claim_files(replace(folder, files=left), self.name, _SUFFIXES):
            yield _counted(claim)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return what the index of shards, or the note beside a backup, says is not there."""
        if claim.named:
            return Metadata(missing=_progress_fault(folder, reader))
        if not claim.key_file.endswith(INDEX):
            return Metadata()
        try:
            size = folder.files[claim.key_file].size
            shards = read_shards(chunks_of(reader, claim.key_file, size, INDEX_LIMIT))
        except (ValueError, TooLargeError) as error:
            return Metadata(missing=f"{claim.key_file} cannot be understood: {error}")
        lost = next((shard for shard in shards if shard not in claim.members), None)
        return Metadata(missing=f"no {lost}, which {claim.key_file} names" if lost else None)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterable[Finding]:
        """Yield each file that is cut off, or that is neither HDF5 nor ZIP."""
        yield from super().prove(checkpoint, reader)
        for path, entry in checkpoint.files.items():
            if path.endswith(tuple(_SUFFIXES)) and entry.size:
                with reader.open(path) as blob:
                    if not blob.read(0, 8).startswith(_HEADS):
                        yield Finding(path, "torn", "begins neither as HDF5 nor as ZIP")


def _counted(claim: Claim) -> Claim:
    """Return a claim that is joined with what CSVLogger wrote, whose epochs begin at 0."""
    return replace(claim, log_offset=-1) if claim.counts is Unit.EPOCH else claim


def _backup(files: Mapping[str, Entry]) -> Claim:
    """Return the claim of the state by which `fit` goes on; the note is written after the weights."""
    members = [name for name in (BACKUP, PROGRESS) if name in files]
    empty = next((name for name in members if not files[name].size), None)
    missing = f"{empty} is empty" if empty else None
    return Claim(
        format=Keras.name,
        kind=Kind.GROUP,
        name=BACKUP.removesuffix(WEIGHTS),
        members=tuple(members),
        key_file=BACKUP,
        family=BACKUP,
        named=True,
        missing=missing if PROGRESS in files else f"no {PROGRESS}, which is written last",
        resumable=True,
    )


def _progress_fault(folder: Folder, reader: Reader) -> str | None:
    """Return why `fit` could not go on by the note beside a backup; None where it could."""
    if PROGRESS not in folder.files:
        return None
    try:
        said = json.loads(reader.read(PROGRESS, TRACKER_LIMIT))
    except (ValueError, RecursionError, TooLargeError) as error:
        return f"{PROGRESS} cannot be understood: {error}"
    return None if isinstance(said, dict) and "epoch" in said else f"{PROGRESS} has no epoch"


def _sets(files: Iterable[str]) -> dict[str, list[str]]:
    """Return the files of each set of shards, its index among them, by what their names begin with.

    Without an index `step_00001.weights.h5` is a step, by its word; `model_00001.weights.h5`, which
    may be a step of the user's own as well, is rather a shard of what has no number.
    """
    sets: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        if file.endswith(INDEX):
            sets[file.removesuffix(INDEX)].append(file)
    for file in files:
        base, joint, number = file.removesuffix(WEIGHTS).rpartition("_")
        if not (joint and base and file.endswith(WEIGHTS) and len(number) == 5):  # noqa: PLR2004 - as Keras pads
            continue
        if not (number.isascii() and number.isdecimal()):
            continue
        said = names.parse(f"{base}_{number}", file=False)
        if base in sets or int(number) not in {said.step, said.epoch}:
            sets[base].append(file)
    return sets


def _sharded(base: str, said: names.Name, members: list[str], files: Mapping[str, Entry]) -> Claim:
    index = base + INDEX
    shards = sorted(name for name in members if name != index)
    numbers = [int(name.removesuffix(WEIGHTS)[-5:]) for name in shards]
    gap = next((at for at, number in enumerate(numbers) if at != number), None)
    empty = next((name for name in members if not files[name].size), None)
    missing = None
    if index not in members:
        missing = f"no {index}, which says where each weight is"
    elif not shards:
        missing = f"no {base}_00000{WEIGHTS}"
    elif gap is not None:
        missing = f"no {base}_{gap:05}{WEIGHTS}"
    elif empty:
        missing = f"{empty} is empty"
    return Claim(
        format=Keras.name,
        kind=Kind.GROUP,
        name=base,
        members=tuple(sorted(members)),
        key_file=index if index in members else shards[0],
        family=names.family(base, INDEX, said.spans),
        step=said.step,
        epoch=said.epoch,
        counts=said.counts,
        metrics=said.metrics,
        saved_ns=said.saved_ns,
        missing=missing,
    )
