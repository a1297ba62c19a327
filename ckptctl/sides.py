"""A run at the source and at the destination of a copy, as far as pointers go; pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from ckptctl.group import Found
from ckptctl.listing import Folder
from ckptctl.manifest import Manifest, ManifestError
from ckptctl.model import Checkpoint, Run
from ckptctl.pointing import links_of, targets
from ckptctl.stores import is_local


class Fate(StrEnum):
    """What is to become of a pointer, or became of it."""

    PLANNED = "planned"
    DONE = "done"
    EQUAL = "equal"  # it is there already
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One pointer: a file of `content`, or a symlink of the text `link`, or neither where skipped."""

    path: str  # relative to the run, at the destination
    names: tuple[str, ...] = ()  # the members that it names
    fate: Fate
    content: bytes | None = None
    link: str | None = None
    noted: bool = False  # the link can only be noted: a bucket holds none
    text: str | None = None  # why, in words for a person


@dataclass(frozen=True, kw_only=True)
class Side:
    """A run at the source or at the destination, with what its pointers hold."""

    run: Run
    found: Found
    contents: Mapping[str, bytes] = field(default_factory=dict)  # of tracker files
    manifest: Callable[[str], Manifest | None] = lambda _: None
    noted: Mapping[str, str] = field(default_factory=dict)  # links of `pointernote`
    real: Callable[[str], str] = posixpath.normpath  # a full path with its links resolved

    @property
    def on_disk(self) -> bool:
        """Whether it can have symlinks."""
        return is_local(self.run.location)

    @property
    def folder(self) -> Folder:
        """The listing of the run."""
        return self.found.folder

    @property
    def roots(self) -> tuple[str, ...]:
        """The full paths by which the run is known."""
        here = self.run.location.rstrip("/") or "/"
        return tuple(dict.fromkeys((here, self.real(here)))) if self.on_disk else (here,)

    def links(self) -> dict[str, str]:
        """Return its symlinks outside of checkpoints; of a bucket those that are only noted."""
        every = links_of(self.folder) if self.on_disk else self.noted
        return {path: text for path, text in every.items() if self.holding(path) is None}

    def resolved(self, links: Mapping[str, str]) -> dict[str, str]:
        """Return the path within the run that each link leads to."""
        return targets(links, self.roots, self.real)

    @cached_property
    def _tops(self) -> Mapping[str, Checkpoint]:
        """The checkpoints by their directories, and by their files that lie in none of them."""
        return {
            path: one
            for one in self.run.checkpoints
            for path in (one.member, *one.roots, *(p for p in one.files if not one.contains(p)))
        }

    def holding(self, path: str) -> Checkpoint | None:
        """Return the checkpoint that a path is, or lies in."""
        parts = path.split("/")
        tops = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        return next((self._tops[top] for top in tops if top in self._tops), None)

    def named_by(self, pointer: str) -> tuple[Checkpoint, ...]:
        """Return the checkpoints that a tracker or link names."""
        return tuple(one for one in self.run.checkpoints if pointer in one.pointers)

    def called(self, member: str) -> Checkpoint | None:
        """Return the checkpoint at a path."""
        return next((one for one in self.run.checkpoints if one.member == member), None)

    def noted_of(self, member: str) -> Manifest | None:
        """Return the manifest of a checkpoint, if there is one that can be read."""
        try:
            return self.manifest(member)
        except (ManifestError, OSError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """All pointers of a run, in the order in which they are to be written."""

    points: tuple[Point, ...]
    note: Mapping[str, str]  # all links that the destination's state is to note
