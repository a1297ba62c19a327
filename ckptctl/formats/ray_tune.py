"""Ray Tune, and Ray Train before its v2: numbered directories in the directory of a trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._folders import key_of
from ckptctl.formats._numbers import flat_numbers
from ckptctl.formats._ray_content import PLACING, missing_parts, prove_content
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import NS, Checkpoint, Claim, Kind, Metadata, Problem
from ckptctl.patterns import later
from ckptctl.reading import FRAMEWORK_LIMIT, SIDECAR_LIMIT, Blob, Finding, Reader, VanishedError

_RESULTS = "result.json"
_TRIAL = frozenset({_RESULTS, "params.json", "params.pkl", "progress.csv"})
_NAME = later(r"checkpoint_(0[0-9]{5}|[1-9][0-9]{5,3999})")
_KEY = "checkpoint_dir_name"
_CHUNK = 1 << 20
_FILLED = PLACING | {
    "config", "episodes_total", "iterations_since_restore", "pid", "time_since_restore",
    "time_this_iter_s", "time_total_s", "timestamp", "timesteps_since_restore", "timesteps_total",
}  # fmt: skip
"""What Ray itself adds to a result (tune/result.py AUTO_RESULT_KEYS): no metric of a checkpoint."""


class _Result(NamedTuple):
    """What a line of `result.json` says of the checkpoint that it names."""

    metrics: Mapping[str, float]
    saved_ns: int | None


@FORMATS.add("ray-tune")
class RayTune(Format):
    """`checkpoint_NNNNNN/` beside the files of a trial, whatever lies in it.

    The number counts the checkpoints.  Six digits that begin with a zero are Ray's alone; a higher
    number might be accelerate's or Flax's, so that one counts only if `result.json` names it.
    """

    name = "ray-tune"
    summary = "Ray Tune and Ray Train v1: checkpoint_000005/ in the directory of a trial"
    source = (
        "ray 2.55: train/_internal/storage.py _make_checkpoint_dir_name, tune/logger/json.py, "
        "tune/result.py"
    )
    holds_anything = True
    own_names = _NAME
    example: ClassVar[Mapping[str, bytes]] = {
        "params.json": b"{}",
        _RESULTS: (
            b'{"val_loss": 0.5, "timestamp": 1795439368, "checkpoint_dir_name": "checkpoint_000005"}\n'
        ),
        "checkpoint_000005/model.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield the directories that hold a file; `result.json` is read once for all of them.

        Raises OSError where that cannot be read.
        """
        if _TRIAL.isdisjoint(folder.files):
            return
        keys = {
            name: key
            for name, inside in folder.folders.items()
            if _NAME.fullmatch(name) and (key := key_of(inside))
        }
        if not keys:
            return
        results: Mapping[str, _Result] = {}
        problems: tuple[Problem, ...] = ()
        failed: OSError | None = None
        size = folder.files[_RESULTS].size if _RESULTS in folder.files else 0
        if size > FRAMEWORK_LIMIT:
            text = f"{_RESULTS} is larger than 1 GiB, so it was not read"
            problems = (Problem("metadata-unreadable", text),)
        elif size:
            try:
                results = _read(reader)
            except OSError as error:
                failed = error
        keys = {name: key for name, key in keys.items() if name[11] == "0" or name in results}
        lost = missing_parts(dict.fromkeys(keys, "checkpoint_#"), folder)
        for name, key in keys.items():
            result = results.get(name)
            yield Claim(
                format=RayTune.name,
                kind=Kind.DIRECTORY,
                name=name,
                members=(name,),
                key_file=f"{name}/{key}",
                family="checkpoint_#",
                step=int(name[11:]),
                metrics=result.metrics if result else {},
                saved_ns=result.saved_ns if result else None,
                missing=lost.get(name),
                problems=problems,
            )
        if failed is not None:
            raise failed

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return that `result.json` was not read, if so; `find` has read it else."""
        return Metadata(unread=claim.problems[0].text if claim.problems else None)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterable[Finding]:
        """Yield what is wrong with what the user saved in it."""
        return prove_content(checkpoint, reader)


def _read(reader: Reader) -> dict[str, _Result]:
    """Return what the results say of the checkpoints they name, later ones over earlier.

    A line that is no JSON is passed over: a trial that was killed leaves one.
    """
    found: dict[str, _Result] = {}
    try:
        with reader.open(_RESULTS) as blob:
            for line in _lines(blob):
                if b'checkpoint_dir_name": "' not in line:
                    continue
                try:
                    said = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(said, dict) and isinstance(name := said.get(_KEY), str):
                    metrics = dict(flat_numbers(said, _FILLED))
                    found[name] = _Result(metrics, _time(said.get("timestamp")))
    except VanishedError:
        return {}
    return found


def _time(value: object) -> int | None:
    return value * NS if type(value) is int and 0 < value < 1 << 33 else None


def _lines(blob: Blob) -> Iterator[bytes]:
    """Yield the lines of a file; one of more than 16 MiB is cut to pieces, which are no JSON."""
    at, rest = 0, b""
    while part := blob.read(at, _CHUNK):
        at += len(part)
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
        if len(rest) > SIDECAR_LIMIT:
            rest = b""
    yield rest
