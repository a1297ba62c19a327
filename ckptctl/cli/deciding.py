"""One run as a policy decides on it, with proof: what `prune` acts on and `why` explains."""

from __future__ import annotations

from dataclasses import dataclass

from ckptctl.cli.elsewhere import guard_of
from ckptctl.cli.noted import noted_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.config import Config, policy_for
from ckptctl.decision import Context, Decision, Reason
from ckptctl.errors import UnreadableError, UsageError
from ckptctl.group import Found
from ckptctl.model import Run
from ckptctl.policy import Draft, Policy
from ckptctl.prove import decide_proven
from ckptctl.reading import Below
from ckptctl.stores import told
from ckptctl.survey import Survey, name_of, path_of, read_run


@dataclass(frozen=True, slots=True)
class Decided:
    """A run as it was read and proven, and what its policy decides of each checkpoint."""

    run: Run
    context: Context
    decisions: tuple[Decision, ...]


def policy_of(
    session: Session,
    config: Config | None,
    flags: Draft,
    view: Survey,
    found: Found,
    *,
    parts: bool = False,
) -> Policy | None:
    """Return the policy of a run, None where nothing matches it.

    `config` is that of --policy, which counts whoever it belongs to; `parts`: what is there may be
    the part of one node.  Raises UsageError.
    """
    path = path_of(view, found)
    counted = config or session.config_of(path)
    if flags.require_copies is not None and not (counted and counted.place(path)):
        raise UsageError(
            f"--require-copies: {path} lies on no tier of a configuration, so it has no copies; nothing was changed",
            "name the configuration with --config, or the tier by its own url",
        )
    place = counted.place(path) if counted else None
    if place is not None and place[0].per_node and not parts:
        raise UsageError(
            f"{path}: lies on {place[0].name}, which holds parts of several nodes (per_node); "
            "nothing was changed",
            "no part is complete by itself: `srun ckptctl sync` in a step of several tasks, or "
            "`sync --part K/N`, copies them, and with --move deletes what is whole elsewhere",
        )
    return policy_for(counted, name_of(view, found), path, flags)


def decide_run(
    session: Session,
    policy: Policy | None,
    view: Survey,
    found: Found,
    config: Config | None = None,
) -> Decided:
    """Read a run, look at its copies, decide and prove; changes nothing.  `config` is that of --policy.

    Raises UnreadableError where something of it cannot be read, OSError where it is gone, and what
    `decide` raises.  Without a policy all is kept.
    """
    reading = reading_of(session, policy or Policy())
    run = read_run(view, found, reading)
    session.note(run.problems)
    if policy is None:
        reason = Reason("unmatched", "no entry of `runs` in the configuration matches this run")
        kept = tuple(Decision(checkpoint, (reason,)) for checkpoint in run.checkpoints)
        return Decided(run, reading.context, kept)
    refuse_unread(run)
    copies = guard_of(session, config, policy, path_of(view, found))
    run, context = copies.seen(view, found, run), copies.context()
    reader = Below(view.store, found.folder.path)
    run, decisions = decide_proven(
        run, policy.keep, context, view.by_name, reader, noted_of(session, view, found)
    )
    return Decided(run, context, decisions)


def refuse_unread(run: Run) -> None:
    """Refuse a run of which something could not be read.  Raises UnreadableError."""
    if run.unread:
        more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
        said, check = told(run.location, run.unread[0], "check its permissions and the disk")
        raise UnreadableError(
            f"{run.location}: something of the run cannot be read: {said}{more}; nothing of it was deleted",
            check,
        )
