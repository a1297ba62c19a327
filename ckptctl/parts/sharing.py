"""How callers that see the very same files divide them, so that none is sent twice; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ckptctl.parts.part import Part
from ckptctl.transfer.cargo import Cargo, Piece


def sight_of(cargo: Cargo) -> str:
    """Return what is the same for all who list the same files: on one shared file system, say.

    Names, sizes, times and inodes: copies of one file on two nodes are not taken for it.
    """
    import hashlib  # noqa: PLC0415 - only who copies needs it

    hasher = hashlib.sha256()
    for piece in sorted(cargo.pieces, key=lambda piece: piece.path):
        entry = piece.entry
        hasher.update(
            repr((piece.path, entry.version, entry.inode)).encode(errors="surrogateescape")
        )
    return hasher.hexdigest()[:32]


def shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Return who of `count` callers is to take each file: the largest first, to whom has least."""
    import heapq  # noqa: PLC0415 - the same

    loads = [(0, number) for number in range(count)]
    taken = {}
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        load, number = heapq.heappop(loads)
        taken[path] = number
        heapq.heappush(loads, (load + sizes[path] + 1, number))
    return taken


def left_over(
    pieces: Iterable[Piece],
    share: Mapping[str, int],
    others: Collection[Part],
    alive: Collection[int],
) -> list[Piece]:
    """Return the files that nobody else hands in: of `others`, those that see the same files.

    Who is `alive` and at it is trusted to bring its share; who is done has brought what it notes.
    """
    busy = {part.caller.number for part in others if not part.done and part.caller.number in alive}
    brought = {path for part in others for path in part.files}
    return [
        piece
        for piece in pieces
        if piece.target not in brought and share.get(piece.target) not in busy
    ]
