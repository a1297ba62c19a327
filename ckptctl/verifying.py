"""Verify the checkpoints of one run, down to every byte where that is asked for; only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptctl.comparing import by_digests
from ckptctl.hashing import Advanced, Hashed, Source, Stop, Wanted, hash_all
from ckptctl.looking import How, Looked, Other, look, lost_by_medium, unreadable
from ckptctl.manifest import ALGORITHM
from ckptctl.model import Checkpoint
from ckptctl.pace import in_order
from ckptctl.reading import Finding, VanishedError
from ckptctl.verdicts import Level, Result, Status, remembered, status_of

Chosen = Callable[[Sequence[Wanted]], set[str]]
"""Which of the files that are to be read shall be."""


def look_at_all(checkpoints: Sequence[Checkpoint], how: How, chosen: Chosen | None) -> list[Looked]:
    """Return each checkpoint as names, sizes, heads and tails show it; of files to be read, those chosen."""
    looked = in_order(lambda checkpoint: look(checkpoint, how), checkpoints)
    if chosen is None:
        return looked
    some = chosen([wanted for one in looked for wanted in one.wanted])
    return [replace(one, wanted=tuple(w for w in one.wanted if w.path in some)) for one in looked]


def read_all(
    looked: Sequence[Looked],
    how: How,
    *,
    known: Mapping[str, Hashed],
    heard: Callable[[Hashed], None],
    advanced: Advanced,
    stop: Stop,
) -> Iterator[tuple[Result, tuple[Hashed, ...]]]:
    """Yield each checkpoint's result, with what its files hashed to.

    `known` are files that an interrupted verification has read, `heard` gets each that was read
    here.  Raises Stopped once `stop()` is true.
    """
    wanted = [each for one in looked for each in one.wanted]
    fresh = [each for each in wanted if each.path not in known]
    here = _each_inode_once(fresh, how.source, how.jobs, advanced, stop)
    copied = _copied(wanted, how.other) if how.other and how.level is Level.DIGEST else set()
    there = (
        _each_inode_once(
            [each for each in wanted if each.path in copied], how.other.source, how.jobs, advanced, stop
        )
        if how.other
        else iter(())
    )  # fmt: skip
    for one in looked:
        files, copies = [], {}
        for each in one.wanted:
            if each.path in known:
                file = known[each.path]
            else:
                file = next(here)
                heard(file)
            files.append(file)
            if each.path in copied:
                copies[each.path] = next(there)
        yield _result(one, files, copies, how), tuple(files)


def _each_inode_once(
    wanted: Sequence[Wanted], source: Source, jobs: int, advanced: Advanced, stop: Stop
) -> Iterator[Hashed]:
    """Yield what files hash to, in their order; of hard links to one inode the first is read."""
    leaders: dict[tuple[int, int], str] = {}
    same: dict[str, str] = {}
    for path, entry, *_ in wanted:
        if entry.inode and entry.links > 1:
            leader = leaders.setdefault((entry.device, entry.inode), path)
            if leader != path:
                same[path] = leader
    read = hash_all(
        (each for each in wanted if each.path not in same),
        source,
        jobs=jobs,
        advanced=advanced,
        stop=stop,
    )
    linked: dict[str, Hashed] = {}
    leading = set(same.values())
    for each in wanted:
        if each.path in same:
            yield linked[same[each.path]]._replace(path=each.path, bytes_read=0)
            continue
        hashed = next(read)
        if each.path in leading:
            linked[each.path] = hashed
        yield hashed


def _copied(wanted: Sequence[Wanted], other: Other) -> set[str]:
    """Return the files that the copy has too, at the same size."""
    there = {path: e.size for c in other.checkpoints.values() for path, e in c.files.items()}
    return {each.path for each in wanted if there.get(each.path) == each.entry.size}


def _result(one: Looked, files: Sequence[Hashed], copies: Mapping[str, Hashed], how: How) -> Result:
    checkpoint = one.noted.checkpoint
    error = one.error
    findings = list(one.findings)
    read = []
    for file in (*files, *copies.values()):
        if file.error is None:
            continue
        if isinstance(file.error, VanishedError):
            findings.append(Finding(file.path, "vanished", "is gone"))
        elif lost_by_medium(file.error):
            findings.append(unreadable(file.path, file.error))
        else:
            error = file.error
    read = [file for file in files if file.error is None]
    findings += by_digests(one.noted, read)
    findings += _differing(one, read, copies, how.other)
    findings += remembered(checkpoint, findings, how.level)
    compared = bool(files) and all(
        file.path in copies for file in files if file.path not in checkpoint.sidecars
    )
    covered = one.noted.covered or compared
    status = status_of(checkpoint, findings, how.level, covered=covered)
    if how.record and status is Status.UNRECORDED and error is None:
        status = Status.OK  # it is recorded now
    return Result(
        checkpoint=checkpoint,
        status=status,
        findings=tuple(dict.fromkeys(findings)),
        files_checked=len(files) if how.level is Level.DIGEST else len(checkpoint.files),
        bytes_read=sum(file.bytes_read for file in (*files, *copies.values())),
        error=error,
    )


def _differing(
    one: Looked, files: Sequence[Hashed], copies: Mapping[str, Hashed], other: Other | None
) -> Iterator[Finding]:
    for file in files:
        copy = copies.get(file.path)
        if other is None or copy is None or copy.error is not None:
            continue
        if copy.digests[ALGORITHM] != file.digests[ALGORITHM]:
            text = f"its bytes are not those in {other.location}"
            seen = one.noted.manifest.files.get(file.path) if one.noted.manifest else None
            if seen is not None and seen.digest == file.digests[ALGORITHM]:
                text += "; here they are as they were recorded"
            yield Finding(file.path, "differs", text)
