"""A checkpoint that was published while callers were missing: what they have besides is added to it.

`staging/parts/NAME.open.json`.  An index had said that nothing was missing of what it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ckptctl.parts.note import understood, written

_SCHEMA = ("ckptctl/open-parts", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Which checkpoint, and for whom it is open."""

    key: str
    of: int  # how many callers there are
    missing: tuple[int, ...]  # the numbers of those that had not come
    newest_ns: int  # when the newest of its files was written


def dump_opened(opened: Opened) -> bytes:
    """Return it as its file holds it."""
    return written(_SCHEMA, asdict(opened))


def parse_opened(content: bytes) -> Opened:
    """Return it again.  NoteError where it cannot be understood."""
    return understood(content, _SCHEMA, _opened)


def _opened(said: Mapping[str, Any]) -> Opened:
    return Opened(
        key=str(said["key"]),
        of=int(said["of"]),
        missing=tuple(map(int, said["missing"])),
        newest_ns=int(said["newest_ns"]),
    )
