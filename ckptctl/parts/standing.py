"""How a caller's part stands to what is at the destination already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from ckptctl.listing import Entry, Folder
from ckptctl.manifest import Manifest, ManifestError
from ckptctl.model import State
from ckptctl.parts.counting import SAVE_NS
from ckptctl.parts.opened import Opened
from ckptctl.parts.whole import key_of
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.destination import Destination


class Standing(StrEnum):
    """What is to be done with a part."""

    SEND = "send"  # nothing whole has its name there
    HIDE = "hide"  # an older copy of a named one has: nothing of it may be written over
    EQUAL = "equal"  # what is whole there holds every file of it
    MORE = "more"  # what is whole there was published without it, and lacks some of it
    OTHER = "other"  # a conflict


def standing(
    key: str,
    cargo: Cargo,
    there: Destination,
    digest: Callable[[Piece], str],
    opened: Opened | None = None,
) -> Standing:
    """Return how it stands; `digest` reads a file of the source.  Raises what that does.

    `opened` says that what is there was published without this caller.
    """
    found = next((c for c in there.run.checkpoints if key_of(c) == key), None)
    member = found.member if found else cargo.member
    try:
        manifest = there.manifest(member)
    except ManifestError:
        manifest = None  # what it was made of is not known
    fits = manifest is not None and manifest.fits(_entries(manifest, there.found.folder))
    if not fits and (found is None or found.state is not State.COMPLETE):
        return Standing.SEND
    if fits and manifest is not None and _holds(manifest, cargo, digest):
        return Standing.EQUAL
    if cargo.checkpoint.named and found and found.saved_ns <= cargo.checkpoint.saved_ns:
        return Standing.HIDE
    if fits and manifest is not None and opened is not None:
        lacking = added_to(manifest, cargo)
        rest = replace(cargo, pieces=tuple(p for p in cargo.pieces if p not in lacking))
        near = abs(opened.newest_ns - max(p.mtime_ns for p in cargo.pieces)) <= SAVE_NS
        if near and cargo.links.keys() <= manifest.files.keys() and _holds(manifest, rest, digest):
            return Standing.MORE
    return Standing.OTHER


def added_to(manifest: Manifest, cargo: Cargo) -> tuple[Piece, ...]:
    """Return what a part has that a copy lacks."""
    return tuple(piece for piece in cargo.payload() if piece.target not in manifest.files)


def _entries(manifest: Manifest, folder: Folder) -> Mapping[str, Entry]:
    found = {path: folder.find(path) for path in manifest.files}
    return {path: entry for path, entry in found.items() if entry is not None}


def _holds(manifest: Manifest, cargo: Cargo, digest: Callable[[Piece], str]) -> bool:
    """Whether a whole copy has every file of a part: of one time and size, or of the same bytes."""
    for piece in cargo.payload():
        noted = manifest.files.get(piece.target)
        if noted is None or noted.bytes != piece.entry.size:
            return False
        if noted.mtime_ns != piece.mtime_ns and (piece.digest or digest(piece)) != noted.digest:
            return False
    return True
