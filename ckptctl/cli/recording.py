"""What the commands that write records share: the open state of a run, and who writes."""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from ckptctl.annotate import HALF_DELETED
from ckptctl.begun import is_going
from ckptctl.cli.naming import Target
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.errors import LockedError, NotFoundError, UnreadableError
from ckptctl.flags import PolicyFlags
from ckptctl.lock import Lock
from ckptctl.model import Checkpoint
from ckptctl.recording import Recorder
from ckptctl.statedir import StateDirs
from ckptctl.stores import told
from ckptctl.survey import again, path_of, read_run, state_dirs

_PATIENCE_SECONDS = 30


@contextmanager
def recorder_of(session: Session, target: Target) -> Iterator[Recorder]:
    """Open the state of a checkpoint's run for records.  Raises UnreadableError, UsageError."""
    recorder = Recorder.open(
        path_of(target.view, target.found),
        dirs_of(session, target),
        session.clock,
        time.monotonic,
        time.sleep,
        patience(session),
        needs_lock=not session.common.no_lock,
    )
    with closing(recorder.state):
        yield recorder


def patience(session: Session) -> int | None:
    """Return how long other writers of records are waited for; None where nobody said."""
    said = session.common.lock_wait
    return None if said is None else session.duration("--lock-wait", said)


def dirs_of(session: Session, target: Target) -> StateDirs:
    """Return where the state of a checkpoint's run lies or could lie."""
    return state_dirs(target.view, target.found, session.common.state_dir, os.geteuid())


def read(session: Session, target: Target) -> Checkpoint:
    """Return the checkpoint as it is now, with all that is said of it.

    NotFoundError where it is gone, UnreadableError where the run is.
    """
    policy = PolicyFlags(settle=session.common.settle).draft().policy()
    path = path_of(target.view, target.found)
    try:
        run = read_run(target.view, target.found, reading_of(session, policy))
    except OSError as error:
        said, check = told(path, error.strerror or str(error), "try again")
        raise UnreadableError(f"{path}: cannot be read ({said})", check) from error
    for checkpoint in (*run.checkpoints, *run.leftovers):
        if checkpoint.member == target.member:
            return checkpoint
    raise NotFoundError(f"{path}: {target.name} is gone", "`ckptctl list` shows what there is")


def read_after(session: Session, target: Target, recorder: Recorder) -> Checkpoint:
    """Return the checkpoint as it is after something was recorded of it that is to keep it.

    A prune in a bucket that had begun to delete it by then is waited for: it did not see the record.
    NotFoundError where it is gone, LockedError where that takes too long.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    lock = Lock(recorder.state, session.clock)
    path = path_of(target.view, target.found)
    try:
        while target.view.access and is_going(recorder.state, target.member) and lock.lives():
            if time.monotonic() >= until:
                raise LockedError(
                    f"{path}: a prune is deleting {target.name} at this moment, or something beside it",
                    "see with `ckptctl list` what is left when it is over",
                )
            time.sleep(0.2)
        found = again(target.view, target.found)
    except (OSError, ValueError) as error:
        raise UnreadableError(
            f"{path}: whether {target.name} is still there cannot be seen ({error})", "try again"
        ) from error
    return read_standing(session, replace(target, found=found))


def read_standing(session: Session, target: Target) -> Checkpoint:
    """Return the checkpoint as it was listed; NotFoundError also where a prune has begun to delete it.

    A prefix and a group stay visible for a while after their key file went, and nothing that is
    recorded can bring that back.
    """
    checkpoint = read(session, target)
    if HALF_DELETED in checkpoint.problems:
        raise NotFoundError(
            f"{checkpoint.path}: a prune has begun to delete it, so nothing can keep it any more",
            "`ckptctl list` shows what is left",
        )
    return checkpoint


def user_name() -> str:
    """Return the name of the user as whom this runs; the number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def host_name() -> str:
    """Return the name of this host."""
    return socket.gethostname()
