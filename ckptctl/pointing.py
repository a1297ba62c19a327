"""Which checkpoints the links and trackers of a run name."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from ckptctl.formats._base import Pointer
from ckptctl.model import Folder

_HOPS = 40  # as many links as the kernel follows


def links_of(folder: Folder) -> dict[str, str]:
    """Return every symlink below a run's folder: its path relative to the run, and its text."""
    return {
        f"{path}/{name}" if path else name: text
        for path, inside in folder.tree()
        for name, text in inside.links.items()
    }


def targets(links: Mapping[str, str], roots: Iterable[str]) -> dict[str, str]:
    """Return the path within the run that each link leads to; links out of the run are left out.

    `roots` are the full paths by which the run's directory is known, for absolute links.
    """
    known = tuple(roots)
    found = {}
    for link, text in links.items():
        where = _resolve(posixpath.dirname(link), text, links, known, _HOPS)
        if where:
            found[link] = where
    return found


def _resolve(
    base: str, text: str, links: Mapping[str, str], roots: tuple[str, ...], hops: int
) -> str | None:
    """Walk a link's text from a directory within the run, following links within the run."""
    if text.startswith("/"):
        full = posixpath.normpath(text)
        root = next((r for r in roots if full.startswith(r.rstrip("/") + "/")), None)
        if root is None:
            return None
        base, text = "", full[len(root.rstrip("/")) + 1 :]
    parts = [part for part in base.split("/") if part]
    for part in text.split("/"):
        if part in {"", "."}:
            continue
        if part == "..":
            if not parts:
                return _reentered(base, text, roots, links, hops)
            parts.pop()
            continue
        parts.append(part)
        here = "/".join(parts)
        if here in links:
            if not hops:
                return None
            where = _resolve("/".join(parts[:-1]), links[here], links, roots, hops - 1)
            if where is None:
                return None
            parts = where.split("/")
    return "/".join(parts)


def _reentered(
    base: str, text: str, roots: tuple[str, ...], links: Mapping[str, str], hops: int
) -> str | None:
    """Resolve a text that climbs out of the run and may come back (`../run/step_5`)."""
    if not hops:
        return None
    for root in roots:
        full = posixpath.normpath(posixpath.join(root, base, text))
        if full.startswith(root.rstrip("/") + "/"):
            return _resolve("", full, links, roots, hops - 1)
    return None


def named_by(pointers: Iterable[Pointer], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return, for each checkpoint's path, the trackers that name it.

    `names` maps every name by which a checkpoint can be called to its path.  A tracker's path from
    elsewhere counts by its last part.
    """
    found: dict[str, list[str]] = {}
    for pointer in pointers:
        last = pointer.target.rstrip("/").rsplit("/", 1)[-1]
        if (member := names.get(last)) is not None:
            found.setdefault(member, []).append(pointer.file)
    return found
