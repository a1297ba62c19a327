"""Which checkpoint all tasks of a SLURM step take: the first to resolve decides, by one exclusive create.

`resolving/STEP/` in the state of a run holds, for each time that the tasks of a step resolve (a round):
`ROUND-TRY.json`, what was decided; `ROUND-TRY.end`, whether somebody has `taken` it, or found it
`lost` before anybody had, so that the next try decides anew; `ROUND.K.here`, that task K is at it, and
`ROUND.K`, that it has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from ckptctl.model import NS
from ckptctl.parts.note import NoteError, understood, written
from ckptctl.parts.part import Caller
from ckptctl.reading import TRACKER_LIMIT, VanishedError
from ckptctl.stores._base import Store
from ckptctl.transfer.sweeping import RESOLVING as FOLDER
from ckptctl.transfer.sweeping import sweep_folder

_SCHEMA = ("ckptctl/resolving", 1)
_SAME_NS = 2 * NS
"""How far the time of one save may be off on another store: some know whole seconds only."""

_WRITING_NS = 10 * NS
"""How long a small note may be there in part."""

_NAP_SECONDS = 0.1

_T = TypeVar("_T")


class End(StrEnum):
    """What became of a decision; whoever says it first is right."""

    TAKEN = "taken"  # a task goes on from there
    LOST = "lost"  # it was not whole any more, and nobody had it


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """One checkpoint wherever a copy of it lies."""

    member: str  # its path within the run
    step: int | None
    saved_ns: int

    def is_same(self, other: Save) -> bool:
        """Whether both are copies of one save: a step may have been saved anew under its name."""
        near = abs(self.saved_ns - other.saved_ns) < _SAME_NS
        return near and (self.member, self.step) == (other.member, other.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the tasks of a step take: a checkpoint, or none where none was whole."""

    save: Save | None
    by: str
    at_ns: int


@dataclass(slots=True)
class Agreement:
    """What one task knows of it.  Every method raises OSError; a store may ignore conditions."""

    state: Store
    step: str
    caller: Caller
    clock: Callable[[], int]
    sleep: Callable[[float], None]
    _round: int = field(default=0, init=False)
    _try: int = field(default=0, init=False)

    def begin(self) -> None:
        """Find the round: a task that has taken what was decided in one has come again since."""
        self.state.make_folder(self._folder)
        while self.state.stat(self._mark) is not None:
            self._round += 1
        with suppress(FileExistsError):  # of a call that was interrupted
            self.state.create(f"{self._mark}.here", b"")  # where that is not exclusive, nothing is

    def decision(self) -> Decision | None:
        """Return what is decided now; None where nothing is."""
        while self._end() is End.LOST:
            self._try += 1
        return self._said(f"{self._now}.json", _parse, "what another task has decided")

    def decide(self, save: Save | None, by: str) -> Decision:
        """Decide, unless another task has: return what stands."""
        own = Decision(save=save, by=by, at_ns=self.clock())
        try:
            self.state.create(f"{self._now}.json", _dump(own))
        except FileExistsError:
            return self.decision() or own
        sweep_folder(self.state, FOLDER, self.clock())
        return own

    def end(self, how: End) -> End:
        """Say what became of what was decided; return what was said first."""
        try:
            self.state.create(f"{self._now}.end", how.encode())
        except FileExistsError:
            return self._end() or how
        return how

    def finish(self) -> None:
        """Note that this task has what was decided."""
        self.state.replace(self._mark, b"")

    @property
    def _folder(self) -> str:
        return f"{FOLDER}/{self.step}"

    @property
    def _mark(self) -> str:
        return f"{self._folder}/{self._round}.{self.caller.number}"

    @property
    def _now(self) -> str:
        return f"{self._folder}/{self._round}-{self._try}"

    def _end(self) -> End | None:
        return self._said(f"{self._now}.end", _end, "what became of what was decided")

    def _said(self, path: str, parse: Callable[[bytes], _T], what: str) -> _T | None:
        """Return what a note says; None where there is none.  OSError where it cannot be understood.

        It must not be passed over: others go on from it.  Where a file system has no hard links it
        is there a moment before all of it is, and is waited for.
        """
        while True:
            try:
                return parse(self.state.read(path, TRACKER_LIMIT))
            except (FileNotFoundError, VanishedError):
                return None
            except NoteError as error:
                entry = self.state.stat(path)
                if entry and abs(self.clock() - entry.mtime_ns) > _WRITING_NS:
                    raise OSError(f"{what} {error}") from error
            self.sleep(_NAP_SECONDS)


def _dump(decision: Decision) -> bytes:
    save = decision.save
    said = None if save is None else [save.member, save.step, save.saved_ns]
    return written(_SCHEMA, {"save": said, "by": decision.by, "at_ns": decision.at_ns})


def _parse(content: bytes) -> Decision:
    return understood(content, _SCHEMA, _decision)


def _end(content: bytes) -> End:
    try:
        return End(content.decode())
    except ValueError as error:
        raise NoteError(f"cannot be understood ({error})") from error


def _decision(said: Mapping[str, Any]) -> Decision:
    save = said["save"]
    if save is not None:
        member, step, saved_ns = save
        step = None if step is None else int(step)
        save = Save(member=str(member), step=step, saved_ns=int(saved_ns))
    return Decision(save=save, by=str(said["by"]), at_ns=int(said["at_ns"]))
