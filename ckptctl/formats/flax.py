"""Flax's own checkpoints, before Orbax: `checkpoint_N` files, and arrays in `checkpoint_N_gda/`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import ClassVar, NamedTuple

from ckptctl import names
from ckptctl.containers import UnsoundError
from ckptctl.formats._base import FORMATS, Format, ending
from ckptctl.formats._flax_state import HEAD, begins_state, read_state
from ckptctl.formats._neighbours import Saved, doubted, lost_parts
from ckptctl.formats._orbax_parts import COMMITTED, is_tree, parts_of, prove_items
from ckptctl.formats._zarr import ARRAY, is_tensorstore, missing_in, prove_arrays
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader, VanishedError

ARRAYS = "_gda"
STAGED = "checkpoint_tmp"
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NAME = later(rf"checkpoint_({_NUMBER})(_gda|\.orbax-checkpoint-tmp(?:-[0-9]+)?)?")
_TRIES = 4
_EXACT = 2**53  # floats up to here are whole numbers that are meant


class _One(NamedTuple):
    """The parts of one checkpoint: at least one of the two."""

    name: str
    number: str
    main: bool  # the file, or what Orbax saved under its name
    arrays: bool  # `_gda/`


@FORMATS.add("flax")
class Flax(Format):
    """`checkpoint_N`, a file of msgpack without a suffix; `checkpoint_N_gda/` has arrays of several processes.

    What is saved is written as `checkpoint_tmp` and renamed, the arrays first.  N is whatever the
    user gave as the step, often a metric: it is a step where all of a directory are whole numbers,
    else the metric `checkpoint`.  A directory `checkpoint_N/` of a whole N that Orbax saved for Flax
    is like any other of Orbax.
    """

    name = "flax"
    summary = "Flax before Orbax: checkpoint_N files of msgpack, arrays in checkpoint_N_gda/"
    source = "flax: flax/training/checkpoints.py, flax/serialization.py"
    example: ClassVar[Mapping[str, bytes]] = {
        "checkpoint_1000": b"\x82\xa6params\x81\xa1w\xc7\x04\x01data\xa4step\xcd\x03\xe8",
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each checkpoint, and what was left under a staging name.

        Raises OSError where the head of a file that may be one cannot be read.
        """
        ones = _ones(folder, reader)
        whole = all(_whole(one.number) is not None for one in ones)
        saved = [Saved(float(one.number), one.name, _parts(one, folder)) for one in ones]
        lost = lost_parts(saved)
        for one in ones:
            yield doubted(_claim(one, folder, whole=whole), lost)
        if ones:
            yield from _leftovers(folder)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its msgpack, and with the arrays that this has elsewhere."""
        for path in checkpoint.files:
            if "/" not in path and path not in checkpoint.sidecars and _NAME.fullmatch(path):
                yield from _prove_state(path, checkpoint, reader)
        yield from prove_arrays(checkpoint, reader)
        yield from prove_items(checkpoint, reader)

    def markers(self, checkpoint: Checkpoint, scheme: str) -> Mapping[str, bytes]:
        """Return `commit_success.txt`, for a bucket: of the arrays, or of what Orbax saved.

        On GCS Flax restores no arrays without it (checkpoints.py, _safe_deserialize).
        """
        if scheme == "file" or any(path.endswith(f"/{COMMITTED}") for path in checkpoint.files):
            return {}
        arrays = next((root for root in checkpoint.roots if root.endswith(ARRAYS)), None)
        place = arrays or next(iter(checkpoint.roots), None)
        if place is None:
            return {}  # a single file
        return {f"{place}/{COMMITTED}": f"Checkpoint commit was successful to {place}".encode()}

    def last(self, checkpoint: Checkpoint, made: Collection[str] = ()) -> tuple[str, ...]:
        """Return the marker, then the file, which Flax renames last and by which it finds it."""
        markers = [path for path in (*checkpoint.files, *made) if path.endswith(f"/{COMMITTED}")]
        main = [path for path in checkpoint.files if "/" not in path and _NAME.fullmatch(path)]
        return ending(checkpoint, (*super().last(checkpoint), *markers, *main), made)


def _ones(folder: Folder, reader: Reader) -> list[_One]:
    """Return what there is of each checkpoint: files only if they begin as Flax's do."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    arrays: dict[str, str] = {}
    for name in folder.files:
        found = _NAME.fullmatch(name) if name.startswith("checkpoint_") else None
        if found and not found[2]:
            files[name] = found[1]
    for name, inside in folder.folders.items():
        found = _NAME.fullmatch(name) if name.startswith("checkpoint_") else None
        if found and found[2] == ARRAYS and any(True for _ in inside.paths()):
            arrays[name.removesuffix(ARRAYS)] = found[1]
        elif found and not found[2] and is_tree(inside):
            folders[name] = found[1]
    if files and not _are_states(files, folder, reader):
        files = {}
    main = files | {
        name: number
        for name, number in folders.items()
        if name in arrays or not number.isdecimal()  # else it is one of Orbax's
    }
    mine = main | {
        name: number
        for name, number in arrays.items()
        if name in main or is_tensorstore(folder.folders[name + ARRAYS])
    }
    return [_One(name, mine[name], name in main, name in arrays) for name in mine]


def _are_states(files: Iterable[str], folder: Folder, reader: Reader) -> bool:
    """Whether any of the first files that are not empty begins as a state does."""
    for name in islice((name for name in files if folder.files[name].size), _TRIES):
        try:
            with reader.open(name) as blob:
                if begins_state(blob.read(0, HEAD)):
                    return True
        except VanishedError:
            continue
    return False


def _whole(number: str) -> int | None:
    """Return the whole number that a text is; None where it is none."""
    if number.lstrip("+-").isdecimal():
        return int(number)
    value = float(number)
    return int(value) if value.is_integer() and abs(value) < _EXACT else None


def _parts(one: _One, folder: Folder) -> frozenset[str]:
    """Return what every checkpoint of a run should have."""
    inside = folder.folders.get(one.name)
    of_tree = parts_of(inside) if inside is not None else frozenset()
    return of_tree | ({ARRAYS} if one.arrays else frozenset())


def _claim(one: _One, folder: Folder, *, whole: bool) -> Claim:
    beside = one.name + ARRAYS
    members = [name for name, there in ((one.name, one.main), (beside, one.arrays)) if there]
    is_file = one.name in folder.files
    inside = folder.folders.get(one.name if not one.arrays else beside)
    marker = members[-1] + f"/{COMMITTED}" if inside and COMMITTED in inside.files else None
    bucket = inside is not None and not any(entry.inode for _, entry in inside.walk())
    kind = Kind.FILE if is_file else Kind.DIRECTORY
    return Claim(
        format=Flax.name,
        kind=kind if one.main and not one.arrays else Kind.GROUP,
        name=one.name,
        members=tuple(members),
        key_file=marker if marker and not is_file else _key(one, folder),
        family=names.blank(one.name, [(len(one.name) - len(one.number), len(one.name))]),
        step=_whole(one.number) if whole else None,
        counts=Unit.STEP if whole else None,
        metrics={} if whole else {"checkpoint": float(one.number)},
        missing=_missing(one, folder, inside),
        marker=marker,
        expects_marker=bucket or marker is not None,
        committed=not bucket and marker is None,
        uncovered=(one.name,) if is_file else (),
    )


def _key(one: _One, folder: Folder) -> str:
    """Return the file itself, else the first one that lies in its directory."""
    if one.name in folder.files:
        return one.name
    name = one.name if one.main else one.name + ARRAYS
    return f"{name}/{min(folder.folders[name].paths())}"


def _missing(one: _One, folder: Folder, inside: Folder | None) -> str | None:
    if not one.main:
        return f"no {one.name}, which is renamed last"
    if one.name in folder.files and not folder.files[one.name].size:
        return f"{one.name} is empty"
    missing = missing_in(inside) if one.arrays and inside is not None else None
    return f"{one.name}{ARRAYS}: {missing}" if missing else None


def _leftovers(folder: Folder) -> Iterator[Claim]:
    """Yield what a save that was cut off left: a file and its arrays, and directories of Orbax."""
    arrays = STAGED + ARRAYS
    inside = folder.folders.get(arrays)
    first = min(inside.paths(), default=None) if inside else None
    members = [name for name in (STAGED,) if name in folder.files]
    members += [arrays] if first else []
    if members:
        kind = Kind.GROUP if len(members) > 1 else Kind.FILE if not first else Kind.DIRECTORY
        key = STAGED if STAGED in members else f"{arrays}/{first}"
        yield _leftover(members[0], kind, members, key)
    for name, deep in folder.folders.items():
        found = _NAME.fullmatch(name) if name.startswith("checkpoint_") else None
        if found and found[2] and found[2] != ARRAYS and not found[1].isdecimal():
            for path in sorted(deep.paths())[:1]:
                yield _leftover(name, Kind.DIRECTORY, [name], f"{name}/{path}")


def _leftover(name: str, kind: Kind, members: Iterable[str], key: str) -> Claim:
    return Claim(
        format=Flax.name,
        kind=kind,
        name=name,
        members=tuple(members),
        key_file=key,
        family="checkpoint_#",
        temporary=True,
        missing="it had not been renamed yet",
    )


def _prove_state(path: str, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    try:
        with reader.open(path) as blob:
            elsewhere = read_state(blob)
    except UnsoundError as error:
        yield Finding(path, "torn", str(error))
        return
    for place in elsewhere or ():
        array = "/".join(filter(None, (path + ARRAYS, place, ARRAY)))
        if array not in checkpoint.files:
            yield Finding(array, "data-missing", f"is not there, but {path} needs it")
