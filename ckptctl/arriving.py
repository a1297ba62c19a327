"""In which order the files of a copy come to a destination, and what is made for it there; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from ckptctl.formats._base import Format
from ckptctl.model import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How a checkpoint comes to a place where nothing is staged; paths are relative to its run.

    `first`, then all that is not named here, in any order and side by side, then `last`, one after
    the other.  A file in both is in `last` only.
    """

    first: tuple[str, ...]
    last: tuple[str, ...]  # files of `made` among them
    made: Mapping[str, bytes] = field(default_factory=dict)  # markers that the source has not

    def order(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return all of it, one after the other."""
        rest = sorted(checkpoint.files.keys() - {*self.first, *self.last})
        return (*self.first, *rest, *self.last)


def arrival(
    kind: Format, checkpoint: Checkpoint, scheme: str, strange: Collection[str] = ()
) -> Arrival:
    """Return how a checkpoint comes to a store of a scheme ("file" is a disk).

    `strange` are files that were only made for the store where it is now (`Noted.made`): they are
    not taken along, but made anew where they are needed.
    """
    checkpoint = _without(checkpoint, strange)
    made = kind.markers(checkpoint, _plain(scheme))
    last = kind.last(checkpoint, tuple(made))
    first = tuple(path for path in kind.first(checkpoint) if path not in last)
    return Arrival(first=first, last=last, made=made)


def really_made(
    kind: Format, checkpoint: Checkpoint, scheme: str, noted: Collection[str]
) -> frozenset[str]:
    """Return those of the files noted as made that the format does make on a store of this scheme.

    A manifest is what others can write: none makes a copy leave out what is part of a checkpoint.
    """
    if not noted:
        return frozenset()
    return frozenset(noted) & kind.markers(_without(checkpoint, noted), _plain(scheme)).keys()


def _without(checkpoint: Checkpoint, strange: Collection[str]) -> Checkpoint:
    files = {path: e for path, e in checkpoint.files.items() if path not in strange}
    return replace(checkpoint, files=files) if strange else checkpoint


def _plain(scheme: str) -> str:
    return "file" if scheme == "local" else scheme
