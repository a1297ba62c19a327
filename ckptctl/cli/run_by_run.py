"""Every run below a location, read by its policy: what the commands that only look begin with."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from ckptctl.cli.runtime import Session
from ckptctl.config import policy_for
from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.flags import PolicyFlags
from ckptctl.group import Found
from ckptctl.model import Problem, Run
from ckptctl.survey import Reading, Survey, name_of, path_of, read_run, survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One run as it was read; `run` is None where it could not be, `error` says why or what not."""

    name: str
    location: str
    run: Run | None = None
    logs: tuple[str, ...] = ()  # that its policy and the flags name
    error: CkptctlError | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A location and the runs below it, in the order in which they were found."""

    location: str
    runs: tuple[Read, ...]
    problems: tuple[Problem, ...]


def read_place(session: Session, location: str | None) -> Place:
    """Read every run below a location.  Raises UnreadableError, UsageError."""
    layouts = session.config.formats if session.config else ()
    where = session.locate(location)
    view = survey(where, layouts, deep=session.common.recursive)
    runs = tuple(_read(session, view, found) for found in view.found)
    return Place(where, runs, view.problems)


def _read(session: Session, view: Survey, found: Found) -> Read:
    name, path = name_of(view, found), path_of(view, found)
    common = session.common
    flags = PolicyFlags(settle=common.settle, metrics_from=common.metrics_from or ()).draft()
    policy = policy_for(session.config_of(path), name, path, flags) or flags.policy()
    reading = Reading(
        context=session.context(policy.settle_ns, policy.await_metric_ns),
        metrics_from=policy.metrics_from,
        state_dir=common.state_dir,
        uid=os.geteuid(),
    )
    try:
        run = read_run(view, found, reading)
    except CkptctlError as error:
        return Read(name=name, location=path, error=error)
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror})"
        return Read(name=name, location=path, error=UnreadableError(text, "check its permissions"))
    session.note(run.problems)
    unread = tuple(Problem("unreadable", text) for text in run.unread)
    run = replace(run, problems=(*run.problems, *unread))
    unlisted = None
    if found.unread:
        unlisted = UnreadableError(
            f"{path}: something of it cannot be read: {found.unread[0]}", "check its permissions"
        )
    return Read(name=name, location=path, run=run, logs=policy.metrics_from, error=unlisted)
