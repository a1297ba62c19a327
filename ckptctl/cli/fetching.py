"""Fetch a checkpoint to where a job runs: whole, with the rest of its step and its pointers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ckptctl.cli.naming import Target
from ckptctl.cli.recording import host_name, read_after, recorder_of, user_name
from ckptctl.cli.resolving import Resolved, wrong_with
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.sync_run import SyncRun
from ckptctl.cli.tier_runs import RunThere
from ckptctl.errors import CkptctlError, Interrupted, NotFoundError, PartialError
from ckptctl.families import families
from ckptctl.flags import PolicyFlags
from ckptctl.model import NS, Checkpoint, Hold
from ckptctl.noting import held, process_id, released
from ckptctl.records import Record
from ckptctl.resuming import parts_of
from ckptctl.siblings import siblings
from ckptctl.stores import settled
from ckptctl.survey import path_of
from ckptctl.transfer.destination import refuse_destination
from ckptctl.transfer.outcome import Fault, Shipped, Status, SyncedRun
from ckptctl.transfer.throttle import Throttle
from ckptctl.ui.progress import Progress

_TTL_NS = 24 * 3600 * NS  # after which a hold counts no more that a killed fetch has left


_TIMES = 5
"""How often what is being fetched may go before it is whole."""


class LostError(Exception):
    """What was being fetched turned out damaged, or went meanwhile: another one has to do."""

    def __init__(self, checkpoint: Checkpoint, text: str, fault: Fault) -> None:
        """`checkpoint` is the one that was meant, `text` says what is wrong with which file."""
        super().__init__(text)
        self.text = text
        self.path = checkpoint.path
        self.damaged = fault is Fault.DAMAGED  # else it went, or was saved anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A checkpoint that is whole where it was fetched to."""

    path: str
    source: str
    status: str  # done, equal, or here: it lay there from the beginning
    bytes: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    members: tuple[str, ...] = ()  # all that was fetched, by their paths within the run
    notes: tuple[str, ...] = ()  # what a person should know
    files: int | None = None  # how many, where these are not all


def fetch(
    session: Session, resolved: Resolved, to: str, progress: Progress, *, rehearsal: bool = False
) -> Fetched:
    """Copy a checkpoint, and what else there is of its step, to a run's own directory.

    It is held meanwhile, where that can be noted; a rehearsal notes nothing at the source.  Raises
    LostError, UsageError, PartialError where it could not be copied or another one has its name
    there, and what a sync raises.
    """
    place, checkpoint = resolved.place, resolved.checkpoint
    if lies_in(checkpoint.path, to):
        return Fetched(path=checkpoint.path, source=checkpoint.path, status="here")
    refuse_destination(to, path_of(place.view, place.found), place.view.formats)
    step, notes = all_of_step(session, place, checkpoint)
    with ExitStack() as stack:
        if not rehearsal:
            stack.enter_context(held_at(session, place, step))
        began = time.monotonic()
        ends = (session, place, step, to, progress)
        done = _sync(*ends, own_state=rehearsal, joins=not rehearsal)
        seconds = round(time.monotonic() - began, 3)
    results = _whole(session, done, checkpoint, step)
    own = results[checkpoint.member]
    notes += [
        f"{result.path}: was not written: {result.error}"
        for result in done.results
        if result.action == "point" and result.status is Status.FAILED
    ]
    sent = any(result.status is Status.DONE for result in results.values())
    return Fetched(
        path=own.path,
        source=checkpoint.path,
        status=Status.DONE if sent else Status.EQUAL,
        bytes=sum(result.bytes for result in results.values()),
        bytes_sent=sum(result.bytes_sent for result in results.values()),
        seconds=seconds,
        members=tuple(results),
        notes=tuple(notes),
    )


def refuse_endless(error: LostError, times: int) -> None:
    """Refuse to look anew for ever, where all that is found goes before it is fetched."""
    if times >= _TIMES:
        raise PartialError(
            f"{error.path}: could not be fetched: {error.text}, and others before it",
            "something deletes or replaces the checkpoints of this run faster than they are copied",
        ) from error


def copied(
    session: Session, place: RunThere, checkpoint: Checkpoint, to: str, progress: Progress
) -> Shipped:
    """Copy one checkpoint alone, that was just proven whole; return what became of it: it is there.

    Raises UsageError where the destination cannot be one, PartialError where it could not be copied,
    and what a sync raises.
    """
    refuse_destination(to, path_of(place.view, place.found), place.view.formats)
    try:
        with held_at(session, place, (checkpoint,)):
            ends = (session, place, (checkpoint,), to, progress)
            done = _sync(*ends, own_state=False, joins=False)
        return _whole(session, done, checkpoint, (checkpoint,))[checkpoint.member]
    except LostError as lost:
        raise PartialError(f"{checkpoint.path}: was not copied: {lost.text}") from lost


def lies_in(path: str, location: str) -> bool:
    """Whether a checkpoint lies below a location, however both are spelled."""
    return settled(path).startswith(settled(location).rstrip("/") + "/")


def all_of_step(
    session: Session, place: RunThere, checkpoint: Checkpoint
) -> tuple[tuple[Checkpoint, ...], list[str]]:
    """Return all that there is of a checkpoint's step, itself the first, and what is left out of it.

    What belongs to it as its optimizer was proven whole along with it.
    """
    step = {c.member: c for c in (checkpoint, *parts_of(checkpoint, place.run))}
    notes = []
    for one, _ in siblings(families(place.run), {checkpoint.member}):
        if one.member in step:
            continue
        if (wrong := wrong_with(session, place, one)) is None:
            step[one.member] = one
        else:
            notes.append(f"{one.name} is of the same step, and was not fetched: {wrong}")
    return tuple(step.values()), notes


def _sync(
    session: Session,
    place: RunThere,
    step: Sequence[Checkpoint],
    to: str,
    progress: Progress,
    *,
    own_state: bool,
    joins: bool,
) -> SyncedRun:
    wish = Wish(
        proven=frozenset(one.member for one in step),
        on_conflict="stop",
        jobs=session.common.copies_at_once,
        own_state=own_state,
        joins=joins,
    )
    throttle = Throttle(None, time.monotonic, time.sleep)
    settle = PolicyFlags(settle="0s").draft()  # it was proven, so that its age says nothing
    run = SyncRun(session, None, settle, place.view, place.found, to, wish, throttle, progress)
    return run.synced()


def _whole(
    session: Session, done: SyncedRun, checkpoint: Checkpoint, step: Sequence[Checkpoint]
) -> dict[str, Shipped]:
    """Return what became of each by its member; raise what is wrong where one is not there whole."""
    session.signals.heed()
    if done.error is not None:
        raise done.error
    results = {r.member: r for r in done.results if r.action == "copy"}
    for one in step:
        result = results.get(one.member)
        if result is None:
            raise LostError(checkpoint, f"{one.name} went before it was fetched", Fault.CHANGED)
        if result.fault is not None:
            raise LostError(checkpoint, f"{one.name}: {result.error}", result.fault)
        if result.status is Status.CONFLICT:
            raise PartialError(
                f"{result.path}: another one than {one.path} has this name there; "
                "nothing of it was touched, and it is not the one that was meant",
                "name another directory, or move that one away",
            )
        if result.status not in {Status.DONE, Status.EQUAL}:
            raise PartialError(
                f"{one.path}: could not be copied to {done.destination}: {result.error}",
                "the same call goes on where it stopped",
            )
    return {one.member: results[one.member] for one in step}


@contextmanager
def held_at(session: Session, place: RunThere, step: Sequence[Checkpoint]) -> Iterator[None]:
    """Keep prune away from what is fetched.  LostError where one was faster.

    Who may not write there goes on without: a prune that comes meanwhile is seen by the copy.
    """
    first, members = step[0], [one.member for one in step]
    target = Target(place.view, place.found, first.member, first.name)
    now_ns = session.clock()
    own = Hold(f"{user_name()}: ckptctl", host_name(), now_ns + _TTL_NS, process_id())

    def begin(record: Record) -> Record:
        return held(record, own, now_ns)

    def end(record: Record) -> Record:
        return released(record, own)

    with ExitStack() as stack:
        try:
            recorder = stack.enter_context(recorder_of(session, target))
            with session.signals.noted():
                recorder.change_all(members, begin)
        except Interrupted:
            raise
        except (CkptctlError, OSError):
            yield
            return
        try:
            try:
                read_after(session, target, recorder)
            except NotFoundError as error:
                text = f"{first.name} was deleted this moment"
                raise LostError(first, text, Fault.CHANGED) from error
            yield
        finally:
            with session.signals.noted():
                try:
                    recorder.change_all(members, end)
                except (CkptctlError, OSError) as error:
                    session.say(f"warning: the hold of {first.name} stands for 24h more: {error}")
