"""The first half of a verification: names, sizes, heads and tails of one checkpoint; only reads."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ckptctl.comparing import Expected, by_links, by_sizes
from ckptctl.formats._base import Format
from ckptctl.hashing import Source, Wanted
from ckptctl.listing import Folder
from ckptctl.manifest import Manifest, ManifestError
from ckptctl.model import Checkpoint, State
from ckptctl.prove import findings_of
from ckptctl.reading import Finding
from ckptctl.verdicts import Level, Status, by_names, status_of

_MEDIUM = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})
"""What the kernel says where the medium itself has lost what was asked for."""


@dataclass(frozen=True, slots=True)
class Other:
    """The same run at another location, to be compared with."""

    location: str
    source: Source
    checkpoints: Mapping[str, Checkpoint]  # by path within the run


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How the checkpoints of one run are to be verified."""

    source: Source  # starts at the run
    formats: Mapping[str, Format]
    manifest: Callable[[str], Manifest | None]  # by a checkpoint's path; raises ManifestError
    level: Level = Level.STRUCTURE
    record: bool = False
    reread: bool = False
    sampled: bool = False  # only some of the bytes are read
    other: Other | None = None
    jobs: int = 1
    folder: Folder = field(default_factory=lambda: Folder(""))  # the run's, as it was listed
    links: bool = (
        True  # whether the run's store holds them: in a bucket only manifests tell of them
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """One checkpoint before its bytes are read, and which files are to be read whole."""

    noted: Expected
    findings: tuple[Finding, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    error: OSError | None = None  # why something of it could not be read


def lost_by_medium(error: OSError) -> bool:
    """Whether an error says that the bytes are lost, rather than that we may not read them."""
    return error.errno in _MEDIUM


def unreadable(path: str, error: OSError) -> Finding:
    """Return what to say of a file whose bytes the medium has lost."""
    return Finding(path, "unreadable", f"cannot be read ({error.strerror or error})")


def look(checkpoint: Checkpoint, how: How) -> Looked:
    """Return what names, sizes, heads and tails say of a checkpoint, as deep as the level goes."""
    kind = how.formats[checkpoint.format]
    findings = by_names(checkpoint)
    manifest = None
    said = {}
    failed = None
    try:
        manifest = how.manifest(checkpoint.member)
    except ManifestError as error:
        findings.append(Finding(checkpoint.key_file, "manifest-unreadable", str(error)))
    except OSError as error:
        failed = error
    # What was recorded was whole; where all of it is compared, heads and tails are too.
    compared = how.level is Level.DIGEST and not how.sampled and _is_recorded(checkpoint, manifest)
    try:
        if (how.level is not Level.NAMES or how.record) and not compared:
            proven = findings_of(checkpoint, how.formats, how.source)
            told = {found.code for found in proven}  # better than the listing's own look could
            findings = [found for found in findings if found.code not in told] + list(proven)
        said = {each.path: each for each in kind.digests(checkpoint, how.source)}
    except OSError as error:
        if lost_by_medium(error):
            findings.append(unreadable(str(error.filename or checkpoint.key_file), error))
        else:
            failed = error
    findings += [
        Finding(path, "missing", f"is named in {each.said_by}, and is not there")
        for path, each in said.items()
        if path not in checkpoint.files
    ]
    noted = Expected(checkpoint, manifest, said, kind.rewrites)
    findings += by_sizes(noted)
    if how.links and not noted.saved_anew:
        findings += by_links(manifest, links_in(checkpoint, how.folder))
    if how.other is not None:
        findings += _beside(checkpoint, how.other)
    wanted = () if failed else _wanted(noted, findings, how)
    return Looked(noted, tuple(dict.fromkeys(findings)), wanted, failed)


def links_in(checkpoint: Checkpoint, folder: Folder) -> dict[str, str]:
    """Return the symbolic links of a checkpoint and their texts, by paths within the run."""
    return {
        f"{path}/{link}": text
        for root in checkpoint.roots
        if (inside := folder.inside(root)) is not None
        for path, deep in inside.tree(f"{root}/")
        for link, text in deep.links.items()
    }


def _is_recorded(checkpoint: Checkpoint, manifest: Manifest | None) -> bool:
    """Whether a digest is known of each file, at the size and time that it has."""
    return manifest is not None and all(
        path in manifest.files and manifest.files[path].fits(entry)
        for path, entry in checkpoint.files.items()
    )


def _wanted(noted: Expected, findings: list[Finding], how: How) -> tuple[Wanted, ...]:
    """Return the files to be read whole: all at the digest level, else what is not recorded yet."""
    checkpoint, manifest = noted.checkpoint, noted.manifest
    if checkpoint.state not in {State.COMPLETE, State.DAMAGED}:
        return ()
    sound = status_of(checkpoint, findings, Level.STRUCTURE, covered=True) is Status.OK
    if how.level is not Level.DIGEST and not (how.record and sound):
        return ()
    wanted = []
    for path, entry in sorted(checkpoint.files.items()):
        seen = manifest.files.get(path) if manifest else None
        recorded = seen is not None and seen.is_same(entry) and not how.reread
        if how.level is Level.DIGEST or not recorded:
            said = noted.said.get(path)
            # Where no digest is known, what a ZIP says of its own records is all there is.
            unknown = how.level is Level.DIGEST and seen is None and not (said and said.sure)
            also = frozenset({said.algorithm} if said else ())
            wanted.append(Wanted(path, entry, also, checksums=unknown))
    return tuple(wanted)


def _beside(checkpoint: Checkpoint, other: Other) -> list[Finding]:
    """Return how names and sizes differ from those of the copy at another location."""
    copy = other.checkpoints.get(checkpoint.member)
    if copy is None:
        text = f"is not in {other.location}, so there is nothing to compare with"
        return [Finding(checkpoint.key_file, "absent", text)]
    if copy.state is State.SAVING:
        text = f"is still being saved in {other.location}, so it was not compared"
        return [Finding(checkpoint.key_file, "absent", text)]
    found = []
    for path, entry in checkpoint.files.items():
        if path in checkpoint.sidecars:
            continue
        there = copy.files.get(path)
        if there is None:
            found.append(Finding(path, "differs", f"is not in {other.location}"))
        elif there.size != entry.size:
            text = f"has {entry.size:,} bytes, and {there.size:,} in {other.location}"
            found.append(Finding(path, "differs", text))
    extra = [p for p in copy.files if p not in checkpoint.files and p not in copy.sidecars]
    found += [Finding(path, "differs", f"is only in {other.location}") for path in extra]
    return found
