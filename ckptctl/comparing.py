"""Whether the bytes of a checkpoint are still those that were noted: pure.

What was noted is its manifest and what its own framework recorded.  A file that its trainer
rightly rewrites later, and a checkpoint that was saved anew, are no damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ckptctl.algorithms import agrees
from ckptctl.formats._base import Digest
from ckptctl.hashing import Hashed
from ckptctl.manifest import ALGORITHM, Manifest
from ckptctl.model import Checkpoint
from ckptctl.reading import Finding

MISSING = frozenset(
    {"missing", "vanished", "incomplete", "data-missing", "shard-missing", "manifest-missing"}
)
"""Codes of findings that say that something is not there; of any other, something is not sound."""

HARMLESS = frozenset(
    {
        "stale-record", "re-recorded", "unrecorded-file", "crc", "changed", "absent", "marker-older", "settling",
        "manifest-unreadable",
    }
)  # fmt: skip
"""Codes of findings that a person should know of, but that prove nothing wrong."""


_CRC = ": it changed, or its writer leaves checksums out (torch's set_crc32_options)"


@dataclass(frozen=True, slots=True)
class Expected:
    """All that was noted of one checkpoint's bytes, and what of it may rightly change."""

    checkpoint: Checkpoint
    manifest: Manifest | None = None
    said: Mapping[str, Digest] = field(default_factory=dict)  # by its framework
    rewrites: frozenset[str] = frozenset()

    def rewritten(self, path: str) -> bool:
        """Whether a file may rightly be another one by now: a trainer's own copy, a sidecar."""
        c = self.checkpoint
        return c.named or path in c.sidecars or path.rpartition("/")[2] in self.rewrites

    @property
    def saved_anew(self) -> bool:
        """Whether the checkpoint was saved anew after its manifest was written.

        Then its key file, and at least half of its files, were written after that.
        """
        if self.manifest is None:
            return False
        files = self.checkpoint.files
        noted = {path: seen for path, seen in self.manifest.files.items() if seen.link is None}
        newer = {
            path
            for path, seen in noted.items()
            if path in files
            and not seen.fits(files[path])
            and files[path].mtime_ns > max(seen.mtime_ns, self.manifest.created_ns)
        }
        own = [path for path, seen in noted.items() if not seen.sidecar]
        return self.checkpoint.key_file in newer and 2 * len(newer.intersection(own)) >= len(own)

    @property
    def covered(self) -> bool:
        """Whether a digest is known of each file that holds more than its trainer may rewrite."""
        return not self.uncovered and any(map(self._known, self.checkpoint.files))

    @property
    def uncovered(self) -> list[str]:
        """The files of which no digest is known, but for what its trainer may rewrite."""
        said_by = {each.said_by for each in self.said.values()}  # which no digest covers itself
        own = [
            path
            for path in self.checkpoint.files
            if path not in self.checkpoint.sidecars
            and (path in self.said or path.rpartition("/")[2] not in said_by)
        ]
        return [path for path in own if not (self._known(path) or self.rewritten(path))]

    def _known(self, path: str) -> bool:
        sure = path in self.said and self.said[path].sure
        return sure or bool(self.manifest and path in self.manifest.files)


def by_sizes(noted: Expected) -> list[Finding]:
    """Return what names and sizes alone prove to be other than was noted."""
    if noted.manifest is None:
        return []
    if noted.saved_anew:
        return [_stale(noted)]
    found = []
    for path, seen in noted.manifest.files.items():
        if seen.link is not None or seen.sidecar or noted.rewritten(path):
            continue
        entry = noted.checkpoint.files.get(path)
        if entry is None:
            found.append(Finding(path, "missing", "was recorded, and is not there"))
        elif entry.size != seen.bytes:
            text = f"has {entry.size:,} bytes, and had {seen.bytes:,} when it was recorded"
            found.append(Finding(path, "size-changed", text))
    return found


def by_links(manifest: Manifest | None, links: Mapping[str, str]) -> list[Finding]:
    """Return what symbolic links say that they did not say when they were recorded."""
    noted = manifest.files if manifest is not None else {}
    return [
        Finding(path, "link-changed", f"was a link to {seen.link!r}, and is {_now(links, path)}")
        for path, seen in noted.items()
        if seen.link is not None and links.get(path) != seen.link
    ]


def _now(links: Mapping[str, str], path: str) -> str:
    return f"one to {links[path]!r}" if path in links else "none any more"


def by_digests(noted: Expected, hashed: Iterable[Hashed]) -> list[Finding]:
    """Return what is wrong with files that were read."""
    found: list[Finding] = []
    anew: list[str] = []
    saved_anew = noted.saved_anew  # which takes a look at every file
    for file in hashed:
        if file.entry is None:
            found.append(Finding(file.path, "changed", "changed while it was looked at"))
        else:
            found += _by_framework(noted, file)
            found += _by_server(file)
            found += [Finding(file.path, "crc", f"{text}{_CRC}") for text in file.warnings]
            seen = noted.manifest.files.get(file.path) if noted.manifest else None
            if seen is None or seen.digest in {None, file.digests[ALGORITHM]}:
                continue
            if saved_anew and not seen.is_same(file.entry):
                anew.append(file.path)
            elif noted.rewritten(file.path) and not seen.is_same(file.entry):
                text = "was rewritten since it was recorded, as may be"
                found.append(Finding(file.path, "re-recorded", text))
            else:
                text = f"its bytes are not those that were recorded ({_when(noted, file)})"
                found.append(Finding(file.path, "digest", text))
    return [_stale(noted), *found] if anew else found


def _by_framework(noted: Expected, file: Hashed) -> Iterable[Finding]:
    said = noted.said.get(file.path)
    if said is None or file.digests[said.algorithm].startswith(said.hexdigest):
        return
    # A digest that may be of something else proves damage only where a checksum agrees.
    if said.sure or file.warnings:
        text = f"its bytes are not those whose {said.algorithm} {said.said_by} holds"
        yield Finding(file.path, "digest", text)


def _by_server(file: Hashed) -> Iterable[Finding]:
    wrong = [name for name in file.held if agrees({name: file.held[name]}, file.digests) is False]
    if wrong:
        text = f"its bytes are not those that were stored, whose {wrong[0]} the server holds"
        yield Finding(file.path, "digest", text)


def _when(noted: Expected, file: Hashed) -> str:
    assert noted.manifest is not None  # noqa: S101 - the caller compares with it
    assert file.entry is not None  # noqa: S101 - the same
    if noted.manifest.files[file.path].is_same(file.entry):
        return "size and time are the same: the medium, or a copy, changed it"
    return "it was written since, but the rest of the checkpoint was not"


def _stale(noted: Expected) -> Finding:
    text = "was saved anew since it was recorded, so that record is void: --record makes a new one"
    return Finding(noted.checkpoint.key_file, "stale-record", text)
