"""What a verification leaves behind: a manifest, or the memory of damage; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptctl.algorithms import worth_noting
from ckptctl.comparing import HARMLESS, MISSING
from ckptctl.hashing import Hashed
from ckptctl.listing import Folder
from ckptctl.looking import Looked, links_in
from ckptctl.manifest import ALGORITHM, Manifest, Noted
from ckptctl.model import Checkpoint, Metadata, State
from ckptctl.verdicts import Level, Result, Status

_PASSING = frozenset({"differs", "unreadable", "recorded-damage"})
"""What may be the fault of another copy or of the moment: said, but not remembered."""


class Author(NamedTuple):
    """Who writes a manifest, and when."""

    by: str
    now_ns: int


def manifest_of(
    one: Looked, files: Iterable[Hashed], folder: Folder, author: Author, *, links: bool
) -> Manifest | None:
    """Return the manifest of a checkpoint as it was read; None where not all of it could be.

    What was not read now keeps the digest that an earlier manifest has of that very file.
    `folder` is the run's, as it was listed; where its store holds no `links`, what an earlier
    manifest says of links and times is all that is known of the source, and stays.
    """
    checkpoint, before = one.noted.checkpoint, one.noted.manifest
    read = {file.path: file for file in files}
    noted: dict[str, Noted] = {}
    inodes: dict[tuple[int, int], str] = {}
    for path, entry in sorted(checkpoint.files.items()):
        seen = before.files.get(path) if before else None
        if (file := read.get(path)) is not None:
            if file.entry is None:
                return None
            seen = Noted(
                entry.size,
                entry.mtime_ns,
                file.digests[ALGORITHM],
                entry.inode,
                entry.etag or None,
                checksums=worth_noting(file.held, _others(file.digests)),
            )
        if seen is None or not seen.is_same(entry):
            return None
        first = inodes.setdefault((entry.device, entry.inode), path) if entry.inode else path
        noted[path] = seen._replace(
            hardlink=None if first == path else first, sidecar=path in checkpoint.sidecars
        )
    dirs = {path: inside.mtime_ns for path, inside in _own_folders(checkpoint, folder)}
    for path, text in links_in(checkpoint, folder).items():
        noted[path] = Noted(0, 0, None, link=text)
    if before is not None and not links and not one.noted.saved_anew:
        noted |= dict(_carried(before, noted))
        dirs |= before.dirs
    return Manifest(
        name=checkpoint.name,
        path=checkpoint.member,
        format=checkpoint.format,
        said=said_of(checkpoint),
        files=noted,
        dirs=dirs,
        created_ns=author.now_ns,
        created_by=author.by,
    )


def _carried(before: Manifest, noted: Mapping[str, Noted]) -> Iterator[tuple[str, Noted]]:
    """Yield what an earlier manifest says that no bucket does: links, and of the same object its source."""
    for path, seen in before.files.items():
        now = noted.get(path)
        if seen.link is not None and now is None:
            yield path, seen
        elif now is not None and now.digest == seen.digest and now.etag == seen.etag:
            yield (
                path,
                now._replace(mtime_ns=seen.mtime_ns, hardlink=seen.hardlink, made=seen.made),
            )


def _others(digests: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in digests.items() if name != ALGORITHM}


def _own_folders(checkpoint: Checkpoint, folder: Folder) -> Iterator[tuple[str, Folder]]:
    """Yield the directories of a checkpoint, with their paths within the run."""
    for root in checkpoint.roots:
        if (inside := folder.inside(root)) is not None:
            yield from inside.tree(f"{root}/")


def said_of(checkpoint: Checkpoint) -> Metadata:
    """Return the merged metadata of a checkpoint, as a manifest holds it."""
    return Metadata(
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        saved_ns=checkpoint.saved_ns,
        metrics=checkpoint.metrics,
        tags=checkpoint.tags,
        pinned=checkpoint.pinned,
        resumable=checkpoint.resumable,
    )


def same(one: Manifest, other: Manifest | None) -> bool:
    """Whether two manifests say the same, whoever wrote them when."""
    return other is not None and (one.files, one.dirs, one.said) == (
        other.files, other.dirs, other.said
    )  # fmt: skip


def to_record(one: Looked, result: Result, *, record: bool, reread: bool) -> bool:
    """Whether a manifest is to be written: where that was asked for, or a trainer rewrote a file.

    What is wrong, or still being saved, is never recorded.
    """
    if any(finding.code == "manifest-unreadable" for finding in result.findings) and not reread:
        return False
    if result.error is not None or result.status not in {Status.OK, Status.UNRECORDED}:
        return False
    rewritten = any(finding.code == "re-recorded" for finding in result.findings)
    return record or (rewritten and one.noted.manifest is not None)


def damage_of(result: Result) -> str | None:
    """Return the damage that is to be remembered; None where there is none."""
    wrong = [
        finding
        for finding in result.findings
        if finding.code not in HARMLESS | MISSING | _PASSING
    ]  # fmt: skip
    if result.status is not Status.DAMAGED or not wrong:
        return None
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{wrong[0].file}: {wrong[0].text}{more}"


def refuted(result: Result, *, whole: bool) -> bool:
    """Whether a damage that is remembered is to be forgotten; `whole` unless only a sample was read."""
    checkpoint = result.checkpoint
    sound = result.status is Status.OK or (
        result.status is Status.UNRECORDED and checkpoint.damage_level != Level.DIGEST
    )
    return checkpoint.state is State.DAMAGED and sound and whole and result.error is None


def sample(files: Sequence[tuple[str, int]], percent: float, order: Sequence[int]) -> set[str]:
    """Return files that hold at least that many percent of all bytes, taken in an order of indices."""
    wanted = sum(size for _, size in files) * percent / 100
    chosen: set[str] = set()
    for index in order:
        if wanted <= 0 and chosen:
            break
        path, size = files[index]
        chosen.add(path)
        wanted -= size
    return chosen
