"""When a site's purge of its scratch takes the files of a checkpoint: pure.

Sites go by different times of each file (and forbid to touch them): the last access (Pawsey, 21
days), the creation (Iowa's /nfsscratch, 60 days), access and modification together (Purdue, 60
days, which tells a week ahead).  They look at single files: of a directory some go and others stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ckptctl.model import NS

_DAY_NS = 86400 * NS
_MARGIN_NS = 7 * _DAY_NS
_SHARE = 3


class PurgeBy(StrEnum):
    """The time of a file by which it is purged."""

    ANY = "any"
    ATIME = "atime"
    MTIME = "mtime"
    BIRTH = "birth"


class Times(NamedTuple):
    """The times of one file, in ns."""

    atime_ns: int
    mtime_ns: int
    birth_ns: int | None = None  # None where the file system does not tell, or nobody asked


@dataclass(frozen=True, slots=True)
class SitePurge:
    """What a site purges of a file system: files older than `after_ns` by one of their times."""

    after_ns: int
    by: PurgeBy = PurgeBy.ANY
    warn_ns: int | None = None  # how long before; None: a week, but at most a third of after_ns

    @property
    def margin_ns(self) -> int:
        """How long before a file goes its checkpoint is at risk."""
        if self.warn_ns is None:
            return min(_MARGIN_NS, self.after_ns // _SHARE)
        return min(self.warn_ns, self.after_ns)

    @property
    def needs_birth(self) -> bool:
        """Whether the time counts at which a file was made."""
        return self.by in {PurgeBy.BIRTH, PurgeBy.ANY}

    def taken_ns(self, times: Times) -> int:
        """Return when a file may go: by any of its times where it is not known which one counts.

        Where the file system does not tell when it was made, it was when it was last written.
        """
        born_ns = times.mtime_ns if times.birth_ns is None else times.birth_ns
        since_ns = {
            PurgeBy.ATIME: times.atime_ns,
            PurgeBy.MTIME: times.mtime_ns,
            PurgeBy.BIRTH: born_ns,
            PurgeBy.ANY: min(times.atime_ns, times.mtime_ns, born_ns),
        }[self.by]
        return since_ns + self.after_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """When a purge takes the first file of a checkpoint, which is torn from then on."""

    at_ns: int
    file: str  # the first
    files: int = 0  # that go within the margin
    at_risk: bool  # whether the first does
    due: bool  # it may have gone by now


def expiry_of(
    files: Iterable[tuple[str, Times | None]], purge: SitePurge, now_ns: int
) -> Expiry | None:
    """Return when the first of some files goes; None without any.

    A file without times was listed and is gone: the purge has begun.
    """
    first: tuple[int, str] | None = None
    count = 0
    for path, times in files:
        taken = (now_ns if times is None else purge.taken_ns(times), path)
        count += taken[0] - now_ns <= purge.margin_ns
        first = taken if first is None else min(first, taken)
    if first is None:
        return None
    return Expiry(
        at_ns=first[0], file=first[1], files=count, at_risk=count > 0, due=first[0] <= now_ns
    )
