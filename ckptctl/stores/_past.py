"""Asking a bucket what it keeps of what is deleted: the same for all, whatever library speaks to it.

No answer is an error: who may delete need not be allowed to ask, and many servers do not know the
question.  Nothing is asked for long.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from ckptctl.model import NS
from ckptctl.stores._keeping import Doubt, Keeping, Remains, Retention, Versions

BRIEF_SECONDS = 10
"""Seconds that one question may take, with all that a library tries again."""

GCS_FIELDS = "versioning,softDeletePolicy,retentionPolicy,objectRetention,defaultEventBasedHold"
"""What is asked of a bucket's resource on GCS."""

_DAY = 86400 * NS
_PAGES = 50  # that are looked at for noncurrent versions
_LISTINGS = 16  # more places than that are looked for in what they have in common
_DOUBTS: Mapping[int | None, Doubt] = {
    errno.EACCES: "refused",
    errno.EPROTO: "unsupported",
    errno.ENOENT: "unsupported",  # the bucket is there: something was deleted in it
}


class Version(NamedTuple):
    """A version of an object that is no longer current."""

    key: str
    size: int
    etag: str


class Past(Protocol):
    """Who can be asked of a bucket.  Both raise OSError, within `BRIEF_SECONDS` seconds."""

    def settings(self) -> Keeping:
        """Return what the bucket was told to keep."""

    def noncurrent(self, prefix: str) -> Iterator[Sequence[Version]]:
        """Yield the noncurrent versions of all keys that begin so, in pages."""


class NoPast:
    """What has no way to ask: it keeps nothing, or nobody knows."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def settings(self) -> Keeping:
        """Return what is known without asking."""
        return Keeping(
            versions=self._versions, doubt="unsupported" if self._versions == "unknown" else ""
        )

    def noncurrent(self, prefix: str) -> Iterator[Sequence[Version]]:
        """Yield nothing."""
        return iter(())


def asked(opened: Callable[[], Past], where: str, deleted: Mapping[str, str], base: str) -> Keeping:
    """Ask a bucket what it keeps; of deleted keys, given with their ETags, count what is left.

    `base` is the part of these keys that is the location's own.
    """
    try:
        past = opened()
    except OSError as error:
        return Keeping(where=where, versions="unknown", doubt=_doubt(error))
    try:
        found = replace(past.settings(), where=where)
    except OSError as error:
        found = Keeping(where=where, versions="unknown", doubt=_doubt(error))
    if not deleted or found.versions == "off" or found.doubt in {"unsupported", "unanswered"}:
        return found
    return replace(found, remains=counted(past, deleted, base))


def _doubt(error: OSError) -> Doubt:
    return _DOUBTS.get(error.errno, "unanswered")


def counted(past: Past, deleted: Mapping[str, str], base: str) -> Remains | None:
    """Count the noncurrent versions of keys that were deleted; None where that cannot be done."""
    found, pages, hidden = Remains(), 0, set[str]()
    try:
        for page in _pages(past, prefixes(deleted, base)):
            pages += 1
            for version in page:
                etag = deleted.get(version.key)
                if etag is None:
                    continue
                now = etag == version.etag and version.key not in hidden
                hidden |= {version.key} if now else set()
                found = found._replace(
                    versions=found.versions + 1,
                    size=found.size + version.size,
                    hidden=found.hidden + (version.size if now else 0),
                )
            if pages == _PAGES:
                return found._replace(whole=False)
    except OSError:
        return found._replace(whole=False) if found.versions else None
    return found


def _pages(past: Past, prefixes: Iterable[str]) -> Iterator[Sequence[Version]]:
    for prefix in prefixes:
        yield from past.noncurrent(prefix)


def prefixes(keys: Collection[str], base: str) -> list[str]:
    """Return what to list so that all keys are seen: never a listing for each of many keys.

    A folder right below the location, which a checkpoint mostly is, is listed by itself.
    """
    folders: dict[str, None] = {}
    files: list[str] = []
    for key in keys:
        name, slash, _ = key[len(base) :].partition("/")
        if slash:
            folders[f"{base}{name}/"] = None
        else:
            files.append(key)
    found = [*folders, *([_common(files)] if files else [])]
    return found if len(found) <= _LISTINGS else [_common(keys)]


def _common(keys: Collection[str]) -> str:
    """Return what all keys begin with."""
    first, last = min(keys), max(keys)
    same = (a == b for a, b in zip(first, last, strict=False))
    return first[: next((at for at, alike in enumerate(same) if not alike), len(first))]


def of_s3(versioning: Mapping[str, Any], lock: Mapping[str, Any] | None) -> Keeping:
    """Return what GetBucketVersioning and GetObjectLockConfiguration tell; None: not told."""
    states: Mapping[object, Versions] = {"Enabled": "on", "Suspended": "suspended"}
    rule = (lock or {}).get("Rule", {}).get("DefaultRetention")
    return Keeping(
        versions=states.get(versioning.get("Status"), "off"),
        object_lock=None if lock is None else lock.get("ObjectLockEnabled") == "Enabled",
        retention=rule
        and Retention(
            str(rule.get("Mode", "")),
            (int(rule.get("Days") or 0) + 365 * int(rule.get("Years") or 0)) * _DAY,
        ),
    )


def of_gcs(bucket: Mapping[str, Any]) -> Keeping:
    """Return what the resource of a bucket tells, of which `GCS_FIELDS` are asked for.

    Versioning that is said to be off may have been on: what it kept then is still there.
    """
    states: Mapping[object, Versions] = {True: "on", False: "suspended"}
    policy = bucket.get("retentionPolicy")
    soft = (bucket.get("softDeletePolicy") or {}).get("retentionDurationSeconds")
    return Keeping(
        versions=states.get((bucket.get("versioning") or {}).get("enabled"), "off"),
        object_lock=(bucket.get("objectRetention") or {}).get("mode") == "Enabled",
        retention=policy
        and Retention(
            "locked" if policy.get("isLocked") else "not locked",
            int(policy.get("retentionPeriod") or 0) * NS,
        ),
        soft_delete_ns=int(soft or 0) * NS,
        held=bucket.get("defaultEventBasedHold") is True,
    )
