"""The run that checkpoints are copied to, as it is before anything is copied."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from ckptctl.errors import UnreadableError, UsageError
from ckptctl.group import Found, look
from ckptctl.known import Formats
from ckptctl.listing import Folder
from ckptctl.locate import containing, local_path, open_location, unlisted
from ckptctl.manifest import FOLDER as MANIFESTS
from ckptctl.manifest import Manifest
from ckptctl.manifests import manifests_in, remembered
from ckptctl.model import Checkpoint, Run
from ckptctl.records import FOLDER as RECORDS
from ckptctl.records import Record, RecordError, by_path, read_all
from ckptctl.statedir import StateDirs
from ckptctl.stores import Access, is_local, settled
from ckptctl.stores._base import STATE_NAME
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Reading, Survey, read_run, state_dirs


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run that exists, listed and not read: enough to lock it."""

    view: Survey
    found: Found
    dirs: StateDirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A run that exists, perhaps without any checkpoint."""

    view: Survey
    found: Found
    run: Run
    by_member: Mapping[str, Checkpoint]  # those of `run`
    dirs: StateDirs
    manifest: Callable[[str], Manifest | None]
    records: Mapping[str, tuple[Record, ...]]


def refuse_destination(location: str, source: str, formats: Formats) -> None:
    """Refuse a destination that is the source, lies in it or around it, or is in a checkpoint or our state.

    UsageError; nothing was changed.
    """
    here, there = settled(source), settled(location)
    if here == there:
        raise UsageError(
            f"{location}: source and destination are the same; nothing was copied",
            "name another directory or bucket",
        )
    if there.startswith(here.rstrip("/") + "/"):
        raise UsageError(
            f"{location}: the destination lies inside the source {source}; nothing was copied",
            "name a place outside of it",
        )
    if here.startswith(there.rstrip("/") + "/"):
        raise UsageError(
            f"{source}: the source lies inside the destination {location}; nothing was copied",
            "name the run's own directory at the destination",
        )
    if STATE_NAME in there.split("/"):
        raise UsageError(
            f"{location}: {STATE_NAME} is ckptctl's own, where no run is looked for; nothing was copied",
            "name a directory outside of it",
        )
    if is_local(location) and (inside := containing(local_path(location), formats)) is not None:
        raise UsageError(
            f"{location}: lies inside the checkpoint {inside.member} of the run {inside.run}; nothing was copied",
            f"name the run: {inside.run}",
        )


def make_destination(location: str, like: str) -> None:
    """Make the directory of a run where there is none, and those above it.

    Whom the directory belongs to in which the first one is made, the others belong to as well;
    `like` is the tier's own directory, which must be there: a mount that is missing is no place for
    a copy.  UnreadableError where it cannot be made.
    """
    if not is_local(location):
        return
    path = os.path.abspath(local_path(location))
    if like and not os.path.isdir(local_path(like)):
        raise UnreadableError(
            f"{like}: the tier's directory does not exist; nothing was copied",
            "check the mount; if it is new, make it once with mkdir",
        )
    above = path
    missing: list[str] = []
    while not os.path.isdir(above):
        above, name = os.path.split(above)
        missing.insert(0, name)
    if not missing:
        return
    try:
        with closing(LocalStore(above)) as store:
            store.make_folder("/".join(missing))
    except OSError as error:
        raise UnreadableError(
            f"{location}: cannot be made ({error.strerror or error}); nothing was copied",
            "check the permissions of what lies above it",
        ) from error


def place_at(
    location: str, access: Access, formats: Formats, reading: Reading, *, deep: bool = True
) -> ListedRun | None:
    """List the run at a destination; None where its directory does not exist.

    Without `deep` just what lies directly in it, and no checkpoints: enough where its state is known.

    Raises UnreadableError where it cannot be listed, UsageError where it cannot be one.
    """
    if is_local(location) and not os.path.lexists(local_path(location)):
        return None
    remote = None if is_local(location) else access
    store = open_location(location, remote)
    try:
        folder = store.listing(deep=deep)
    except FileNotFoundError:
        folder = Folder("")  # nothing is in that prefix yet
    except OSError as error:
        raise unlisted(location, error) from error
    found = (
        look(folder, store, formats, os.path.basename(store.root)) if deep else Found(folder, ())
    )
    view = Survey(location, store, formats, (found,), access=remote)
    return ListedRun(
        view=view, found=found, dirs=state_dirs(view, found, reading.state_dir, reading.uid)
    )


def look_there(
    location: str, access: Access, formats: Formats, reading: Reading
) -> Destination | None:
    """Return the run at a destination as `place_at` does, and what is recorded of it."""
    place = place_at(location, access, formats, reading)
    if place is None:
        return None
    view, found, dirs = place.view, place.found, place.dirs
    try:
        manifest = remembered(manifests_in(dirs.holding(MANIFESTS), dirs.open))
        run = read_run(view, found, reading, manifest)
    except OSError as error:
        raise _unknown(location, error) from error
    return Destination(
        view=view,
        found=found,
        run=run,
        by_member={checkpoint.member: checkpoint for checkpoint in run.checkpoints},
        dirs=dirs,
        manifest=manifest,
        records=records_in(dirs, location),
    )


def records_in(dirs: StateDirs, location: str) -> Mapping[str, tuple[Record, ...]]:
    """Return what is recorded of a run.  UnreadableError where that cannot be known."""
    records: list[Record] = []
    try:
        for place in dirs.holding(RECORDS):
            with closing(dirs.open(place)) as state:
                records += read_all(state)
    except (OSError, RecordError) as error:
        raise _unknown(location, error) from error
    return by_path(records)


def _unknown(location: str, error: Exception) -> UnreadableError:
    return UnreadableError(
        f"{location}: what is recorded there cannot be read ({error}); nothing was copied",
        "check its permissions, or restore the file",
    )
