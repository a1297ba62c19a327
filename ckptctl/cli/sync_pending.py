"""What is on its way to a destination: a plain sync must not give its name to a part of what others have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptctl.coming import FOLDER, PARTS
from ckptctl.manifest import LIMIT
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._base import Store
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.notes import begun_in

if TYPE_CHECKING:
    from ckptctl.parts.part import Part


@dataclass(frozen=True, slots=True)
class Pending:
    """What is on its way to a run, by the names in its state."""

    state: Store | None
    begun: frozenset[str]

    def conflict(self, cargo: Cargo) -> str | None:
        """Return why a checkpoint is perhaps not all that there is: others have handed in more of it.

        Parts of an earlier save of its name count no more.  Raises OSError.
        """
        if self.state is None or not any(name.endswith(PARTS) for name in self.begun):
            return None
        from ckptctl.parts.counting import SAVE_NS  # noqa: PLC0415 - few destinations have parts

        here = {piece.target for piece in cargo.pieces}
        newest_ns = max((piece.mtime_ns for piece in cargo.payload()), default=0)
        for part in self._parts(self.state, cargo):
            lacking = sorted(part.files.keys() - here)
            if lacking and newest_ns - part.changed_ns <= SAVE_NS:
                return (
                    f"{part.by} has handed in part {part.caller} of it there, with files that are "
                    f"not here ({lacking[0]}); nothing of it was touched: give this call its part, "
                    f"too (--part K/{part.caller.of}), or --overwrite to have it without them"
                )
        return None

    def _parts(self, state: Store, cargo: Cargo) -> Iterator[Part]:
        from ckptctl.parts.meeting import folder_of  # noqa: PLC0415 - as above
        from ckptctl.parts.note import NoteError  # noqa: PLC0415 - as above
        from ckptctl.parts.part import parse  # noqa: PLC0415 - as above
        from ckptctl.parts.whole import key_of  # noqa: PLC0415 - as above

        key = key_of(cargo.checkpoint)
        folder = folder_of(key)
        if folder not in self.begun:
            return
        for name in sorted(state.listing(folder, deep=False).files):
            try:
                part = parse(state.read(f"{folder}/{name}", LIMIT))
            except (FileNotFoundError, VanishedError, NoteError, TooLargeError):
                continue  # no note, or of a part that has to be handed in again
            if part.key == key:
                yield part


@contextmanager
def pending_at(there: Destination | None) -> Iterator[Pending]:
    """Look at the state of a destination that nobody has locked.  Raises OSError."""
    places = there.dirs.holding(FOLDER) if there is not None else ()
    if there is None or not places:
        yield Pending(None, frozenset())
        return
    with closing(there.dirs.open(places[0])) as state:
        yield Pending(state, begun_in(state))
