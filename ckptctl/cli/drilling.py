"""One rehearsal: what a run would be resumed from on one tier, fetched, and read to the last byte."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from ckptctl.cli.fetching import Fetched, LostError, all_of_step, fetch, refuse_endless
from ckptctl.cli.rehearsing import Stand, anew
from ckptctl.cli.resolving import Resolution, resolve_in
from ckptctl.cli.run_by_run import read_place
from ckptctl.cli.runtime import Session
from ckptctl.cli.verify_run import VerifyRun, VerifyWish
from ckptctl.errors import CkptctlError, DamagedError, Interrupted, NotFoundError
from ckptctl.patterns import later
from ckptctl.selecting import parse_selector
from ckptctl.stores import settled
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.sweeping import LIFE_NS
from ckptctl.ui.drilling import Drilled
from ckptctl.ui.progress import Progress
from ckptctl.ui.verifying import Verified
from ckptctl.verdicts import BAD, Level

SCRATCH = "ckptctl-drill-"
"""How the name begins of a directory that a drill fetches to; 16 hexadecimal digits follow."""

_OURS = later(rf"{SCRATCH}[0-9a-f]{{16}}")
_LATEST = parse_selector("latest")


@dataclass(frozen=True, slots=True)
class Ready:
    """What is to be rehearsed, or how that failed already (`resolution` is None)."""

    stand: Stand
    drilled: Drilled
    resolution: Resolution | None = None

    @property
    def bytes(self) -> int:
        """How much has to be fetched."""
        return self.drilled.bytes if self.resolution else 0


def ready(session: Session, stand: Stand) -> Ready:
    """Return what `resolve latest` finds on one tier alone."""
    drilled = Drilled(run=stand.run, tier=stand.tier)
    if stand.there is None:
        assert stand.error is not None  # noqa: S101 - one of both is there
        return Ready(stand, _failed(drilled, stand.error))
    try:
        resolution = resolve_in(session, stand.there, _LATEST, reachable=False)
        return Ready(stand, _of(session, drilled, resolution), resolution)
    except Interrupted:
        raise
    except CkptctlError as error:
        return Ready(stand, _failed(drilled, error))


def rehearsed(session: Session, one: Ready, to: str, progress: Progress) -> Drilled:
    """Fetch it to a directory of our own, and verify it there; a failure is told, never raised.

    Raises Interrupted.
    """
    drilled, resolution, there = one.drilled, one.resolution, one.stand.there
    assert resolution is not None  # noqa: S101 - else nothing is to be fetched
    assert there is not None  # noqa: S101 - the same
    changed = 0
    try:
        while True:
            drilled = _of(session, drilled, resolution)
            try:
                copy = fetch(session, resolution.resolved, to, progress, rehearsal=True)
                break
            except LostError as error:
                if error.damaged:
                    raise DamagedError(error.text) from error
                changed += 1
                refuse_endless(error, changed)
            # A prune took it meanwhile: the tiers were read when the drill began.
            resolution = resolve_in(session, anew(session, there), _LATEST, reachable=False)
        drilled = replace(
            drilled,
            bytes_sent=copy.bytes_sent,
            fetch_seconds=copy.seconds,
            notes=(*drilled.notes, *copy.notes),
        )
        began = time.monotonic()
        _verify(session, copy, to, progress)
        return replace(drilled, verify_seconds=round(time.monotonic() - began, 3))
    except Interrupted:
        raise
    except CkptctlError as error:
        return _failed(drilled, error)


def sweep_scratch(into: str, now_ns: int) -> None:
    """Remove what our drills that were killed left there a week ago: whole checkpoints.

    Their files have the times of those that they are copies of: when they came, the ctime tells.
    """
    with suppress(OSError), closing(LocalStore(into)) as store:
        for name in filter(_OURS.fullmatch, os.listdir(into)):
            top = os.path.join(into, name)
            if os.lstat(top).st_uid != os.geteuid():
                continue
            tree = [
                os.path.join(at, name)
                for at, *both in os.walk(top)
                for names in both
                for name in names
            ]
            if now_ns - max(os.lstat(path).st_ctime_ns for path in (top, *tree)) >= LIFE_NS:
                store.remove_tree(name)


def _of(session: Session, drilled: Drilled, resolution: Resolution) -> Drilled:
    place, checkpoint = resolution.resolved.place, resolution.resolved.checkpoint
    step, _ = all_of_step(session, place, checkpoint)
    return replace(
        drilled,
        checkpoint=checkpoint.name,
        path=checkpoint.path,
        bytes=sum(one.bytes for one in step),
        notes=resolution.notes,
    )


def _failed(drilled: Drilled, error: CkptctlError) -> Drilled:
    """Return a rehearsal that failed; that nothing can be resumed from is as bad as damage."""
    code = DamagedError.code if isinstance(error, NotFoundError) else error.code
    return replace(drilled, error=error.message, code=code)


def _verify(session: Session, copy: Fetched, to: str, progress: Progress) -> None:
    """Read every byte of what was fetched.  DamagedError where it is not what it was."""
    # Its state lies beside it, and its configuration is that of the tiers.
    common = replace(session.common, state_dir=None, recursive=False)
    own = replace(session, common=common, found=None)
    place = read_place(own, to)
    wish = VerifyWish(
        level=Level.DIGEST,
        record=False,
        reread=False,
        percent=None,
        jobs=session.common.jobs or min(4, os.cpu_count() or 1),
        scope=None,
    )
    left = {settled(os.path.join(to, member)) for member in copy.members}
    for read in place.runs:
        found = read.run.checkpoints if read.run else ()
        meant = tuple(one for one in found if settled(one.path) in left)
        verified = VerifyRun(own, place, read, None, wish, progress).verified(meant)
        session.signals.heed()
        _refuse(verified)
        left -= {settled(one.path) for one in meant}
    _refuse_unseen(left, to)


def _refuse(verified: Verified) -> None:
    for result in verified.results:
        if result.status in BAD:
            wrong = result.findings[0]
            said = f"{result.checkpoint.name} is {result.status}: {wrong.file}: {wrong.text}"
            raise DamagedError(f"after it was fetched, {said}")
    if verified.error is not None:
        raise verified.error


def _refuse_unseen(left: Collection[str], to: str) -> None:
    if left:
        names = ", ".join(sorted(os.path.relpath(path, settled(to)) for path in left))
        raise DamagedError(f"after it was fetched, {names} was not taken for a checkpoint")
