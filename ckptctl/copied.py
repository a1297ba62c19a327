"""Whether what lies on another tier is a proven copy of a checkpoint: pure.

Proven is what was hashed and noted when it was written, and is there now as it was noted then.  A
copy it is where its bytes are known to be those of the checkpoint here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptctl.listing import Entry
from ckptctl.manifest import Manifest, Noted


@dataclass(frozen=True, slots=True)
class CopySide:
    """A checkpoint as it is at one place; paths are relative to the run."""

    files: Mapping[str, Entry]
    manifest: Manifest | None
    links: Mapping[str, str] | None  # None: the store holds no links, the manifest alone knows them
    sidecars: frozenset[str] = frozenset()

    @property
    def own(self) -> Mapping[str, Entry]:
        """Return what is the checkpoint itself, neither sidecars nor markers that only this store needs."""
        noted = self.manifest.files if self.manifest else {}
        return {
            path: entry
            for path, entry in self.files.items()
            if path not in self.sidecars and not (path in noted and noted[path].made)
        }

    @property
    def texts(self) -> Mapping[str, str] | None:
        """Return the symbolic links and their texts; None where nobody knows."""
        if self.links is not None:
            return self.links
        return _links(self.manifest) if self.manifest else None


def unproven(there: CopySide) -> str | None:
    """Return why a copy is not proven, None where it is."""
    if there.manifest is None:
        return "has it without a manifest"
    for path, noted in there.manifest.files.items():
        if noted.sidecar:
            continue
        if noted.link is not None:
            if there.links is not None and there.links.get(path) != noted.link:
                return f"has another link {path} than was copied"
            continue
        entry = there.files.get(path)
        if entry is None:
            return f"has it without {path}"
        if not noted.fits(entry):
            return f"has another {path} than was copied"
    return None


def unlike(here: CopySide, there: CopySide) -> str | None:
    """Return in what a proven copy is not one of this very checkpoint; None where it is."""
    assert there.manifest is not None  # noqa: S101 - it is proven
    own = here.own
    theirs = {
        path: noted
        for path, noted in there.manifest.files.items()
        if noted.link is None and not (noted.sidecar or noted.made or path in here.sidecars)
    }
    if odd := own.keys() ^ theirs.keys():
        return f"has another one of this name: {min(odd)} is not in both"
    for path, entry in own.items():
        known = here.manifest.files.get(path) if here.manifest else None
        if not _same(entry, known, theirs[path]):
            return f"has another one of this name: {path} differs"
    if (texts := here.texts) is not None and texts != _links(there.manifest):
        return "has another one of this name: its symbolic links differ"
    return None


def _same(entry: Entry, known: Noted | None, theirs: Noted) -> bool:
    """Whether a file has the bytes that were copied: by its digest, else by its size and time."""
    if entry.size != theirs.bytes:
        return False
    if known is not None and known.digest is not None and known.fits(entry):
        return known.digest == theirs.digest
    return entry.mtime_ns == theirs.mtime_ns


def _links(manifest: Manifest) -> dict[str, str]:
    return {path: n.link for path, n in manifest.files.items() if n.link is not None}
