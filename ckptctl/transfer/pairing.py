"""What is to be done with one checkpoint, by what is at its destination already; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ckptctl.listing import Entry, Folder
from ckptctl.manifest import Manifest
from ckptctl.model import Checkpoint, State
from ckptctl.transfer.cargo import Cargo, Piece


class Pair(StrEnum):
    """How a checkpoint and its destination stand to each other."""

    ABSENT = "absent"  # nothing is there: copy
    EQUAL = "equal"  # proven so
    UNSURE = "unsure"  # same files and sizes; their bytes have to be compared
    BEGUN = "begun"  # what is there is ours, and not whole yet
    OLDER = "older"  # a named copy that a newer one replaces
    OTHER = "other"  # another one has its name: a conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """What is known of the destination of one checkpoint."""

    folder: Folder  # the run's
    checkpoint: Checkpoint | None = None  # of the same path, as the run there is read
    manifest: Manifest | None = None
    begun: bool = False  # a note of ours says that it is on its way there


def pair(cargo: Cargo, there: There) -> Pair:
    """Return how things stand."""
    taken = _taken(cargo, there.folder)
    if not taken:
        return Pair.ABSENT
    whole = there.checkpoint is not None and there.checkpoint.state is State.COMPLETE
    if whole or _proven(there, taken):
        same = _compared(cargo, there, taken)
        if same is not None:
            return same
    if there.checkpoint is not None and whole:
        if cargo.checkpoint.named and there.checkpoint.saved_ns <= cargo.checkpoint.saved_ns:
            return Pair.OLDER
        return Pair.BEGUN if there.begun and not _whole(cargo, taken) else Pair.OTHER
    return Pair.BEGUN if there.begun else Pair.OTHER


def is_begin(cargo: Cargo, folder: Folder) -> bool:
    """Whether what has its names is some of what it holds, by sizes and links, and nothing else.

    The bytes may be others.
    """
    taken = _taken(cargo, folder)
    sizes = {piece.target: piece.entry.size for piece in cargo.payload()}
    sizes |= {path: len(content) for path, content in cargo.made.items()}
    for root in taken.keys() & set(cargo.roots):
        inside = folder.inside(root)
        if inside is None:
            return False
        del taken[root]
        for path, deep in inside.tree(f"{root}/"):
            links = {f"{path}/{name}": text for name, text in deep.links.items()}
            if deep.error or deep.others or not links.items() <= cargo.links.items():
                return False
    found = {path: folder.find(path) for path in taken}
    return all(e is not None and e.size == sizes.get(path) for path, e in found.items())


def _taken(cargo: Cargo, folder: Folder) -> dict[str, Entry]:
    """Return what is below its names at the destination, the sidecars beside it aside."""
    taken: dict[str, Entry] = {}
    for root in cargo.roots:
        inside = folder.inside(root)
        if inside is not None:
            taken[root] = Entry(0, 0)
            taken |= {f"{root}/{path}": entry for path, entry in inside.walk()}
        elif folder.holds(root):
            taken[root] = folder.find(root) or Entry(0, 0)
    for piece in cargo.payload():
        if piece.target not in taken and folder.holds(piece.target):
            taken[piece.target] = folder.find(piece.target) or Entry(0, 0)
    return taken


def _proven(there: There, taken: Mapping[str, Entry]) -> bool:
    """Whether its manifest says that what is there came whole.

    Some are no checkpoint, or not complete, until a tracker names them, which comes last.
    """
    if there.checkpoint is not None and there.checkpoint.state is State.DAMAGED:
        return False
    return there.manifest is not None and there.manifest.fits(taken)


def _compared(cargo: Cargo, there: There, taken: Mapping[str, Entry]) -> Pair | None:
    """Return EQUAL or UNSURE where files and sizes are the same; None where they are not."""
    noted = there.manifest.files if there.manifest else {}
    key = there.checkpoint.key_file if there.checkpoint else None
    aside = {path for path, file in noted.items() if file.made} | set(cargo.made)
    aside |= {root for root in cargo.roots if root != key}
    files = {path: e for path, e in taken.items() if path not in aside}
    pieces = {piece.target: piece for piece in cargo.payload()}
    if files.keys() != pieces.keys():
        return None
    if any(files[path].size != piece.entry.size for path, piece in pieces.items()):
        return None
    for path, piece in pieces.items():
        known = noted.get(path)
        if known is None or not known.fits(files[path]):
            return Pair.UNSURE
        if piece.digest and known.digest:
            if piece.digest != known.digest:
                return None
        elif known.mtime_ns != piece.mtime_ns:
            return Pair.UNSURE
    return Pair.EQUAL


def _whole(cargo: Cargo, taken: Mapping[str, Entry]) -> bool:
    """Whether all its files are there."""
    return all(piece.target in taken for piece in cargo.payload())


def stale_sidecars(cargo: Cargo, there: There) -> Iterator[Piece]:
    """Yield the sidecars that are missing or older at the destination: what is newer there stays."""
    for piece in cargo.beside():
        found = there.folder.find(piece.target)
        noted = there.manifest.files.get(piece.target) if there.manifest else None
        if found is None:
            yield piece
            continue
        seen = noted.mtime_ns if noted is not None and noted.fits(found) else found.mtime_ns
        if (seen, found.size) != (piece.mtime_ns, piece.entry.size) and seen <= piece.mtime_ns:
            yield piece
