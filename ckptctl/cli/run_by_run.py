"""Every run below a location, read by its policy: what the commands that only look begin with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ckptctl.cli.access import access_of
from ckptctl.cli.runtime import Session
from ckptctl.config import policy_for
from ckptctl.errors import CkptctlError, UnreadableError, UsageError
from ckptctl.flags import PolicyFlags
from ckptctl.group import Found
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.policy import Policy
from ckptctl.stores import told
from ckptctl.survey import Reading, Survey, name_of, path_of, read_run, survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One run as it was read; `run` is None where it could not be, `error` says why or what not."""

    name: str
    location: str
    found: Found | None = None  # None where its location could not even be listed
    run: Run | None = None
    logs: tuple[str, ...] = ()  # that its policy and the flags name
    error: CkptctlError | None = None


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """A location and the runs below it, in the order in which they were found."""

    location: str
    view: Survey | None  # None where it could not be listed
    runs: tuple[Read, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what a person should know of the location, rather than of a run."""
        return self.view.problems if self.view else ()


def read_place(session: Session, location: str | None) -> ReadPlace:
    """Read every run below a location.  Raises UnreadableError, UsageError."""
    layouts = session.config.formats if session.config else ()
    where = session.locate(location)
    access = access_of(session, session.config, where)
    view = survey(where, layouts, deep=session.common.recursive, access=access)
    runs = tuple(read_found(session, view, found) for found in view.found)
    return ReadPlace(where, view, runs)


def refuse_by_place(view: Survey, *, recursive: bool) -> None:
    """Refuse a location that is no run by itself, naming the runs that are there."""
    if view.only is not None:
        run = view.store.root
        raise UsageError(
            f"{view.location}: is one checkpoint of the run {run}; nothing was changed",
            f"name the run: {run}",
        )
    if view.found and not view.itself and not recursive:
        raise UsageError(
            f"{view.location}: is no run itself, but holds {len(view.found)}; nothing was changed:",
            "name one of them, or add --recursive",
            [f"  {path_of(view, found)}" for found in view.found],
        )


def read_places(session: Session, locations: Sequence[str] | None) -> list[ReadPlace]:
    """Read each location, by default the current directory.

    Of several, one that cannot be read is a run with an error; a single one raises it.
    """
    if not locations or len(locations) == 1:
        return [read_place(session, locations[0] if locations else None)]
    return [_one_of(session, location) for location in locations]


def _one_of(session: Session, location: str) -> ReadPlace:
    try:
        return read_place(session, location)
    except UnreadableError as error:
        return ReadPlace(location, None, (Read(name=location, location=location, error=error),))


def reading_of(session: Session, policy: Policy) -> Reading:
    """Return how a run of this policy is to be read now."""
    return Reading(
        context=session.context(policy.settle_ns, policy.await_metric_ns),
        metrics_from=policy.metrics_from,
        logs_asked=bool(session.common.metrics_from),
        state_dir=session.common.state_dir,
        uid=os.geteuid(),
    )


def parts_alone(session: Session, place: ReadPlace) -> ReadPlace:
    """Return a place with nothing complete where each node has its own disk: parts may look whole."""
    return replace(place, runs=tuple(_parts_alone(session, read) for read in place.runs))


def _parts_alone(session: Session, read: Read) -> Read:
    tier = session.config.place(read.location) if session.config else None
    if read.run is None or tier is None or not tier[0].per_node:
        return read
    return replace(read, run=replace(read.run, checkpoints=tuple(map(_part, read.run.checkpoints))))


def _part(one: Checkpoint) -> Checkpoint:
    if one.state is not State.COMPLETE:
        return one
    text = "one node's part of it, since its tier is per_node"
    return replace(
        one, state=State.INCOMPLETE, problems=(*one.problems, Problem("part-of-node", text))
    )


def read_found(session: Session, view: Survey, found: Found) -> Read:
    """Read one run of a location by its policy; what cannot be read is an error in the result."""
    name, path = name_of(view, found), path_of(view, found)
    common = session.common
    flags = PolicyFlags(settle=common.settle, metrics_from=common.metrics_from or ()).draft()
    policy = policy_for(session.config_of(path), name, path, flags) or flags.policy()
    # A log that is named and missing stops only what deletes.
    reading = replace(reading_of(session, policy), logs_asked=False)
    try:
        run = read_run(view, found, reading)
    except CkptctlError as error:
        return Read(name=name, location=path, found=found, error=error)
    except OSError as error:
        said, check = told(path, error.strerror or str(error), "check its permissions")
        unreadable = UnreadableError(f"{path}: cannot be read ({said})", check)
        return Read(name=name, location=path, found=found, error=unreadable)
    session.note(run.problems)
    unread = tuple(Problem("unreadable", text) for text in run.unread)
    run = replace(run, problems=(*run.problems, *unread))
    unlisted = None
    if found.unread:
        said, check = told(path, found.unread[0], "check its permissions")
        unlisted = UnreadableError(f"{path}: something of it cannot be read: {said}", check)
    return Read(
        name=name, location=path, found=found, run=run, logs=policy.metrics_from, error=unlisted
    )
