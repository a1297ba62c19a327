"""OLMo-core: `stepN/` with DCP below, committed by `.metadata.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp import read_commit
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._json_files import read_json
from ckptctl.formats._neighbours import Saved, doubted, lost_parts
from ckptctl.formats._olmo_steps import (
    CORE_COMMIT,
    DCP,
    TRAIN,
    Owner,
    Step,
    below,
    empty_in,
    gap_in,
    leftover,
    ranks_of,
    steps_of,
)
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.reading import Finding, Reader

_LIMIT = 2**20


@FORMATS.add("olmo-core")
class OlmoCore(Format):
    """`stepN/`: `.metadata.json` is written last, and removed first where a step is to go."""

    name = "olmo-core"
    summary = "OLMo-core: stepN/ with model_and_optim/ and train/, committed by .metadata.json"
    source = "OLMo-core: src/olmo_core/train/checkpoint.py, callbacks/checkpointer.py"
    example: ClassVar[Mapping[str, bytes]] = {
        "step1000/.metadata.json": b'{"version": "2.4.0", "ephemeral": false}',
        "step1000/model_and_optim/.metadata": dcp_metadata({"__0_0.distcp": len(torch_zip())}),
        "step1000/model_and_optim/__0_0.distcp": torch_zip(),
        "step1000/train/rank0.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each step, and what was left under a staging name."""
        saved: list[Saved] = []
        claims: list[Claim] = []
        for one in steps_of(Owner.CORE, folder):
            if one.staged:
                yield leftover(one, Owner.CORE)
                continue
            ranks = ranks_of(below(one.inside, TRAIN)).values()
            saved.append(Saved(one.step, one.name, frozenset(ranks)))
            claims.append(_claim(one))
        lost = {name: f"{TRAIN}/{file}" for name, file in lost_parts(saved).items()}
        yield from (doubted(claim, lost) for claim in claims)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return that `.metadata.json` commits nothing where it is no JSON."""
        if claim.marker is None or claim.temporary:
            return Metadata()
        size = folder.folders[claim.name].files[CORE_COMMIT].size
        said = read_json(reader, claim.marker, size, _LIMIT)
        return Metadata(missing=f"{claim.marker} {said}" if isinstance(said, str) else None)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what DCP's index names in vain, and what is wrong with the states of the ranks."""
        yield from prove_dcp(checkpoint, reader)


def _claim(one: Step) -> Claim:
    inside = one.inside
    marked = CORE_COMMIT in inside.files
    covered = {CORE_COMMIT, DCP, TRAIN}
    return Claim(
        format=OlmoCore.name,
        kind=Kind.DIRECTORY,
        name=one.name,
        members=(one.name,),
        key_file=f"{one.name}/{_key(inside)}",
        family=one.family,
        step=one.step,
        counts=Unit.STEP,
        missing=_missing(inside),
        marker=f"{one.name}/{CORE_COMMIT}" if marked else None,
        expects_marker=True,
        uncovered=tuple(
            f"{one.name}/{path}" for path in inside.paths() if path.split("/")[0] not in covered
        ),
    )


def _key(inside: Folder) -> str:
    """Return the marker, else DCP's, else the first file."""
    if CORE_COMMIT in inside.files:
        return CORE_COMMIT
    deep = inside.folders.get(DCP)
    if deep is not None and deep.files:
        return f"{DCP}/{read_commit(deep.files).key}"
    return min(inside.paths())


def _missing(inside: Folder) -> str | None:
    if CORE_COMMIT not in inside.files:
        return f"no {CORE_COMMIT}, which is written last and removed first"
    if empty := empty_in(inside):
        return f"{empty} is empty"
    deep = inside.folders.get(DCP)
    missing = read_commit(deep.files).missing if deep else f"no {DCP}/"
    if missing:
        return f"{DCP}: {missing}" if deep else missing
    rank = gap_in(ranks_of(below(inside, TRAIN)))
    return None if rank is None else f"no {TRAIN}/rank{rank}.pt"
