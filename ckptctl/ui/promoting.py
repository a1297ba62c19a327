"""What `promote` says it has done: in words, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ckptctl.model import Checkpoint
from ckptctl.records import Promotion, Record
from ckptctl.transfer.outcome import Shipped, Status
from ckptctl.ui import printable
from ckptctl.ui.data import VERSION, metric_data
from ckptctl.ui.syncing import result_data
from ckptctl.units import format_time


def promotion_data(
    action: str,
    after: Checkpoint,
    record: Record,
    former: Sequence[str] = (),
    copy: Shipped | None = None,
) -> dict[str, object]:
    """Return the one JSON object: what holds of the checkpoint now, and the record of provenance."""
    result = {
        "run": after.run,
        "name": after.name,
        "path": after.path,
        "action": action,
        "status": "done",
        "aliases": after.aliases,
        "tags": after.tags,
        "pinned": after.pinned,
        "former": list(former),
        "promotions": [_promotion(promotion) for promotion in record.promotions],
        "copy": None if copy is None else result_data(copy),
    }
    return {"schema": "ckptctl/promote", "version": VERSION, "results": [result]}


def promotion_text(
    action: str,
    after: Checkpoint,
    alias: str | None = None,
    former: Sequence[str] = (),
    copy: Shipped | None = None,
) -> str:
    """Return one line: what was done, and what holds now."""
    said = "; ".join(_said(action, after, alias, former))
    if copy is not None:
        said += f"; {'is' if copy.status is Status.EQUAL else 'copied'} at {copy.path}"
    return f"{printable.name(after.name)}: {printable.text(said)}"


def _said(
    action: str, after: Checkpoint, alias: str | None, former: Sequence[str]
) -> Iterator[str]:
    yield f"{action}d as {alias}" if alias else f"{action}d"
    if former:
        yield f"which was {', '.join(former)}"
    yield "pinned" if after.pinned else "not pinned"
    if after.tags:
        yield f"tagged {', '.join(after.tags)}"
    others = [name for name in after.aliases if name != alias]
    if others:
        yield f"still named {', '.join(others)}"


def _promotion(promotion: Promotion) -> dict[str, object]:
    return {
        "at": format_time(promotion.at_ns),
        "by": promotion.by,
        "host": promotion.host,
        "selector": promotion.selector,
        "from": promotion.path,
        "note": promotion.note,
        "alias": promotion.alias,
        "tags": promotion.tags,
        "pinned": promotion.pinned,
        "metrics": {name: metric_data(value) for name, value in promotion.metrics.items()},
        "digest": promotion.digest,
        "lost_at": None if promotion.lost_ns is None else format_time(promotion.lost_ns),
        "ended_at": None if promotion.ended_ns is None else format_time(promotion.ended_ns),
    }
