"""Make room for a copy: take away the checkpoint that has its name."""

from __future__ import annotations

from ckptctl.decision import Context
from ckptctl.deletion._base import Deleter, Grace
from ckptctl.model import NS, Checkpoint
from ckptctl.rules.guards import alone

_GRACE_NS = 7 * 24 * 3600 * NS
"""How long it can be brought back, unless a policy says so."""

_KEEP = frozenset({"pinned", "aliased", "held", "saving"})
"""What somebody has asked to keep, or is at, makes no room; that it is the newest says nothing here."""


def kept(checkpoint: Checkpoint, now_ns: int) -> str | None:
    """Return why a checkpoint makes no room, None where it does."""
    asked = alone(checkpoint, Context(now_ns))
    reason = next((reason.text for reason in asked if reason.rule in _KEEP), None)
    return None if reason is None else f"it is kept: {reason}"


def set_aside(
    deleter: Deleter, checkpoint: Checkpoint, now_ns: int, number: str, grace_ns: int | None
) -> str | None:
    """Take a checkpoint's name from it; return why it cannot be, None where it was done.

    On a disk it goes to the trash; in a bucket, where nothing can be moved, it is deleted.
    """
    if (why := kept(checkpoint, now_ns)) is not None:
        return why
    if deleter.postpones == "trash":
        grace = Grace(number, now_ns, now_ns + (grace_ns or _GRACE_NS))
        done = deleter.postpone([checkpoint], frozenset(), grace)
    else:
        done = deleter.delete([checkpoint], frozenset())
    for each in done:
        why = each.failed or each.kept or next(iter(each.removed.left), None)
        if why is not None:
            return why
    return None
