"""What a store keeps of what is deleted in it, and what that means to whoever pays for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ckptctl.units import format_duration, format_size

Versions = Literal["off", "on", "suspended", "unknown"]
Doubt = Literal["", "refused", "unsupported", "unanswered"]

_NEEDED = {"s3": "s3:GetBucketVersioning", "gs": "storage.buckets.get"}


class Retention(NamedTuple):
    """For how long after it was saved an object, or a version, cannot be removed for good."""

    mode: str  # GOVERNANCE or COMPLIANCE on S3, "locked" or "not locked" on GCS
    period_ns: int


class Remains(NamedTuple):
    """What is still there of deleted objects: versions that are no longer current."""

    versions: int = 0
    size: int = 0  # bytes of all of them
    hidden: int = 0  # bytes of those that were current until they were deleted
    whole: bool = True  # whether all of them were counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What a bucket was told to keep; `remains` is what it keeps of some objects.

    S3 with Object Lock has versions too: a deletion succeeds there, and hides. A retention policy
    or a hold of GCS refuses the deletion of the object itself: see `_errors.py`.
    """

    where: str = ""  # "s3://bucket", for messages
    versions: Versions = "off"
    doubt: Doubt = ""  # why it is unknown whether it keeps versions
    object_lock: bool | None = False  # whether objects can be locked one by one; None: unknown
    retention: Retention | None = None  # of every object that is saved
    soft_delete_ns: int = 0  # for how long what is removed for good can be brought back, and costs
    held: bool = False  # every object that is saved is under a hold until that is released
    remains: Remains | None = None  # None: not counted

    def words(self) -> str:
        """Return all of it for a person, "" where the bucket keeps nothing."""
        parts = [
            {
                "off": "",
                "on": "versions are kept",
                "suspended": "versions are kept that were made before versioning was suspended",
                "unknown": f"whether versions are kept is unknown: {self._why()}",
            }[self.versions],
            "Object Lock" if self.object_lock else "",
            "whether there is Object Lock is unknown" if self.object_lock is None else "",
            f"retention: {_retained(self.retention)}" if self.retention else "",
            f"soft delete: {format_duration(self.soft_delete_ns)}" if self.soft_delete_ns else "",
            "new objects are held" if self.held else "",
        ]
        return "; ".join(part for part in parts if part)

    def _why(self) -> str:
        scheme = self.where.partition(":")[0]
        return {
            "": "nobody asked",
            "refused": f"no permission ({_NEEDED.get(scheme, 'to ask')})",
            "unsupported": "the server does not know the question",
            "unanswered": "no answer in time",
        }[self.doubt]

    def freed(self, size: int) -> int:
        """Return how many of the bytes that were deleted are gone, not only hidden by versions.

        What soft delete keeps for some days counts as gone.
        """
        if self.versions == "on":
            return 0
        return max(0, size - (self.remains.hidden if self.remains else 0))

    def after(self, objects: int, size: int) -> tuple[str, ...]:
        """Return what to tell who deleted so many objects, that had so many bytes together."""
        told = (self._versions_left(), self._kept_for_days(objects, size))
        return tuple(text for text in told if text) if objects else ()

    def _versions_left(self) -> str:
        left = self.remains
        if self.versions == "off":
            return ""
        if left is None and self.versions != "on":
            if self.doubt == "unsupported":  # who has no word for versions keeps none
                return ""
            why = self._why() if self.doubt else "versioning is suspended, not off"
            return f"deleted, but {self.where} may hold versions of it that still cost money: {why}"
        if left is not None and not left.versions and self.versions != "on":
            return ""
        lock = ""
        if self.retention:
            lock = f", but not within {_retained(self.retention)} of when they were saved"
        elif self.object_lock:
            lock = ", but not while Object Lock keeps them"
        return (
            f"deleted, but {_noncurrent(left)} money: {self.where} keeps versions; "
            f"a lifecycle rule for noncurrent versions removes them{lock}"
        )

    def _kept_for_days(self, objects: int, size: int) -> str:
        if not self.soft_delete_ns or self.versions == "on":  # a version is kept, and not deleted
            return ""
        what = f"{objects} object{'' if objects == 1 else 's'} ({format_size(size)})"
        days = format_duration(self.soft_delete_ns)
        return f"deleted, but {what} can be brought back for {days} and cost money until then: {self.where} has soft delete"


def _noncurrent(left: Remains | None) -> str:
    # With versioning on there is one of each key at least, so none is a wrong count.
    if left is None or not left.versions:
        return "an unknown number of noncurrent versions still cost"
    least = "" if left.whole else "at least "
    size = format_size(left.size)
    if left.versions == 1 and left.whole:
        return f"1 noncurrent version ({size}) still costs"
    return f"{least}{left.versions} noncurrent versions ({size}) still cost"


def _retained(retention: Retention) -> str:
    return f"{format_duration(retention.period_ns)} ({retention.mode})"
