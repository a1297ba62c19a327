"""What a caller says of all checkpoints of which it has nothing: one note for a whole call.

`staging/parts/K-of-N.json`.  Whoever had nothing of a checkpoint could not know its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ckptctl.parts.note import understood, written
from ckptctl.parts.part import Caller, Part

_SCHEMA = ("ckptctl/roll", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """One caller, when it looked, and what it saw."""

    caller: Caller
    looked_ns: int
    keys: tuple[str, ...]  # of the checkpoints of which it has something
    names: tuple[str, ...]  # whatever else lies in the run, recognised or not
    only: tuple[str, ...] | None = None  # it was asked about these checkpoints alone

    def is_without(self, part: Part) -> bool:
        """Whether the caller had nothing of the checkpoint of another's part."""
        asked = self.only is None or part.name in self.only
        tops = {root.split("/")[0] for root in part.roots}
        return asked and part.key not in self.keys and tops.isdisjoint(self.names)


def dump_roll(roll: Roll) -> bytes:
    """Return it as its file holds it."""
    return written(_SCHEMA, asdict(roll))


def parse_roll(content: bytes) -> Roll:
    """Return it again.  NoteError where it cannot be understood."""
    return understood(content, _SCHEMA, _roll)


def _roll(said: Mapping[str, Any]) -> Roll:
    only = said["only"]
    return Roll(
        caller=Caller(*map(int, said["caller"])),
        looked_ns=int(said["looked_ns"]),
        keys=tuple(map(str, said["keys"])),
        names=tuple(map(str, said["names"])),
        only=None if only is None else tuple(map(str, only)),
    )
