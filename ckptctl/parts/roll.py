"""What a caller says of all checkpoints of which it has nothing: one note for a whole call.

`staging/parts/K-of-N.json`.  Whoever had nothing of a checkpoint could not know its name.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ckptctl.parts.part import Caller, Part, PartError

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
    return json.dumps({"schema": _SCHEMA[0], "version": _SCHEMA[1], **asdict(roll)}).encode()


def parse_roll(content: bytes) -> Roll:
    """Return it again.  PartError where it cannot be understood."""
    try:
        said = json.loads(content)
        if (said["schema"], said["version"]) != _SCHEMA:
            raise PartError("is of a version that this ckptctl cannot read")  # noqa: TRY301 - one way out
        only = said["only"]
        return Roll(
            caller=Caller(*map(int, said["caller"])),
            looked_ns=int(said["looked_ns"]),
            keys=tuple(map(str, said["keys"])),
            names=tuple(map(str, said["names"])),
            only=None if only is None else tuple(map(str, only)),
        )
    except PartError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PartError(f"cannot be understood ({type(error).__name__}: {error})") from error
