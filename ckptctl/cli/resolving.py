"""The first of the chosen checkpoints that is whole now, and why others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptctl.cli.noted import noted_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.tier_runs import Everywhere, RunThere
from ckptctl.config import policy_for
from ckptctl.errors import CkptctlError, NotFoundError, UnreadableError
from ckptctl.model import Checkpoint, State
from ckptctl.prove import prove
from ckptctl.reading import Below
from ckptctl.resuming import Candidate, gone_back, parts_of
from ckptctl.rules._base import Metric
from ckptctl.selecting import Selector, Word, select
from ckptctl.survey import name_of, path_of
from ckptctl.ui import printable
from ckptctl.units import format_time

NOTHING_LOST: Mapping[str, str] = {}

_SETTLING = frozenset({"settling", "marker-older"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """A checkpoint that was whole a moment ago, where it is, and why it is this one."""

    place: RunThere
    checkpoint: Checkpoint
    why: str

    @property
    def tier(self) -> str | None:
        """The name of its tier."""
        return self.place.tier


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a selector comes to: a checkpoint, what to say of it, and what could not be read."""

    resolved: Resolved
    notes: tuple[str, ...]
    errors: tuple[CkptctlError, ...]


def resolve_in(
    session: Session,
    everywhere: Everywhere,
    selector: Selector,
    *,
    reachable: bool,
    lost: Mapping[str, str] = NOTHING_LOST,
) -> Resolution:
    """Return the first checkpoint that a selector chooses and that is whole at structure level now.

    `lost` says what turned out to be wrong with checkpoints when they were read, by path.  Raises UnreadableError where a place cannot be read; with `reachable` only where nothing is
    found at the others.  NotFoundError where all were read and none is whole.
    """
    errors = list(everywhere.errors)
    places = everywhere.places
    refused = _refused(errors)
    if refused is not None and not (reachable and places):
        raise refused
    seen = [place.seen for place in places]
    metric = policy_metric(session, places) if selector.word is Word.BEST else None
    try:
        candidates, notes = select(selector, seen, metric)
    except NotFoundError:
        if refused is not None:
            raise refused from None
        raise
    passed: list[str] = []
    for candidate in candidates:
        place = places[candidate.place]
        try:
            wrong = lost.get(candidate.checkpoint.path) or wrong_to_resume(
                session, place, candidate.checkpoint
            )
        except UnreadableError as error:
            errors.append(error)
            if not reachable:
                raise
            continue
        if wrong is None:
            resolved = Resolved(place, candidate.checkpoint, candidate.why)
            said = [*notes, *passed, *_remarks(candidate, selector, places)]
            return Resolution(resolved, tuple(said), tuple(errors))
        passed.append(f"passed over {shown(place, candidate.checkpoint)}: {wrong}")
    if errors:
        raise _refused(errors) or errors[0]
    for note in (*notes, *passed):
        session.say(f"warning: {printable.text(note)}")
    where = ", ".join(place.run.location for place in places)
    raise NotFoundError(
        f"{where}: no checkpoint that {selector.meant} is whole"
        if selector.word is Word.NAME
        else f"{where}: none that {selector.text} could mean is whole",
        "`ckptctl verify` says what is wrong with each",
    )


def wrong_with(session: Session, place: RunThere, checkpoint: Checkpoint) -> str | None:
    """Return why a checkpoint is not whole at structure level now, None where it is.

    Its age proves nothing.  Raises UnreadableError.
    """
    settling = any(problem.code in _SETTLING for problem in checkpoint.problems)
    if checkpoint.state is not State.COMPLETE and not (
        checkpoint.state is State.SAVING and settling
    ):
        said = [p.text for p in checkpoint.problems if p.code != "stale-record"]
        return f"it is {checkpoint.state} ({said[0]})" if said else f"it is {checkpoint.state}"
    reader = Below(place.view.store, place.found.folder.path)
    noted = noted_of(session, place.view, place.found)
    findings = prove(checkpoint, place.view.by_name, reader, noted)
    if not findings:
        return None
    return f"it is not whole ({findings[0].file}: {findings[0].text})"


def wrong_to_resume(session: Session, place: RunThere, checkpoint: Checkpoint) -> str | None:
    """Return why a checkpoint, or what belongs to it in other files, is not whole."""
    wrong = wrong_with(session, place, checkpoint)
    if wrong is not None:
        return wrong
    for part in parts_of(checkpoint, place.run):
        if (wrong := wrong_with(session, place, part)) is not None:
            return f"{part.name} belongs to it, and {wrong}"
    return None


def policy_metric(session: Session, places: Sequence[RunThere]) -> Metric | None:
    """Return the metric by which the policy of a run ranks, where there is one."""
    for place in places:
        path = path_of(place.view, place.found)
        name = name_of(place.view, place.found)
        policy = policy_for(session.config_of(path), name, path)
        if policy is not None and policy.metrics:
            return policy.metrics[0]
    return None


def shown(place: RunThere, checkpoint: Checkpoint) -> str:
    """Return how a checkpoint is called where there may be several tiers."""
    return f"{checkpoint.name} on {place.tier}" if place.tier else checkpoint.name


def _refused(errors: Sequence[CkptctlError]) -> CkptctlError | None:
    """Return one error for all that could not be read."""
    if not errors:
        return None
    return UnreadableError(
        errors[0].message,
        f"{errors[0].hint}; --reachable takes the newest of what can be read",
        [error.message for error in errors[1:]],
    )


def _remarks(candidate: Candidate, selector: Selector, places: Sequence[RunThere]) -> list[str]:
    """Return what a person should know of the checkpoint that was chosen."""
    chosen, said = candidate.checkpoint, []
    seen = [place.seen for place in places]
    if selector.word is Word.LATEST and (last := gone_back(seen, chosen)) is not None:
        said.append(
            f"{last.name} (step {last.step}) was saved after {chosen.name} (step {chosen.step}): "
            f"if the run went back, `saved` selects it"
        )
    said += [p.text for p in chosen.problems if p.code == "marker-older"]
    if chosen.doomed_ns is not None:
        when = format_time(chosen.doomed_ns)
        said.append(f"{chosen.name} is to be deleted at {when}: `ckptctl hold` keeps it")
    return said
