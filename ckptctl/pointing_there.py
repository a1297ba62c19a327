"""What the pointers of a run must be at a destination; pure.

Pointers come last, each only when what it names is whole there, and never go back to an older one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ckptctl.formats._base import Format, Move
from ckptctl.model import Checkpoint, State
from ckptctl.names import split_suffix
from ckptctl.pointing import links_of
from ckptctl.sides import Fate, Point, Points, Side
from ckptctl.stores import split


def pointing_there(
    here: Side,
    there: Side,
    formats: Mapping[str, Format],
    conflicts: frozenset[str] = frozenset(),
) -> Points:
    """Return which pointers a destination must have, and which it does not get and why.

    `there` is the run as it is after copying; `conflicts` are members of the source under whose
    names something else is there.
    """
    return _Pointing(here, there, formats, conflicts).all()


@dataclass(frozen=True, slots=True)
class _Pointing:
    here: Side
    there: Side
    formats: Mapping[str, Format]
    conflicts: frozenset[str]

    def all(self) -> Points:
        """Return them: files first, since links may lead through other links."""
        texts = self.here.links() | dict(self._symbolic())
        leads = self.here.resolved(texts)
        files = [
            self._tracker(path) for path in self.here.run.trackers if not self._stands_for(path)
        ]
        links = [
            self._link(path, texts[path], target, named)
            for path, target in sorted(leads.items())
            if (named := self.here.holding(target)) is not None
        ]
        links = self._straightened(links, leads)
        points = {point.path: point for point in (*files, *links)}
        ours = {p.path: p.link for p in points.values() if p.noted and p.link is not None}
        return Points(points=tuple(points.values()), note={**self.there.noted, **ours})

    def _symbolic(self) -> Iterator[tuple[str, str]]:
        """Yield the link for which each object stands, and the text that it has on a disk."""
        for path in self.here.run.trackers:
            link = self._stands_for(path)
            named = self.here.named_by(path)
            if link is None or not named:
                continue
            last = self._text(path).rstrip("/").rpartition("/")[2]
            target = last if last in named[0].files else named[0].member
            yield link, posixpath.relpath(target, posixpath.dirname(link) or ".")

    def _stands_for(self, path: str) -> str | None:
        """Return the link for which a file stands, which it can in a bucket only."""
        if self.here.on_disk:
            return None
        kinds = (self.formats[one.format] for one in self.here.named_by(path))
        return next(filter(None, (kind.link_on_disk(path) for kind in kinds)), None)

    def _text(self, path: str) -> str:
        return self.here.contents.get(path, b"").decode("utf-8", "surrogateescape").strip()

    def _tracker(self, path: str) -> Point:
        named = self.here.named_by(path)
        point = Point(path=path, names=tuple(one.member for one in named), fate=Fate.SKIPPED)
        if path not in self.here.contents:
            return replace(point, text="it cannot be read, or is too large for a pointer")
        if not named:
            return replace(point, text="what it names is not here")
        if (why := self._why_not(path, named)) is not None:
            return replace(point, text=why)
        content: bytes | None = self.here.contents[path]
        names, move = self._names(), Move(self.here.roots, self.there.run.location)
        for kind in dict.fromkeys(self.formats[one.format] for one in named):
            content = None if content is None else kind.repointed(content, names, move)
        if content is None:
            return replace(point, text="it lists a checkpoint that is not whole there")
        return self._placed(replace(point, content=content))

    def _link(self, path: str, text: str, target: str, named: Checkpoint) -> Point:
        point = Point(path=path, names=(named.member,), fate=Fate.SKIPPED)
        if (why := self._why_not(path, (named,))) is not None:
            return replace(point, text=why)
        base = posixpath.dirname(path)
        if text.startswith("/") or posixpath.normpath(posixpath.join(base, text)).startswith(".."):
            text = posixpath.relpath(target, base or ".")
        if self.there.on_disk:
            return self._placed(replace(point, link=text))
        key = f"{split(self.there.run.location)[1].partition('/')[2].strip('/')}/{target}"
        spelled = self.formats[named.format].link_in_bucket(path, key.lstrip("/"))
        if spelled is not None:
            return self._placed(replace(point, path=spelled[0], content=spelled[1]))
        fate = Fate.EQUAL if self.there.noted.get(path) == text else Fate.PLANNED
        why = "a bucket holds no symlinks: noted for a copy back to a disk"
        return replace(point, link=text, noted=True, fate=fate, text=why)

    def _why_not(self, path: str, named: tuple[Checkpoint, ...]) -> str | None:
        """Return why a pointer to these is not written; None where it is."""
        for one in named:
            if (why := self._lacking(one)) is not None:
                return f"names {one.name}, which {why}"
        newest = max(named, key=_place)
        for one in self._pointed(path):
            if _is_newer(one, newest) and not self._went_back(one, newest):
                return f"names {one.name} there, which is newer than {newest.name}: left as it is"
        return None

    def _pointed(self, path: str) -> Iterator[Checkpoint]:
        """Yield the checkpoints that the destination's own pointer of this name names."""
        yield from self.there.named_by(path)
        for pointer in self.there.run.trackers:
            kinds = {self.formats[one.format] for one in self.there.named_by(pointer)}
            if any(kind.link_on_disk(pointer) == path for kind in kinds):
                yield from self.there.named_by(pointer)
        target = self.there.resolved(self.there.noted).get(path)
        if target is not None and (one := self.there.holding(target)) is not None:
            yield one

    def _went_back(self, theirs: Checkpoint, ours: Checkpoint) -> bool:
        """Whether the source has what is named there too, and saved what it names after it."""
        also = self.here.called(theirs.member)
        return also is not None and ours.saved_ns > also.saved_ns

    def _lacking(self, one: Checkpoint) -> str | None:
        """Return why a checkpoint of the source does not count as whole at the destination."""
        if one.member in self.conflicts:
            return "is another one there"
        other = self.there.called(one.member)
        if other is not None and other.doomed_ns is not None:
            return "is scheduled for deletion there"
        if other is not None and other.state is State.DAMAGED:
            return "is damaged there"
        manifest = self.here.noted_of(one.member)
        made = {path for path, file in manifest.files.items() if file.made} if manifest else set()
        own = {p: e for p, e in one.files.items() if p not in one.sidecars and p not in made}
        sizes = {p: found.size for p in own if (found := self.there.folder.find(p)) is not None}
        if own.keys() - sizes.keys():
            return "is not there" if not sizes else "is not whole there"
        if any(sizes[path] != entry.size for path, entry in own.items()):
            return "is another one there"
        if other is not None and other.state is State.COMPLETE:
            return None
        return None if self._proven(one.member) else "is not whole there"

    def _proven(self, member: str) -> bool:
        """Whether the destination's manifest fits: some checkpoints only their tracker makes whole."""
        manifest = self.there.noted_of(member)
        if manifest is None:
            return False
        seen = {p: found for p in manifest.files if (found := self.there.folder.find(p))}
        return manifest.fits(seen)

    def _names(self) -> frozenset[str]:
        """Return the names by which all that is whole there can be called."""
        whole = [one for one in self.here.run.checkpoints if self._lacking(one) is None]
        whole += [one for one in self.there.run.checkpoints if one.state is State.COMPLETE]
        names: set[str] = set()
        for one in whole:
            names |= {one.name, one.member, split_suffix(one.member)[0], *one.files}
        return frozenset(names)

    def _placed(self, point: Point) -> Point:
        """Return a pointer as it is to be written, unless it is there or its name is taken."""
        folder, path = self.there.folder, point.path
        parent, _, name = path.rpartition("/")
        inside = folder.inside(parent) if parent else folder
        is_file = inside is not None and name in inside.files
        is_link = inside is not None and name in inside.links
        if point.link is not None and is_link and inside and inside.links[name] == point.link:
            return replace(point, fate=Fate.EQUAL)
        if point.content is not None and self.there.contents.get(path) == point.content:
            return replace(point, fate=Fate.EQUAL)
        if self.there.holding(path) is not None or folder.inside(path) is not None:
            what = "a checkpoint or directory"
        elif point.link is not None and is_file:
            what = "a file"
        elif point.content is not None and is_link:
            what = "a symlink"
        else:
            return replace(point, fate=Fate.PLANNED)
        text = f"{what} has this name there: left as it is"
        return replace(point, content=None, link=None, text=text)

    def _straightened(self, links: list[Point], leads: Mapping[str, str]) -> list[Point]:
        """Return the links, those straight to the checkpoint that would lead astray there."""
        planned = {p.path: p.link for p in links if p.link is not None and not p.noted}
        reached = self.there.resolved({**links_of(self.there.folder), **planned})
        return [
            point
            if point.path not in planned or reached.get(point.path) == leads[point.path]
            else self._straight(point, leads[point.path])
            for point in links
        ]

    def _straight(self, point: Point, target: str) -> Point:
        text = posixpath.relpath(target, posixpath.dirname(point.path) or ".")
        return self._placed(replace(point, link=text, fate=Fate.SKIPPED))


def _place(one: Checkpoint) -> tuple[float, float, int]:
    return one.step if one.step is not None else -1, one.epoch or 0, one.saved_ns


def _is_newer(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether a checkpoint is newer than another: by step, else by epoch, else by time."""
    if one.member == other.member:
        return False
    for mine, theirs in ((one.step, other.step), (one.epoch, other.epoch)):
        if mine is not None and theirs is not None and mine != theirs:
            return mine > theirs
    return one.saved_ns > other.saved_ns
