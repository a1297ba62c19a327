"""Levanter: `step-N/` with arrays of tensorstore, and a `metadata.json` that commits it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._dcp import METADATA, holds_data
from ckptctl.formats._json_files import too_large, unread
from ckptctl.formats._neighbours import Saved, doubted, lost_parts
from ckptctl.formats._orbax_parts import prove_items
from ckptctl.formats._zarr import arrays_in, is_tensorstore, missing_in, prove_arrays
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Unit
from ckptctl.patterns import later
from ckptctl.reading import SIDECAR_LIMIT, Finding, Reader, TooLargeError
from ckptctl.sidecar import parse_object, parse_sidecar

COMMIT = "metadata.json"
_NAME = later(r"step-([0-9]+)")


@FORMATS.add("levanter")
class Levanter(Format):
    """`step-N/`, committed by `metadata.json`: step, time, and whether Levanter may delete it.

    Setting `is_temporary` to false there is how its users keep a checkpoint, so that the file is
    rightly rewritten; whatever else they write into it is heard as in a sidecar.
    """

    name = "levanter"
    summary = "Levanter: step-N/ with tensorstore arrays, committed by metadata.json"
    source = "levanter: src/levanter/checkpoint.py, tensorstore_serialization.py"
    rewrites = frozenset({COMMIT})
    example: ClassVar[Mapping[str, bytes]] = {
        "step-1000/metadata.json": (
            b'{"step": 1000, "timestamp": "2026-11-23T13:07:39.123456", "is_temporary": false}'
        ),
        "step-1000/model/weight/.zarray": (
            b'{"chunks": [2], "compressor": null, "dtype": "<f4", "shape": [2], "zarr_format": 2}'
        ),
        "step-1000/model/weight/0": bytes(8),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each `step-N` with arrays; torchtitan's of that name have DCP files."""
        claims: list[Claim] = []
        saved: list[Saved] = []
        for name, inside in folder.folders.items():
            found = _NAME.fullmatch(name) if name.startswith("step-") else None
            if found is None or METADATA in inside.files or holds_data(inside.files):
                continue
            if is_tensorstore(inside):
                claims.append(_claim(name, int(found[1]), inside))
                saved.append(Saved(int(found[1]), name, arrays_in(inside)))
        lost = lost_parts(saved)
        yield from (doubted(claim, lost) for claim in claims)

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return what `metadata.json` says; Levanter itself cannot go on without step and time."""
        if claim.marker is None:
            return Metadata()
        try:
            content = reader.read(claim.marker, SIDECAR_LIMIT)
        except TooLargeError:
            return unread(f"{claim.marker} {too_large(SIDECAR_LIMIT)}")
        said = parse_object(content)
        if isinstance(said, str):
            return Metadata(missing=f"{claim.marker} {said}")
        lacking = next((key for key in ("step", "timestamp") if key not in said), None)
        missing = f"{claim.marker} has no {lacking}" if lacking else None
        return replace(parse_sidecar(claim.marker, content), missing=missing)

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
        """Yield what is wrong with its arrays."""
        yield from prove_arrays(checkpoint, reader)
        yield from prove_items(checkpoint, reader)
        yield from super().prove(checkpoint, reader)


def _claim(name: str, step: int, inside: Folder) -> Claim:
    marker = f"{name}/{COMMIT}" if COMMIT in inside.files else None
    first = min(inside.paths())
    return Claim(
        format=Levanter.name,
        kind=Kind.DIRECTORY,
        name=name,
        members=(name,),
        key_file=marker or f"{name}/{first}",
        family="step-#",
        step=step,
        counts=Unit.STEP,
        missing=missing_in(inside) if marker else f"no {COMMIT}, which is written last",
        marker=marker,
        expects_marker=True,
        claims_sidecars=(COMMIT,),
    )
