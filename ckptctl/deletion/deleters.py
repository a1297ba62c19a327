"""Which deleter a run needs, by the store that it lies on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from ckptctl.deletion._base import Deleter, Surroundings
from ckptctl.deletion.disk import DiskDeleter
from ckptctl.recording import Recorder
from ckptctl.statedir import StateDirs
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore


def deleter_of(
    run: Store,
    state: Store | None,
    world: Surroundings,
    number: Callable[[], str],
    taking: Callable[[], None] = lambda: None,
    settled: Callable[[], None] = lambda: None,
) -> Deleter:
    """Return what deletes checkpoints on the store that the run lies on."""
    if state is not None and not isinstance(run, LocalStore):
        # Only who deletes in a bucket needs these.
        from ckptctl.deletion.bucket import BucketDeleter  # noqa: PLC0415
        from ckptctl.stores._objects import ObjectStore  # noqa: PLC0415

        if isinstance(run, ObjectStore):
            return BucketDeleter(run, recorder_of(state, world), world.stopped, number)
    return DiskDeleter(run, state, world.stopped, number, taking, settled)


def recorder_of(state: Store, world: Surroundings) -> Recorder:
    """Return what changes records in an open state directory."""
    needs = world.needs_lock
    return Recorder(state, world.clock, world.seconds, world.sleep, needs_lock=needs)


def pending(run: Store, dirs: StateDirs, world: Surroundings) -> bool:
    """Whether an interrupted prune left something to finish, or a grace is over; reads only.

    Raises OSError.
    """
    for place in dirs.existing[:1]:
        with closing(dirs.open(place)) as state:
            return deleter_of(run, state, world, str).pending(world.clock())
    return False
