"""Carry out the deletions that are scheduled of a run in a bucket, whatever is left of their grace."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ckptctl.apply import Applier
from ckptctl.asking import Asking
from ckptctl.cli.deciding import policy_of, refuse_unread
from ckptctl.cli.elsewhere import guard_of
from ckptctl.cli.noted import noted_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.config import NO_FLAGS
from ckptctl.deletion.trash import TrashEntry
from ckptctl.group import Found
from ckptctl.model import Run
from ckptctl.plan import plan_purge
from ckptctl.policy import Policy
from ckptctl.prove import guarded_proven
from ckptctl.reading import Below
from ckptctl.report import Outcome
from ckptctl.sight import sight_of
from ckptctl.stores._base import Store
from ckptctl.survey import Survey, again, path_of, read_run


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
    policy = policy_of(session, None, NO_FLAGS, view, found) or Policy()
    copies = guard_of(session, None, policy, path_of(view, found))
    # Of the policy only what it asks for copies counts: rules have decided when it was scheduled.
    reading = replace(reading_of(session, Policy()), context=copies.context())
    now = again(view, found)
    run = read_run(view, now, reading)
    refuse_unread(run)
    run, reasons = guarded_proven(
        copies.seen(view, now, run),
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

    def look() -> Run:
        listed = again(view, found)
        return copies.seen(view, listed, read_run(view, listed, reading_of(session, Policy())))

    asking = Asking(
        plan,
        sight_of(plan, root, (), time.monotonic),
        look=look,
        metrics=(),
        context=lambda: replace(copies.context(plan.run.checkpoints), await_metric_ns=0),
    )
    yield from applier.apply(plan, asking)
