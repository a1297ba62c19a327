"""`resolve --fetch DIR --files GLOB`: the files that one node needs of a checkpoint, and no others."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing

from ckptctl.apply import Applier
from ckptctl.cli.fetching import Fetched, LostError, all_of_step, fetch, held_at, lies_in
from ckptctl.cli.noted import noted_of
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.resolving import Resolved
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_cargo import Loader
from ckptctl.cli.sync_far import FarEnd
from ckptctl.errors import Interrupted, PartialError, UsageError
from ckptctl.flags import PolicyFlags
from ckptctl.hashing import Stopped
from ckptctl.manifest import ManifestError
from ckptctl.manifests import remembered
from ckptctl.model import Checkpoint
from ckptctl.patterns import later
from ckptctl.stores import is_local
from ckptctl.stores.local import LocalStore
from ckptctl.survey import path_of, run_store
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.destination import refuse_destination
from ckptctl.transfer.failing import failure
from ckptctl.transfer.outcome import Status
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.some_files import FilesDelivery, TakenError, matching
from ckptctl.transfer.sweeping import sweep
from ckptctl.transfer.throttle import Throttle
from ckptctl.ui.progress import Progress

_SIGN = later(r"%([0-9]{0,2})([a-zA-Z%])")
_NAMES = {"t": "SLURM_PROCID", "n": "SLURM_NODEID"}


def globs_of(texts: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the globs with this task's numbers in them, `%t` and `%n` as srun(1) has them.

    `%2t` has zeros before it, `%%` is a percent sign.  UsageError.
    """
    return tuple(_filled(text, environ) for text in texts)


def _filled(text: str, environ: Mapping[str, str]) -> str:
    if not text:
        raise UsageError("--files is empty; nothing was touched")
    parts, at = [], 0
    for found in _SIGN.finditer(text):
        parts += [text[at : found.start()], _number(text, found[2], found[1], environ)]
        at = found.end()
    return "".join((*parts, text[at:]))


def _number(text: str, sign: str, width: str, environ: Mapping[str, str]) -> str:
    if sign == "%":
        return "%"
    if sign not in _NAMES:
        raise UsageError(f"--files {text}: %{sign} is none of %t (task), %n (node), %%")
    value = environ.get(_NAMES[sign], "")
    if not value.isascii() or not value.isdigit():
        raise UsageError(
            f"--files {text}: %{sign} is {_NAMES[sign]}, which is not set; nothing was touched",
            "call it as a task of a SLURM step: with srun",
        )
    return value.zfill(int(width or 0))


def fetch_files(
    session: Session, resolved: Resolved, to: str, globs: Sequence[str], progress: Progress
) -> Fetched:
    """Copy the files of a checkpoint that globs match, and of what else there is of its step.

    What is there then is `incomplete`, unless that is all of it.  Raises what `fetch` does.
    """
    place, checkpoint = resolved.place, resolved.checkpoint
    if lies_in(checkpoint.path, to):
        return Fetched(path=checkpoint.path, source=checkpoint.path, status="here")
    if not is_local(to):
        raise UsageError(
            f"{to}: --files copies to a directory; nothing was copied",
            "without --files all of it is copied there",
        )
    refuse_destination(to, path_of(place.view, place.found), place.view.formats)
    step, notes = all_of_step(session, place, checkpoint)
    cargoes = [_cargo(session, resolved, one, to) for one in step]
    chosen = [(cargo, matching(cargo, globs)) for cargo in cargoes]
    if all(len(pieces) == len(list(cargo.payload())) for cargo, pieces in chosen):
        return fetch(session, resolved, to, progress)
    if not any(pieces for _, pieces in chosen):
        raise UsageError(
            f"{checkpoint.path}: no file of it matches {' or '.join(globs)}; nothing was copied",
            "a pattern is a glob for paths within the checkpoint, or, without a /, for names of files",
        )
    began = time.monotonic()
    with held_at(session, place, step):
        done = _Copy(session, resolved, to, progress).copied(chosen)
    size = sum(piece.entry.size for _, pieces in chosen for piece in pieces)
    targets = [piece.target for _, pieces in chosen for piece in pieces]
    own = checkpoint.member
    shown = own if own in checkpoint.roots or own in targets else targets[0]
    return Fetched(
        path=f"{os.path.abspath(to)}/{shown}",
        source=checkpoint.path,
        status=Status.DONE if done.wrote else Status.EQUAL,
        bytes=size,
        bytes_sent=done.bytes_sent,
        seconds=round(time.monotonic() - began, 3),
        members=tuple(cargo.member for cargo, _ in chosen),
        notes=tuple(notes),
        files=len(targets),
    )


def _cargo(session: Session, resolved: Resolved, one: Checkpoint, to: str) -> Cargo:
    place = resolved.place
    try:
        manifest = remembered(noted_of(session, place.view, place.found))(one.member)
    except ManifestError as error:
        raise PartialError(
            f"{one.path}: its manifest cannot be read ({error}); nothing was copied",
            "`ckptctl verify --record --reread` writes it anew",
        ) from error
    return Loader(place.view, place.found, to).cargo(one, manifest)


class _Copy:
    """One copy of some files to one directory."""

    def __init__(self, session: Session, resolved: Resolved, to: str, progress: Progress) -> None:
        self._session = session
        self._resolved = resolved
        self._to = to
        self._progress = progress
        self.wrote = False
        self.bytes_sent = 0

    def copied(self, chosen: Sequence[tuple[Cargo, tuple[Piece, ...]]]) -> _Copy:
        """Copy them under the lock of the run there.  Raises as `fetch` does."""
        session, here = self._session, self._resolved.place
        reading = reading_of(session, PolicyFlags(settle="0s").draft().policy())
        far = FarEnd(session, self._to, here.view.formats, reading, own_state=False)
        place = far.made()
        size = sum(piece.entry.size for _, pieces in chosen for piece in pieces)
        with (
            closing(run_store(here.view, here.found)) as source,
            closing(run_store(place.view, place.found)) as run,
            session.signals.noted(),
            closing(far.noting()) as noting,
            Applier(run, place.dirs, surroundings_of(session)) as applier,
        ):
            state = applier.state()
            assert isinstance(run, LocalStore)  # noqa: S101 - nothing else was let through
            assert isinstance(state, LocalStore)  # noqa: S101 - a directory's state lies on its disk
            delivery = FilesDelivery(
                run=run,
                state=state,
                noting=noting,
                folder=far.locked().found.folder,
                clock=session.clock,
                check=applier.check,
            )
            throttle = Throttle(None, time.monotonic, time.sleep)
            jobs = session.common.copies_at_once, session.common.small_copies_at_once
            stop = session.signals.stopped
            sender = Sender(source, throttle, *jobs, stop, self._progress.advanced)
            self._progress.started(f"{here.run.name}: copying", of_bytes=size)
            for cargo, pieces in chosen:
                if pieces:
                    self._one(cargo, pieces, delivery, sender)
            self.bytes_sent = sender.bytes_sent
            sweep(state, run, (), session.clock())
        return self

    def _one(
        self, cargo: Cargo, pieces: tuple[Piece, ...], delivery: FilesDelivery, sender: Sender
    ) -> None:
        one = cargo.checkpoint
        try:
            self.wrote |= delivery.deliver(cargo, pieces, sender)
        except Stopped:
            assert self._session.signals.arrived is not None  # noqa: S101 - nothing else stops it
            raise Interrupted(self._session.signals.arrived) from None
        except TakenError as error:
            raise PartialError(
                f"{self._to}: {error}; nothing of {one.name} was copied there",
                "name another directory, or move that one away",
            ) from error
        except OSError as error:
            text, fault = failure(error, cargo.member)
            if fault is not None:
                raise LostError(self._resolved.checkpoint, f"{one.name}: {text}", fault) from error
            raise PartialError(
                f"{one.path}: could not be copied to {self._to}: {text}",
                "the same call goes on where it stopped",
            ) from error
