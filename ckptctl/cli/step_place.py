"""Where the tasks of a SLURM step meet, to agree on what they fetch."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_far import FarEnd
from ckptctl.cli.tier_runs import Everywhere
from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.flags import PolicyFlags
from ckptctl.parts.agreeing import Agreement
from ckptctl.parts.part import Caller
from ckptctl.stores import is_local
from ckptctl.stores._base import FULL, IgnoredConditionError, Store
from ckptctl.survey import path_of
from ckptctl.ui import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a step, what the step is called, and what the task wants."""

    caller: Caller
    step: str
    reachable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlace:
    """Where they meet."""

    to: str  # the run's own path or URL there
    tier: str | None
    state: Store
    agreement: Agreement

    @property
    def shared(self) -> bool:
        """Whether a checkpoint from a bucket is to be brought there first."""
        return is_local(self.to)


@contextmanager
def meeting_of(session: Session, everywhere: Everywhere, task: Task) -> Iterator[StepPlace | None]:
    """Open the place where the tasks of a step meet; None where there is none, which is said.

    The run's state on the first tier on a file system that all nodes see, made where the run is not
    there yet; else on the first of all; of a run on no tier, where it is.  Raises what could not be
    read, where that may be the place: others may meet there.
    """
    with ExitStack() as stack:
        try:
            place = _opened(session, everywhere, task, stack)
        except (CkptctlError, OSError) as error:
            if everywhere.errors:
                raise everywhere.errors[0] from error
            if not _is_unwritable(error):
                raise _unagreed(error) from error
            session.say(
                "warning: the tasks of this step have no place to agree on a checkpoint, so each "
                f"resolves for itself: {printable.text(str(error))}"
            )
            place = None
        yield place


def _is_unwritable(error: CkptctlError | OSError) -> bool:
    """Whether nothing can be written there, for whom ever; all else may be of this node alone."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, IgnoredConditionError) or not isinstance(cause, OSError):
        return True
    return cause.errno in FULL | {errno.EACCES, errno.EPERM, errno.EROFS}


def _unagreed(error: CkptctlError | OSError) -> UnreadableError:
    full = isinstance(error, OSError) and error.errno in FULL
    return UnreadableError(
        f"the tasks of this step cannot agree on a checkpoint ({error}); nothing was fetched",
        "make room where they meet: on the first tier that all nodes see, beside the run"
        if full
        else "check the mount or the network of this node",
    )


@contextmanager
def agreeing() -> Iterator[None]:
    """Let what fails between the tasks be an error of this one: without them it takes nothing."""
    try:
        yield
    except OSError as error:
        raise _unagreed(error) from error


def _opened(
    session: Session, everywhere: Everywhere, task: Task, stack: ExitStack
) -> StepPlace | None:
    if not everywhere.places:
        return None  # resolving says why
    first = everywhere.places[0]
    to, tier = path_of(first.view, first.found), None
    config = session.config
    if config is not None and (lies := config.place(to)) is not None:
        tiers = [each for each in config.tiers if not each.per_node]
        meant = next((each for each in tiers if is_local(each.url)), tiers[0])
        to = f"{meant.url.rstrip('/')}/{lies[1]}" if lies[1] else meant.url
        tier = meant.name
    reading = reading_of(session, PolicyFlags(settle="0s").draft().policy())
    far = FarEnd(session, to, first.view.formats, reading, own_state=False)
    state = stack.enter_context(closing(far.state(far.made())))
    agreement = Agreement(state, task.step, task.caller, session.clock, time.sleep)
    agreement.begin()
    return StepPlace(to=to, tier=tier, state=state, agreement=agreement)
