"""The manifest: which files one checkpoint is made of, and what their bytes hash to.

One JSON file a checkpoint in `manifests/` of a state directory; section 6 of the contract.  It is
kept by the checkpoint's path within its run, like a record, and like one it notes the sizes and
times that the files had.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ckptctl.listing import Entry
from ckptctl.model import Metadata
from ckptctl.reading import NOT_UNDERSTOOD
from ckptctl.sidecar import metadata_of
from ckptctl.units import format_time, parse_time

FOLDER = "manifests"
ALGORITHM = "blake3"
_NO_NUMBERS = ("nan", "inf", "-inf")
LIMIT = 256 * 2**20
"""Bytes of the largest manifest that is read: some million files."""

_VALUES = 2**24
"""Commas and brackets in it; a million files have twelve million."""

_LATEST_NS = 2**63 * 10**9
"""What the kernel is told in seconds, as a signed number of 64 bits."""

_SCHEMA = ("ckptctl/manifest", 1)
_SAID = ("step", "epoch", "saved_at", "tags", "pinned", "resumable")


class ManifestError(ValueError):
    """A manifest of ours cannot be understood, so what it noted is unknown."""


class Noted(NamedTuple):
    """One file as it was when its digest was made, or one symbolic link (its text in `link`)."""

    bytes: int
    mtime_ns: int
    digest: str | None  # hexadecimal, None for a link
    inode: int = 0  # 0: not known there
    etag: str | None = None
    link: str | None = None
    hardlink: str | None = None  # an earlier file of the manifest that is the same inode
    sidecar: bool = False  # it may change, or go, without the checkpoint
    checksums: Mapping[str, str] | None = None  # of the same bytes, by which a server knows them
    made: bool = False  # a commit marker that this store needs, and that the source did not have

    def fits(self, entry: Entry) -> bool:
        """Whether a file has the size and time that were noted; of an object, the size and ETag.

        The time that is noted of an object that was copied is that of the file it was copied from.
        """
        if self.etag and entry.etag:
            return (self.bytes, self.etag) == (entry.size, entry.etag)
        return (self.bytes, self.mtime_ns) == (entry.size, entry.mtime_ns)

    def is_same(self, entry: Entry) -> bool:
        """Whether it is the very inode too, where both are known."""
        known = (self.inode, entry.inode), (self.etag, entry.etag)
        return self.fits(entry) and all(a == b or not a or not b for a, b in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Files, sizes and digests of one checkpoint; paths are relative to its run."""

    name: str
    path: str
    format: str
    said: Metadata  # the merged metadata when it was written
    files: Mapping[str, Noted]
    dirs: Mapping[str, int] = field(default_factory=dict)  # path -> mtime in ns
    created_ns: int
    created_by: str

    def fits(self, files: Mapping[str, Entry], rewrites: Container[str] = ()) -> bool:
        """Whether the files are those that it was made for, by sizes and times.

        Sidecars, and files of these names, may be others by now.
        """
        return all(
            path in files and noted.fits(files[path])
            for path, noted in self.files.items()
            if noted.link is None and not noted.sidecar and path.rpartition("/")[2] not in rewrites
        )


def dump(manifest: Manifest) -> bytes:
    """Return a manifest as its file holds it."""
    said = manifest.said
    return json.dumps(
        {
            "schema": _SCHEMA[0],
            "version": _SCHEMA[1],
            "name": manifest.name,
            "path": manifest.path,
            "format": manifest.format,
            "step": said.step,
            "epoch": said.epoch,
            "saved_at": None if said.saved_ns is None else format_time(said.saved_ns),
            "metrics": {
                name: value if math.isfinite(value) else str(value)
                for name, value in said.metrics.items()
            },
            "tags": list(said.tags),
            "pinned": said.pinned,
            "resumable": said.resumable,
            "algorithm": ALGORITHM,
            "files": [
                {"path": path, **noted._asdict()} for path, noted in sorted(manifest.files.items())
            ],
            "dirs": [{"path": path, "mtime_ns": ns} for path, ns in sorted(manifest.dirs.items())],
            "created_at": format_time(manifest.created_ns),
            "created_by": manifest.created_by,
        }
    ).encode()


def parse(content: bytes) -> Manifest:
    """Return the manifest in a file.  ManifestError where it cannot be understood."""
    try:
        if sum(map(content.count, b",[{")) > _VALUES:
            raise ManifestError("holds more values than any manifest of ours")  # noqa: TRY301 - one way out
        value = json.loads(content, object_hook=_file)
        if (value["schema"], value["version"]) != _SCHEMA or value["algorithm"] != ALGORITHM:
            raise ManifestError("is of a version that this ckptctl cannot read")  # noqa: TRY301 - one way out
        return Manifest(
            name=str(value["name"]),
            path=str(value["path"]),
            format=str(value["format"]),
            said=_said(value),
            files={_inside(path): noted for path, noted in value["files"]},
            dirs={_inside(each["path"]): _time(int(each["mtime_ns"])) for each in value["dirs"]},
            created_ns=parse_time(value["created_at"]),
            created_by=str(value["created_by"]),
        )
    except ManifestError:
        raise
    except NOT_UNDERSTOOD as error:
        raise ManifestError(f"cannot be understood ({type(error).__name__}: {error})") from error


def _file(value: dict[str, Any]) -> object:
    """Return a file of the manifest as what is kept of it, at once: of its JSON there are many."""
    if value.keys() >= {"path", "bytes", "digest"}:
        return value["path"], _noted(value)
    return value


def _said(value: Mapping[str, Any]) -> Metadata:
    """Return the metadata; JSON has no number for `nan` and `inf`, which are texts in a manifest."""
    metrics = {
        name: float(number) if number in _NO_NUMBERS else number
        for name, number in (value["metrics"] or {}).items()
    }
    return metadata_of(FOLDER, {**{key: value[key] for key in _SAID}, "metrics": metrics})


def _inside(path: object) -> str:
    """Return a path within a run.  ManifestError where it leads out of it."""
    if not isinstance(path, str) or {"", ".", ".."} & {*path.split("/")} or not _is_name(path):
        raise ManifestError(f"names {path!r}, which is no path within a run")
    return path


def _is_name(text: str) -> bool:
    """Whether the kernel takes a text as a path: a surrogate has to stand for a byte, as in `os`."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _time(ns: int) -> int:
    """Return a time that a file can have.  ManifestError where none can."""
    if abs(ns) >= _LATEST_NS:
        raise ManifestError(f"holds a time that no file has ({ns:.3e} ns)")
    return ns


def _noted(value: Mapping[str, Any]) -> Noted:
    get = value.get
    size, mtime_ns, inode = get("bytes"), get("mtime_ns"), get("inode") or 0
    digest, etag, link, hardlink = get("digest"), get("etag"), get("link"), get("hardlink")
    told = get("checksums")
    if not (told is None or (isinstance(told, dict) and all(map(_is_text, told.values())))):
        raise ManifestError("holds checksums of a wrong type")
    # Each type by itself: a manifest may have 100,000 files, and a loop for each takes seconds.
    if (
        type(size) is not int
        or type(mtime_ns) is not int
        or type(inode) is not int
        or not isinstance(digest, str | None)
        or not isinstance(etag, str | None)
        or not isinstance(link, str | None)
        or not isinstance(hardlink, str | None)
        or (digest is None) is (link is None)  # it is a file, or a link
        or size < 0
    ):
        raise ManifestError("holds a file whose size, time or digest is of a wrong type")
    _time(mtime_ns)
    if link is not None and not (link and _is_name(link)):
        raise ManifestError(f"holds a link to {link!r}, which no file system takes")
    return Noted(
        size,
        mtime_ns,
        digest,
        inode,
        etag,
        link,
        hardlink,
        sidecar=get("sidecar") is True,
        made=get("made") is True,
        checksums=told,
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)
