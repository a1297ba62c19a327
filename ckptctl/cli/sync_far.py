"""The place that one run is copied to: made where it is missing, and looked at anew each time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ckptctl.apply import Applier
from ckptctl.cli.access import access_of
from ckptctl.cli.runtime import Session
from ckptctl.errors import RefusedError, UnreadableError, UsageError
from ckptctl.known import Formats
from ckptctl.listing import Version
from ckptctl.model import Checkpoint
from ckptctl.statedir import open_state
from ckptctl.stores import Access, is_local
from ckptctl.stores._base import Store
from ckptctl.survey import Reading
from ckptctl.transfer.destination import (
    Destination,
    ListedRun,
    look_there,
    make_destination,
    place_at,
)


@dataclass(frozen=True, slots=True)
class FarEnd:
    """A run's own path or URL at the destination; `reading` is how the source is read."""

    session: Session
    to: str
    formats: Formats
    reading: Reading
    own_state: bool  # it has its own, wherever --state-dir is

    def made(self, *, deep: bool = True) -> ListedRun:
        """Make it where it is missing, and list as much as tells where its state is.

        Raises UnreadableError, UsageError.
        """
        make_destination(self.to, self._mount())
        how = (self.to, self._access(), self.formats, self._reading())
        place = place_at(*how, deep=False)
        # Where it has none yet, or is told where, the checkpoints there decide where none may be.
        if deep and place is not None and (not place.dirs.existing or how[3].state_dir):
            place = place_at(*how)
        if place is None:
            raise self._removed()
        return place

    def state(self, place: ListedRun) -> Store:
        """Open its state for writing.  Raises as `made` does, and RefusedError where the disk is full."""
        root = place.view.store.root
        state = open_state(root, place.dirs)
        if state is None:
            raise RefusedError(f"{root}: no space for ckptctl's records; nothing was copied")
        return state

    def noting(self) -> Store:
        """Open the state that lies at the run: a call that is given no --state-dir looks there alone.

        Raises UnreadableError, UsageError and RefusedError where nothing can be noted.
        """
        try:
            far = replace(self, own_state=True)
            return far.state(far.made())
        except (UnreadableError, UsageError) as error:
            raise type(error)(
                f"{self.to}: what is fetched in part is noted beside it, so that nothing takes it for "
                f"whole; that could not be written: {error}",
                "name another, empty directory with --fetch, and fetch all of it: without --files",
            ) from error

    def begun(self) -> bool:
        """Whether anything is there, be it a directory or our notes on what comes.  Raises as `made` does."""
        place = place_at(self.to, self._access(), self.formats, self._reading(), deep=False)
        if place is None:
            return False
        folder = place.found.folder
        return is_local(self.to) or bool(folder.files or folder.folders or place.dirs.existing)

    def look(self) -> Destination | None:
        """Return what is there now; None where nothing is.  Raises as `made` does."""
        return look_there(self.to, self._access(), self.formats, self._reading())

    def locked(self) -> Destination:
        """Return what is there now that the lock is ours: another may have copied there until then."""
        destination = self.look()
        if destination is None:
            raise self._removed()
        return destination

    def set_aside(self, one: Checkpoint, applier: Applier, grace_ns: int | None) -> str | None:
        """Make room for a copy, if nobody has pinned, held or saved anew what is there meanwhile.

        Return why it cannot be, if so.  Raises LockedError.
        """
        applier.check()
        seen = self.look()
        now = seen.by_member.get(one.member) if seen else None
        if now is None or _versions(now) != _versions(one):
            return "it changed meanwhile"
        return applier.set_aside(now, grace_ns)

    def _mount(self) -> str:
        """Return the directory of the tier that it lies on, which has to be there."""
        place = self.session.config.place(self.to) if self.session.config else None
        return place[0].url if place and is_local(place[0].url) else ""

    def _access(self) -> Access:
        return access_of(self.session, self.session.config, self.to)

    def _reading(self) -> Reading:
        return replace(self.reading, state_dir=None) if self.own_state else self.reading

    def _removed(self) -> UnreadableError:
        return UnreadableError(f"{self.to}: was removed just after it was made; nothing was copied")


def _versions(one: Checkpoint) -> dict[str, Version]:
    return {path: entry.version for path, entry in one.files.items() if path not in one.sidecars}
