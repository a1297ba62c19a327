"""Carry out the deletions that are scheduled of a run in a bucket, whatever is left of their grace."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from ckptctl.apply import Applier
from ckptctl.asking import Asking
from ckptctl.cli.deciding import noted_of, refuse_unread
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.deletion.trash import TrashEntry
from ckptctl.group import Found
from ckptctl.plan import plan_purge
from ckptctl.policy import Policy
from ckptctl.prove import guarded_proven
from ckptctl.reading import Below
from ckptctl.report import Outcome
from ckptctl.sight import sight_of
from ckptctl.stores._base import Store
from ckptctl.survey import Survey, again, look_again, read_run


def carry_out(
    session: Session,
    view: Survey,
    found: Found,
    root: Store,
    applier: Applier,
    meant: Sequence[TrashEntry],
) -> Iterator[Outcome]:
    """Delete what was scheduled, each only if nothing keeps it now; yield what happened to each.

    Raises UnreadableError where something of the run cannot be read, OSError where it is gone.
    """
    reading = reading_of(session, Policy())
    now = again(view, found)
    run = read_run(view, now, reading)
    refuse_unread(run)
    run, reasons = guarded_proven(
        run,
        reading.context,
        view.by_name,
        Below(view.store, found.folder.path),
        noted_of(session, view, found),
    )
    plan, beside = plan_purge(run, {entry.paths[0] for entry in meant}, reasons)
    planned = {action.checkpoint.member for action in plan.actions}
    for entry in meant:
        if entry.paths[0] not in planned:
            text = "it is gone, or was saved anew since: its schedule is void"
            if (keeper := beside.get(entry.paths[0])) is not None:
                text = f"kept by sibling now: of {keeper}, which is kept"
            path = os.path.join(root.root, entry.paths[0])
            yield Outcome(entry.name, path, "purge", "skipped", 0, text)
    asking = Asking(
        plan,
        sight_of(plan, root, (), time.monotonic),
        look=lambda: look_again(view, found, reading_of(session, Policy())),
        metrics=(),
        context=lambda: session.context(reading.context.settle_ns, 0),
    )
    yield from applier.apply(plan, asking)
