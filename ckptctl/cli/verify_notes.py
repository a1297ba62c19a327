"""What a verification writes to the state of a run: manifests, damage, and that there is none now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ckptctl import __version__
from ckptctl.cli.recording import host_name, patience, user_name
from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, LockedError, UnreadableError
from ckptctl.hashing import Hashed
from ckptctl.listing import Folder
from ckptctl.looking import Looked
from ckptctl.manifest import Manifest
from ckptctl.model import Checkpoint, Problem
from ckptctl.noting import damaged, undamaged
from ckptctl.recording import Recorder
from ckptctl.remembering import Author, manifest_of, same
from ckptctl.statedir import StateDirs
from ckptctl.stores import is_local
from ckptctl.verdicts import Level


@dataclass(frozen=True, slots=True)
class Notes:
    """What is to be noted of one checkpoint."""

    checkpoint: Checkpoint
    manifest: Manifest | None
    damage: str | None
    clear: bool  # the damage that is noted is to be forgotten
    level: Level


class Notebook:
    """The state of one run, opened for writing when there is something to write.

    Where that fails it is a problem, told once: what was found is no less true.
    """

    def __init__(
        self, session: Session, run: str, dirs: StateDirs, problems: list[Problem]
    ) -> None:
        self._session = session
        self._run = run
        self._dirs = dirs
        self._problems = problems
        self._recorder: Recorder | None = None
        self._unwritable: CkptctlError | None = None

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close what was opened."""
        if self._recorder is not None:
            self._recorder.state.close()

    @property
    def recorder(self) -> Recorder | None:
        """What writes to the state; None where it cannot be written."""
        if self._recorder is None and self._unwritable is None:
            try:
                self._recorder = Recorder.open(
                    self._run,
                    self._dirs,
                    self._session.clock,
                    time.monotonic,
                    time.sleep,
                    patience(self._session),
                    needs_lock=not self._session.common.no_lock,
                )
            except CkptctlError as error:
                self._cannot_write(error)
        return self._recorder

    def manifest(self, one: Looked, files: tuple[Hashed, ...], folder: Folder) -> Manifest | None:
        """Return the manifest that is to be written; None where it would say nothing new."""
        by = f"{user_name()}@{host_name()}, ckptctl {__version__}"
        author = Author(by, self._session.clock())
        made = manifest_of(one, files, folder, author, links=is_local(self._run))
        return None if made is not None and same(made, one.noted.manifest) else made

    def write(self, notes: Notes, *, must_record: bool) -> None:
        """Write what is to be noted, uncut by signals.

        Raises what keeps it from being written only where a manifest was asked for, and Interrupted
        where a signal came.
        """
        if notes.manifest is None and notes.damage is None and not notes.clear:
            return
        recorder = self.recorder
        if recorder is None:
            if must_record and self._unwritable is not None:
                raise self._unwritable
            return
        try:
            with self._session.signals.noted():
                if notes.manifest is not None:
                    recorder.keep(notes.manifest)
                _remember(recorder, notes)
        except (LockedError, UnreadableError) as error:
            if must_record and notes.manifest is not None:
                raise
            self._cannot_write(error)
        self._session.signals.heed()

    def _cannot_write(self, error: CkptctlError) -> None:
        self._unwritable = error
        problem = Problem("state-unwritable", error.message)
        if problem not in self._problems:
            self._problems.append(problem)


def _remember(recorder: Recorder, notes: Notes) -> None:
    """Note damage, or forget the one that is noted."""
    checkpoint, damage, level = notes.checkpoint, notes.damage, notes.level
    if damage is not None:
        recorder.change(checkpoint.member, lambda old: damaged(old, checkpoint, damage, level))
    elif notes.clear:
        recorder.change(checkpoint.member, undamaged)
