"""A run with what its site's purge has taken of it already, and what it is about to take."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ckptctl.at_risk import AtRisk, at_risk_of, risk_problems
from ckptctl.cli.expiring import Expiring, foreseen, unknown
from ckptctl.cli.noted import noted_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.config import policy_for
from ckptctl.decision import Context
from ckptctl.errors import CkptctlError
from ckptctl.expiry import SitePurge
from ckptctl.flags import PolicyFlags
from ckptctl.group import Found
from ckptctl.manifest import ManifestError
from ckptctl.manifests import Manifests
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.prove import checked
from ckptctl.reading import Below
from ckptctl.survey import Survey


class Risking(NamedTuple):
    """What a purge does to a run; what it has torn is not complete any more."""

    run: Run
    risk: AtRisk | None  # None where it cannot be known


def risking(session: Session, view: Survey, found: Found, run: Run, purge: SitePurge) -> Risking:
    """Return a run, with its copies seen, as a purge leaves it; what cannot be known is a problem."""
    flags = PolicyFlags(settle=session.common.settle).draft()
    policy = policy_for(session.config_of(run.location), run.name, run.location, flags)
    context = reading_of(session, policy or flags.policy()).context
    try:
        seen = foreseen(session, view, found, run, purge, context.now_ns)
        whole = _without_torn(run, view, found, seen, noted_of(session, view, found), context)
    except (CkptctlError, OSError) as error:
        return Risking(replace(run, problems=(*run.problems, unknown(run, error))), None)
    problems = (*seen.problems, *risk_problems(whole, seen.expiries, purge))
    return Risking(
        replace(whole, problems=(*whole.problems, *problems)),
        at_risk_of(whole, seen.expiries, purge),
    )


def _without_torn(
    run: Run,
    view: Survey,
    found: Found,
    seen: Expiring,
    manifests: Manifests,
    context: Context,
) -> Run:
    """Return the run with what has lost files already as what it is.

    Looked at are those of which a file may be gone by now, and those that are not what was noted
    of them.  Raises UnreadableError.
    """

    def doubtful(checkpoint: Checkpoint) -> bool:
        if checkpoint.state is not State.COMPLETE or checkpoint.proven:
            return False
        expiry = seen.expiries.get(checkpoint.member)
        try:
            return (expiry is not None and expiry.due) or manifests(checkpoint.member) is not None
        except ManifestError:
            return False

    members = {c.member for c in run.checkpoints if doubtful(c)}
    if not members:
        return run
    reader = Below(view.store, found.folder.path)
    after = checked(run, members, context, view.by_name, reader, manifests)
    torn = [
        (c, now)
        for c, now in zip(run.checkpoints, after.checkpoints, strict=True)
        if now.state is not c.state
    ]
    problems = tuple(
        Problem("torn", f"{c.name} is not whole any more: {now.problems[-1].text}")
        for c, now in torn
    )
    return replace(after, problems=(*after.problems, *problems))
