"""Stable-Baselines3: the model, replay buffer and normalisation of one step, `CheckpointCallback`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl import names
from ckptctl.containers import prove_file
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._neighbours import Saved, lost_parts, unlike
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Unit
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader

_ENDINGS = ("_steps.zip", "_steps.pkl")
_NAME = later(
    r"(?P<prefix>.+?)_(?:(?P<part>replay_buffer|vecnormalize)_)?(?P<step>[0-9]{1,4000})_steps\.(?:zip|pkl)",
    re.DOTALL,
)
_BEST = "best_model.zip"
_STOP = b"."
"""The last byte of every pickle, and the only one of it that is looked at."""


class _File(NamedTuple):
    """One file of a step."""

    file: str
    part: str | None  # None for the model
    found: re.Match[str]


@FORMATS.add("stable-baselines3")
class StableBaselines3(Format):
    """`PREFIX_N_steps.zip` with up to two pickles of the same step, and `best_model.zip`.

    N counts time steps of all environments.  The model is written first, then the others, none of
    them under a temporary name.
    """

    name = "stable-baselines3"
    summary = (
        "Stable-Baselines3: PREFIX_N_steps.zip with replay buffer and vecnormalize, best_model.zip"
    )
    source = (
        "stable-baselines3: common/callbacks.py CheckpointCallback._checkpoint_path, EvalCallback; "
        "common/save_util.py save_to_zip_file, save_to_pkl"
    )
    example: ClassVar[Mapping[str, bytes]] = {
        "rl_model_1000_steps.zip": torch_zip({"policy.pth": b"x"}),
        "rl_model_replay_buffer_1000_steps.pkl": b"\x80\x05N.",
        "rl_model_vecnormalize_1000_steps.pkl": b"\x80\x05N.",
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the files of each step together, and the best model."""
        steps: defaultdict[tuple[str, str], list[_File]] = defaultdict(list)
        for file in folder.files:
            if file.endswith(_ENDINGS) and (one := _read(file)):
                steps[one.found["prefix"], one.found["step"]].append(one)
        lost = _lost(steps)
        for at, files in steps.items():
            yield _claim(files, folder, lost.get(at))
        if _BEST in folder.files:
            yield _best(folder)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield a finding where a ZIP has no sound directory, or a pickle no end."""
        for path, entry in checkpoint.files.items():
            if path in checkpoint.sidecars:
                continue
            if not path.endswith(".pkl"):
                yield from prove_file(path, entry, reader)
            elif not entry.size:
                yield Finding(path, "torn", "is empty")
            else:
                with reader.open(path) as blob:
                    if blob.read(max(blob.size, 1) - 1, 1) != _STOP:
                        yield Finding(path, "torn", "does not end as a pickle does")


def _read(file: str) -> _File | None:
    """Return what a file's name says; a pickle that is neither of the two is none of a step."""
    found = _NAME.fullmatch(file)
    if found is None or names.is_copy(file, names.Name()):
        return None
    if file.endswith(".zip"):
        return _File(file, None, found) if found["part"] is None else None
    return _File(file, found["part"], found) if found["part"] else None


def _lost(steps: Mapping[tuple[str, str], list[_File]]) -> dict[tuple[str, str], str]:
    """Return what steps lack and those right before and after them have."""
    prefixes: defaultdict[str, list[Saved]] = defaultdict(list)
    for (prefix, step), files in steps.items():
        parts = frozenset(one.part for one in files if one.part)
        prefixes[prefix].append(Saved(int(step), step, parts))
    return {
        (prefix, step): part
        for prefix, saved in prefixes.items()
        for step, part in lost_parts(saved).items()
    }


def _claim(files: list[_File], folder: Folder, lost: str | None) -> Claim:
    key = min(files, key=lambda one: (one.part is not None, one.file))
    stem, suffix = key.file[:-4], key.file[-4:]
    empty = next((one.file for one in files if not folder.files[one.file].size), None)
    missing = f"{empty} is empty" if empty else None
    if key.part is not None:
        missing = f"no {key.found['prefix']}_{key.found['step']}_steps.zip, the model itself"
    elif missing is None and lost:
        missing = unlike(f"no {lost}, which the steps around it have")
    return Claim(
        format=StableBaselines3.name,
        kind=Kind.FILE if len(files) == 1 else Kind.GROUP,
        name=stem,
        members=tuple(sorted(one.file for one in files)),
        key_file=key.file,
        family=names.family(stem, suffix, [key.found.span("step")]),
        step=int(key.found["step"]),
        counts=Unit.STEP,
        missing=missing,
    )


def _best(folder: Folder) -> Claim:
    return Claim(
        format=StableBaselines3.name,
        kind=Kind.FILE,
        name=_BEST.removesuffix(".zip"),
        members=(_BEST,),
        key_file=_BEST,
        family=_BEST,
        named=True,
        missing=None if folder.files[_BEST].size else f"{_BEST} is empty",
    )
