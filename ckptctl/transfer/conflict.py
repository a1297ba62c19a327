"""What is done where something else has the name of a copy: pure."""

from __future__ import annotations

from ckptctl.deletion.aside import kept
from ckptctl.transfer.outcome import Status
from ckptctl.transfer.pairing import Pair, There

BY_FLAGS = "--overwrite replaces it, --on-conflict both keeps both"
"""What the user of `sync` can do about a conflict."""


def conflict(there: There, on_conflict: str, now_ns: int, way_out: str = BY_FLAGS) -> str | None:
    """Return why it stays and nothing is copied; None where `on_conflict` says how both are settled."""
    what = "another checkpoint" if there.checkpoint else "something that is no checkpoint"
    text = f"{what} has this name there; nothing of it was touched"
    if on_conflict == "both":
        return None
    if on_conflict == "stop":
        return f"{text}: {way_out}"
    if there.checkpoint is None:
        return f"{text}: move it away yourself"
    why = kept(there.checkpoint, now_ns)
    return None if why is None else f"{text}: {why}"


def outlook(
    there: There, pair: Pair, on_conflict: str, now_ns: int, way_out: str = BY_FLAGS
) -> tuple[Status, str | None]:
    """Return what a dry run says of a checkpoint, as far as it can without reading it."""
    if pair is Pair.EQUAL:
        return Status.EQUAL, None
    if pair is Pair.UNSURE:
        return Status.PLANNED, "its bytes would be compared with those there"
    if pair is not Pair.OTHER:
        return Status.PLANNED, None
    if (text := conflict(there, on_conflict, now_ns, way_out)) is not None:
        return Status.CONFLICT, text
    if on_conflict == "both":
        return Status.PLANNED, "another one has this name there: both would be kept"
    return Status.PLANNED, "it would take the place of another one there"
