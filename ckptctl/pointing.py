"""Which checkpoints the links and trackers of a run name."""

from __future__ import annotations

import itertools
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptctl.formats._base import Pointer
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, State

_HOPS = 40  # as many links as the kernel follows

_MAY_BE_NEWEST = frozenset({State.COMPLETE, State.SAVING})


def links_of(folder: Folder) -> dict[str, str]:
    """Return every symlink below a run's folder: its path relative to the run, and its text."""
    return {
        f"{path}/{name}" if path else name: text
        for path, inside in folder.tree()
        for name, text in inside.links.items()
    }


class _Around(NamedTuple):
    """What a link may lead through."""

    links: Mapping[str, str]  # of the run: path and text
    roots: tuple[str, ...]  # full paths by which the run's directory is known
    real: Callable[[str], str]

    def within(self, full: str) -> str | None:
        """Return the path within the run that a full path means, if it means one."""
        for path in (self.real(full), posixpath.normpath(full)):
            for root in self.roots:
                if path.startswith(root.rstrip("/") + "/"):
                    return path[len(root.rstrip("/")) + 1 :]
        return None


def targets(
    links: Mapping[str, str],
    roots: Iterable[str],
    real: Callable[[str], str] = posixpath.normpath,
) -> dict[str, str]:
    """Return the path within the run that each link leads to; links out of the run are left out.

    `roots` are the full paths by which the run's directory is known, for links that are absolute
    or climb out of the run and come back.  `real` resolves links in a full path: the run may be
    named by yet another way (`/scratch` for `/lustre/scratch`).
    """
    around = _Around(links, tuple(roots), real)
    found = {}
    for link, text in links.items():
        where = _resolve(posixpath.dirname(link), text, around, _HOPS)
        if where:
            found[link] = where
    return found


def _resolve(base: str, text: str, around: _Around, hops: int) -> str | None:
    """Walk a link's text from a directory within the run, following links within the run."""
    if text.startswith("/"):
        inner = around.within(text)
        if inner is None:
            return None
        base, text = "", inner
    parts = [part for part in base.split("/") if part]
    for part in text.split("/"):
        if part in {"", "."}:
            continue
        if part == "..":
            if not parts:
                return _reentered(base, text, around, hops)
            parts.pop()
            continue
        parts.append(part)
        here = "/".join(parts)
        if here in around.links:
            if not hops:
                return None
            where = _resolve("/".join(parts[:-1]), around.links[here], around, hops - 1)
            if where is None:
                return None
            parts = [part for part in where.split("/") if part]
    return "/".join(parts)


def _reentered(base: str, text: str, around: _Around, hops: int) -> str | None:
    """Resolve a text that climbs out of the run and may come back (`../run/step_5`)."""
    if not hops:
        return None
    for root in around.roots:
        inner = around.within(posixpath.join(root, base, text))
        if inner is not None:
            return _resolve("", inner, around, hops - 1)
    return None


def named_by(
    pointers: Iterable[Pointer], names: Mapping[str, Iterable[str]]
) -> dict[str, list[str]]:
    """Return, for each checkpoint's path, the trackers that name it.

    `names` maps every name by which a checkpoint can be called to the paths that it may mean.
    """
    found: dict[str, list[str]] = {}
    for pointer in pointers:
        for member in names.get(last_part(pointer.target), ()):
            files = found.setdefault(member, [])
            if pointer.file not in files:  # two formats may read one file
                files.append(pointer.file)
    return found


def last_part(target: str) -> str:
    """Return by which part a tracker's path counts: it may have been written elsewhere."""
    return target.rstrip("/").rpartition("/")[2]


def naming_their_best(checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return checkpoints with pointers from the newest complete one of each family to its best.

    What is being saved may be the newest in a moment: what it names counts as well.  To be asked
    again wherever one turns out not to be complete.
    """
    every = tuple(checkpoints)
    before = {one.key_file for one in every if one.best is not None}
    if not before:
        return every
    naming: defaultdict[str, list[Checkpoint]] = defaultdict(list)
    for one in sorted(every, key=_number, reverse=True):
        so_far = naming[one.family]
        if one.state in _MAY_BE_NEWEST and (not so_far or so_far[-1].state is State.SAVING):
            so_far.append(one)
    pointed: defaultdict[str | None, list[str]] = defaultdict(list)
    for one in itertools.chain.from_iterable(naming.values()):
        pointed[one.best].append(one.key_file)
    return tuple(
        replace(one, pointers=(*(p for p in one.pointers if p not in before), *pointed[one.member]))
        for one in every
    )


def _number(checkpoint: Checkpoint) -> tuple[float, float, int]:
    return checkpoint.step or 0, checkpoint.epoch or 0, checkpoint.saved_ns
