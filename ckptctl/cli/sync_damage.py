"""What a copy finds to be damaged at its source is read once more, and recorded there."""

from __future__ import annotations

from collections.abc import Iterable

from ckptctl.cli.run_by_run import Read, ReadPlace
from ckptctl.cli.runtime import Session
from ckptctl.errors import Interrupted
from ckptctl.group import Found
from ckptctl.model import Problem, Run
from ckptctl.survey import Survey, name_of, path_of
from ckptctl.transfer.outcome import Fault, Shipped
from ckptctl.ui.progress import Progress
from ckptctl.verdicts import Level


def note_damage(
    session: Session,
    view: Survey,
    found: Found,
    run: Run,
    results: Iterable[Shipped],
    progress: Progress,
) -> tuple[Problem, ...]:
    """Let guards and rules know of it; return why they cannot, where nothing can be recorded there."""
    members = {result.member for result in results if result.fault is Fault.DAMAGED}
    if not members:
        return ()
    from ckptctl.cli.verify_run import VerifyRun, VerifyWish  # noqa: PLC0415 - few copies find damage

    where = path_of(view, found)
    read = Read(name=name_of(view, found), location=where, found=found, run=run)
    jobs = session.common.copies_at_once
    wish = VerifyWish(
        level=Level.DIGEST, record=False, reread=False, percent=None, jobs=jobs, scope=None
    )
    verify = VerifyRun(session, ReadPlace(where, view, (read,)), read, None, wish, progress)
    try:
        with session.signals.heeded():
            verified = verify.verified([c for c in run.checkpoints if c.member in members])
    except Interrupted:  # the next copy finds it again
        return ()
    return tuple(p for p in verified.problems if p not in run.problems)
