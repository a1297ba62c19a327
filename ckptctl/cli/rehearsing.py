"""Where a drill rehearses: each run on each tier that is to hold it, or where it is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckptctl.chosen import chosen
from ckptctl.cli.run_by_run import read_found
from ckptctl.cli.runtime import Session
from ckptctl.cli.tier_runs import (
    Everywhere,
    Looked,
    RunThere,
    hidden,
    look_on,
    surveyed,
    unread_of,
)
from ckptctl.config import policy_for
from ckptctl.errors import CkptctlError, DamagedError, NotFoundError, UnreadableError
from ckptctl.group import Found
from ckptctl.model import NS, Problem
from ckptctl.policy import Tier
from ckptctl.survey import again, name_of

_DUE_NS = 24 * 3600 * NS
"""Age at which a checkpoint must have been copied: `apply` may have had no time for a younger one."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A run on one tier, as it was read; or why nothing can be rehearsed there."""

    run: str
    tier: str | None
    there: Everywhere | None
    error: CkptctlError | None = None


@dataclass(frozen=True, slots=True)
class _Side:
    """One tier and the runs there, by their paths below its url."""

    tier: Tier
    looked: Looked
    runs: dict[str, Everywhere]


def stands(session: Session, wanted: Sequence[str]) -> tuple[list[Stand], list[Problem]]:
    """Return all that is to be rehearsed, and what to say of tiers that need not hold a run.

    A name means that run on every tier; a path or URL, or what no tier holds and is a directory, is
    looked at by itself; without either all runs of all tiers are meant.  NotFoundError where there
    is nothing.
    """
    config = session.config
    tiers = [tier for tier in config.tiers if not tier.per_node] if config else []
    found: list[Stand] = []
    problems: list[Problem] = []
    for name in wanted or ("" if tiers else ".",):
        if tiers and "://" not in name and not name.startswith(("@", "/", ".")):
            more, said = _on_tiers(session, tiers, name.strip("/"))
            found += more
            problems += said
        else:
            found += _alone(session, name)
    return found, problems


def anew(session: Session, there: Everywhere) -> Everywhere:
    """Return a run at one place as it is by now.  UnreadableError where it is gone."""
    (place,) = there.places
    try:
        found = again(place.view, place.found)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{place.run.location}: cannot be listed anew ({error})") from error
    return _read(session, Looked(place.tier, place.view), found)


def _alone(session: Session, location: str) -> Iterator[Stand]:
    """Yield the runs of one location; without any NotFoundError."""
    where = session.locate(location)
    place = session.config.place(where) if session.config else None
    tier = place[0].name if place else None
    try:
        view = surveyed(session, where)
    except UnreadableError as error:
        yield Stand(location, tier, None, error)
        return
    if (unseen := hidden(view)) is not None:
        yield Stand(location, tier, None, unseen)
    elif not view.found:
        raise NotFoundError(f"{where}: there are no checkpoints at all, so nothing was rehearsed")
    looked = Looked(tier, view)
    for found in view.found:
        yield Stand(name_of(view, found), tier, _read(session, looked, found))


def _on_tiers(
    session: Session, tiers: Sequence[Tier], inner: str
) -> tuple[list[Stand], list[Problem]]:
    """Return the runs at and below a path on each tier."""
    sides = []
    for tier in tiers:
        looked = look_on(session, tier, inner)
        view = looked.view
        runs = {
            "/".join(part for part in (inner, found.folder.path) if part): _read(
                session, looked, found
            )
            for found in (view.found if view else ())
        }
        sides.append(_Side(tier, looked, runs))
    names = list(dict.fromkeys(name for side in sides for name in side.runs))
    if not names and inner and os.path.isdir(inner):
        return list(_alone(session, inner)), []
    errors = [side for side in sides if side.looked.error is not None]
    if not names and not errors:
        raise NotFoundError(
            f"{inner or 'the tiers'}: there are no checkpoints at all, so nothing was rehearsed",
            "`ckptctl status` shows the runs of all tiers",
        )
    found: list[Stand] = []
    problems: list[Problem] = []
    for name in names or [inner]:
        for side in sides:
            stand = _stand(session, name, side, sides)
            if isinstance(stand, Stand):
                found.append(stand)
            else:
                problems.append(stand)
    return found, problems


def _stand(session: Session, name: str, side: _Side, sides: Sequence[_Side]) -> Stand | Problem:
    tier = side.tier.name
    if name in side.runs:
        return Stand(name, tier, side.runs[name])
    if side.looked.error is not None:
        return Stand(name, tier, None, side.looked.error)
    text = f"{name or 'the url'}: nothing of it is on {tier}"
    for other in sides:
        for place in other.runs[name].places if name in other.runs else ():
            if _is_due(session, place, tier):
                said = f"{text}, though {other.tier.name} is copied there"
                return Stand(name, tier, None, DamagedError(said, "`ckptctl apply` copies it"))
    return Problem("not-there", text)


def _is_due(session: Session, place: RunThere, tier: str) -> bool:
    """Whether the policy of a run has something copied to a tier, and has had a day to do so."""
    run = place.run
    policy = policy_for(session.config_of(run.location), run.name, run.location)
    if policy is None or policy.copy_to != tier:
        return False
    context = session.context(policy.settle_ns, policy.await_metric_ns)
    members = chosen(run, policy.copy, context)
    return any(
        one.member in members and context.now_ns - one.saved_ns > _DUE_NS for one in run.checkpoints
    )


def _read(session: Session, looked: Looked, found: Found) -> Everywhere:
    view = looked.view
    assert view is not None  # noqa: S101 - the run was found in it
    read = read_found(session, view, found)
    errors = [read.error] if read.error else unread_of(read.run)
    places = () if read.run is None else (RunThere(looked.tier, view, found, read.run),)
    return Everywhere(places, tuple(errors))
