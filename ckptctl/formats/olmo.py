"""OLMo, the first of AI2's trainers: `stepN/` of ranks, and `stepN-unsharded/` in whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp import read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._neighbours import Saved, doubted, lost_parts
from ckptctl.formats._olmo_steps import (
    CONFIG,
    DCP,
    TRAIN,
    WHOLE,
    Owner,
    Step,
    below,
    empty_in,
    gap_in,
    leftover,
    ranks_of,
    steps_of,
)
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.reading import TRACKER_LIMIT, Finding, Reader, TooLargeError

WORLD = "metadata.yaml"
_LOCAL = ("model", "optim", TRAIN)


@FORMATS.add("olmo")
class Olmo(Format):
    """`stepN/` and `stepN-unsharded/`, renamed from `-tmp` when `config.yaml` is there.

    OLMo takes that file for the sign that a copy in a bucket is whole.  Both forms of one step are
    checkpoints of their own.  `latest` and `latest-unsharded` are links.
    """

    name = "olmo"
    summary = "OLMo: stepN/ with the files of its ranks, stepN-unsharded/ with model, optim, train"
    source = "OLMo: olmo/checkpoint.py, olmo/train.py"
    example: ClassVar[Mapping[str, bytes]] = {
        "step1000-unsharded/config.yaml": b"run_name: OLMo-1B\n",
        "step1000-unsharded/model.pt": torch_zip(),
        "step1000-unsharded/optim.pt": torch_zip(),
        "step1000-unsharded/train.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each step, and what was left under a staging name."""
        saved: list[Saved] = []
        claims: list[Claim] = []
        for one in steps_of(Owner.OLMO, folder):
            if one.staged:
                yield leftover(one, Owner.OLMO)
                continue
            claims.append(_claim(one))
            if not one.whole:
                saved.append(Saved(one.step, one.name, _rank_files(one.inside)))
        lost = lost_parts(saved)
        yield from (doubted(claim, lost) for claim in claims)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return which rank is missing of those that `metadata.yaml` counts."""
        inside = folder.folders[claim.members[0]]
        if claim.temporary or WORLD not in inside.files:
            return Metadata()
        path = f"{claim.name}/{WORLD}"
        try:
            count = _world_size(reader.read(path, TRACKER_LIMIT))
        except TooLargeError:
            count = None
        if count is None:
            return Metadata(missing=f"{path} has no world_size")
        for part in _LOCAL:
            rank = gap_in(ranks_of(below(inside, part)), count - 1)
            if rank is not None:
                return Metadata(missing=f"no {part}/rank{rank}.pt of {count} ranks")
        return Metadata()

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its tensor files."""
        yield from prove_dcp(checkpoint, reader)


def _claim(one: Step) -> Claim:
    inside = one.inside
    marked = CONFIG in inside.files
    known = {CONFIG, WORLD, *WHOLE, *ranks_of(inside.files).values()}
    tops = {DCP, *_LOCAL}
    uncovered = [
        path
        for path in inside.paths()
        if (path.split("/")[0] not in tops if "/" in path else path not in known)
    ]
    return Claim(
        format=Olmo.name,
        kind=Kind.DIRECTORY,
        name=one.name,
        members=(one.name,),
        key_file=f"{one.name}/{CONFIG if marked else min(inside.paths())}",
        family=one.family,
        step=one.step,
        counts=Unit.STEP,
        missing=_missing(one),
        marker=f"{one.name}/{CONFIG}" if marked else None,
        expects_marker=True,
        uncovered=tuple(f"{one.name}/{path}" for path in sorted(uncovered)),
        resumable=not one.whole or _has(inside, "optim"),
    )


def _missing(one: Step) -> str | None:
    inside = one.inside
    if CONFIG not in inside.files:
        return f"no {CONFIG}, which is written last"
    if empty := empty_in(inside):
        return f"{empty} is empty"
    if one.whole:
        return _missing_whole(inside)
    if ranks_of(inside.files):
        rank = gap_in(ranks_of(inside.files))
        return None if rank is None else f"no rank{rank}.pt"
    if DCP in inside.folders or not (below(inside, "model") or below(inside, "optim")):
        deep = inside.folders.get(DCP)
        missing = read_commit(deep.files).missing if deep else f"no {DCP}/"
        rank = gap_in(ranks_of(below(inside, TRAIN)))
        return missing or (None if rank is None else f"no {TRAIN}/rank{rank}.pt")
    last = max(rank for part in _LOCAL for rank in ranks_of(below(inside, part)))
    for part in _LOCAL:
        rank = gap_in(ranks_of(below(inside, part)), last)
        if rank is not None:
            return f"no {part}/rank{rank}.pt"
    return None if WORLD in inside.files else f"no {WORLD}"


def _missing_whole(inside: Folder) -> str | None:
    """Return what is not there of a whole one; converted for its weights, it has neither of the rest."""
    if not _has(inside, "model"):
        return "no model.pt"
    train = "train.pt" in inside.files or "other.pt" in inside.files
    if train is not _has(inside, "optim"):
        return "no optim.pt beside train.pt" if train else "no train.pt beside optim.pt"
    return None


def _has(inside: Folder, part: str) -> bool:
    return f"{part}.pt" in inside.files or f"{part}.safetensors" in inside.files


def _rank_files(inside: Folder) -> frozenset[str]:
    """Return the files of ranks, at the top and below."""
    found = set(ranks_of(inside.files).values())
    for part in _LOCAL:
        found.update(f"{part}/{name}" for name in ranks_of(below(inside, part)).values())
    return frozenset(found)


def _world_size(content: bytes) -> int | None:
    """Return what a line of YAML says; it is OmegaConf that writes this file of one number."""
    for line in content.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        value = value.strip()
        if key.strip() == "world_size" and value.isascii() and value.isdecimal():
            return int(value[:9])
    return None
