"""What one caller has handed in of one checkpoint: the nouns, and how they are written down.

`staging/NAME.parts/K.json` in the destination's state; section 7 of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ckptctl.listing import Version, version_of
from ckptctl.parts.note import NoteError, inside, understood, written

_SCHEMA = ("ckptctl/part", 1)


class Caller(NamedTuple):
    """One of several that hand in parts: `number`, from 0 on, `of` how many."""

    number: int
    of: int

    def __str__(self) -> str:
        """Return it as `--part` takes it."""
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One file that was handed in."""

    bytes: int
    mtime_ns: int  # at the source
    digest: str
    inode: int = 0  # at the source, where it has one
    links: int = 1
    there: Version  # as it is at the destination
    staged: bool  # it lies in the staging directory of the part, else under its own name
    twin: str | None = None  # a file of this part that is the same inode, and was sent in its stead


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one caller has of one checkpoint; paths are relative to the run."""

    key: str  # by which the parts of one checkpoint find each other
    name: str
    roots: tuple[str, ...]  # its directories; none of a file or group
    caller: Caller
    by: str  # host and process, for people
    looked_ns: int  # when the caller listed its source
    sees: str = ""  # what tells one source from another: see `sharing.py`
    done: bool = False  # all that it meant to hand in is there
    files: Mapping[str, Kept] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    link_times: Mapping[str, int] = field(default_factory=dict)
    dirs: Mapping[str, int] = field(default_factory=dict)
    trackers: Mapping[str, str] = field(default_factory=dict)  # of the run, with what they hold
    pointing: Mapping[str, str] = field(default_factory=dict)  # symlinks of the run

    @property
    def changed_ns(self) -> int:
        """When the newest of its files was written."""
        return max((file.mtime_ns for file in self.files.values()), default=0)


def dump(part: Part) -> bytes:
    """Return a part as its note holds it."""
    said = {
        **{name: getattr(part, name) for name in _PLAIN},
        "files": [{"path": path, **asdict(kept)} for path, kept in sorted(part.files.items())],
    }
    return written(_SCHEMA, said)


_PLAIN = (
    "key", "name", "roots", "caller", "by", "looked_ns", "sees", "done", "links", "link_times",
    "dirs", "trackers", "pointing",
)  # fmt: skip


def parse(content: bytes) -> Part:
    """Return the part that a note describes.  NoteError where it cannot be understood."""
    return understood(content, _SCHEMA, _part)


def _part(said: Mapping[str, Any]) -> Part:
    return Part(
        key=_text(said["key"]),
        name=_text(said["name"]),
        roots=tuple(map(inside, said["roots"])),
        caller=Caller(*map(int, said["caller"])),
        by=_text(said["by"]),
        looked_ns=int(said["looked_ns"]),
        sees=_text(said["sees"]),
        done=said["done"] is True,
        files={inside(each["path"]): _kept(each) for each in said["files"]},
        links=_texts(said["links"]),
        link_times={inside(path): int(ns) for path, ns in said["link_times"].items()},
        dirs={inside(path): int(ns) for path, ns in said["dirs"].items()},
        trackers=_texts(said["trackers"]),
        pointing=_texts(said["pointing"]),
    )


def _kept(said: Mapping[str, Any]) -> Kept:
    digest, twin = said["digest"], said["twin"]
    return Kept(
        bytes=int(said["bytes"]),
        mtime_ns=int(said["mtime_ns"]),
        digest=_text(digest),
        inode=int(said["inode"]),
        links=int(said["links"]),
        there=version_of(said["there"]),
        staged=said["staged"] is True,
        twin=None if twin is None else inside(twin),
    )


def _texts(said: Mapping[str, Any]) -> dict[str, str]:
    return {inside(path): _text(text) for path, text in said.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NoteError(f"holds {value!r} where a text must be")
    return value
