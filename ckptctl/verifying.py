"""Verify the checkpoints of one run, down to every byte where that is asked for; only reads."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from ckptctl.algorithms import agrees, quickest
from ckptctl.comparing import by_digests
from ckptctl.hashing import Advanced, Hashed, Source, Stop, Wanted, hash_all
from ckptctl.looking import How, Looked, Other, look, lost_by_medium, unreadable
from ckptctl.manifest import ALGORITHM
from ckptctl.model import Checkpoint, State
from ckptctl.pace import in_order
from ckptctl.reading import Finding, VanishedError
from ckptctl.verdicts import Level, Result, Status, remembered, status_of
from ckptctl.vouching import may_spare, on_one_side, stands_for

Chosen = Callable[[Sequence[Wanted]], set[str]]
"""Which of the files that are to be read shall be."""


def look_at_all(
    checkpoints: Sequence[Checkpoint], how: How, chosen: Chosen | None, stop: Stop
) -> list[Looked]:
    """Return each checkpoint as names, sizes, heads and tails show it; of files to be read, those chosen.

    Only those that were reached where `stop()` comes true meanwhile.
    """
    seen = in_order(lambda c: None if stop() else look(c, how), checkpoints)
    looked = [one for one in seen if one is not None]
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
) -> Generator[tuple[Result, tuple[Hashed, ...]]]:
    """Yield each checkpoint's result, with what its files hashed to.

    `known` are files that an interrupted verification has read or a server vouches for, `heard`
    gets each that was read here.  Raises Stopped once `stop()` is true.  Close it before what it reads from: up to then
    threads read ahead.
    """
    wanted = [each for one in looked for each in one.wanted]
    copied = _copied(wanted, how) if how.other and how.level is Level.DIGEST else {}
    by_word, copies_by_word = on_one_side(wanted, copied, known, how)
    fresh = [
        each._replace(also=each.also | quickest(copied[each.path].held))
        if each.path in copies_by_word
        else each
        for each in wanted
        if each.path not in known and each.path not in by_word
    ]
    elsewhere = how.other.source if how.other else how.source

    def reading(files: Sequence[Wanted], source: Source) -> closing[Generator[Hashed]]:
        return closing(_each_inode_once(files, source, how.jobs, advanced, stop))

    def read_now(file: Wanted, source: Source) -> Hashed:
        with reading([file], source) as read:
            return next(read)

    eager = [copy for path, copy in copied.items() if path not in copies_by_word]
    with reading(fresh, how.source) as here, reading(eager, elsewhere) as there:
        for one in looked:
            noted = one.noted.manifest.files if one.noted.manifest else {}
            files, copies = [], {}
            for each in one.wanted:
                path = each.path
                if path in copied and path not in copies_by_word:
                    copies[path] = next(there)
                if path in known:
                    file = known[path]
                elif path in by_word:
                    same = stands_for(each, copies[path], noted.get(path))
                    file = same or read_now(each, how.source)
                else:
                    file = next(here)
                    heard(file)
                files.append(file)
                if path in copies_by_word:
                    copy = copied[path]
                    copies[path] = stands_for(copy, file, None) or read_now(copy, elsewhere)
            files, copies = _confirmed(one, files, copies, copied, how, stop)
            yield _result(one, files, copies, how), tuple(files)


def _confirmed(
    one: Looked,
    files: list[Hashed],
    copies: dict[str, Hashed],
    copied: Mapping[str, Wanted],
    how: How,
    stop: Stop,
) -> tuple[list[Hashed], dict[str, Hashed]]:
    """Read again what does not fit and came over a network: a broken transfer is no damage."""
    read = [file for file in files if file.entry is not None]
    differing = {found.file for found in _differing(one, read, copies, how.other)}
    unlike = differing | {found.file for found in by_digests(one.noted, read)}
    wanted = {each.path: each for each in one.wanted}
    anew = _anew(wanted, [file for file in read if file.path in unlike], how.source, stop)
    if how.other is not None:
        theirs = [copy for path, copy in copies.items() if path in differing]
        copies = copies | _anew(copied, theirs, how.other.source, stop)
    return [anew.get(file.path, file) for file in files], copies


def _anew(
    wanted: Mapping[str, Wanted], files: Sequence[Hashed], source: Source, stop: Stop
) -> dict[str, Hashed]:
    """Read those files once more that are objects, by the same algorithms: they have no inode."""
    first = {file.path: file for file in files if not wanted[file.path].entry.inode}
    if not first:
        return {}
    again = [
        wanted[path]._replace(also=wanted[path].also | file.digests.keys() - {ALGORITHM})
        for path, file in first.items()
    ]
    with closing(hash_all(again, source, jobs=1, advanced=lambda _: None, stop=stop)) as read:
        return {
            file.path: file._replace(bytes_read=file.bytes_read + first[file.path].bytes_read)
            for file in read
        }


def _each_inode_once(
    wanted: Sequence[Wanted], source: Source, jobs: int, advanced: Advanced, stop: Stop
) -> Generator[Hashed]:
    """Yield what files hash to, in their order; of hard links to one inode the first is read."""
    leaders: dict[tuple[int, int], Wanted] = {}  # each with all that is wanted of any of its links
    same: dict[str, tuple[int, int]] = {}
    for each in wanted:
        inode = each.entry.device, each.entry.inode
        if each.entry.inode and each.entry.links > 1:
            leader = leaders.setdefault(inode, each)
            checksums = leader.checksums or each.checksums
            leaders[inode] = leader._replace(also=leader.also | each.also, checksums=checksums)
            same[each.path] = inode
    led = {leader.path: leader for leader in leaders.values()}
    read = hash_all(
        (led.get(each.path, each) for each in wanted if each.path in led or each.path not in same),
        source,
        jobs=jobs,
        advanced=advanced,
        stop=stop,
    )
    linked: dict[tuple[int, int], Hashed] = {}
    with closing(read):
        for each in wanted:
            if each.path not in same:
                yield next(read)
            elif each.path in led:
                linked[same[each.path]] = hashed = next(read)
                yield hashed
            else:
                yield linked[same[each.path]]._replace(path=each.path, bytes_read=0)


def _copied(wanted: Sequence[Wanted], how: How) -> dict[str, Wanted]:
    """Return the files that the copy has too, at the same size, as they are to be read there."""
    assert how.other is not None  # noqa: S101 - the caller has looked
    there = {
        path: entry
        for copy in how.other.checkpoints.values()
        if copy.state is not State.SAVING
        for path, entry in copy.files.items()
    }
    both = [
        each for each in wanted if each.path in there and there[each.path].size == each.entry.size
    ]
    asking = {each.path: there[each.path] for each in both} if may_spare(how) else {}
    held = how.other.source.checksums(asking)
    return {
        each.path: Wanted(
            each.path,
            there[each.path],
            each.also | quickest(each.held),
            held=held.get(each.path, {}),
        )
        for each in both
    }


def _result(one: Looked, files: Sequence[Hashed], copies: Mapping[str, Hashed], how: How) -> Result:
    checkpoint = one.noted.checkpoint
    error = one.error
    findings = list(one.findings)
    for file in files:
        if isinstance(file.error, VanishedError):
            findings.append(Finding(file.path, "vanished", "is gone"))
        elif file.error is not None and lost_by_medium(file.error):
            findings.append(unreadable(file.path, file.error))
        else:
            error = error or file.error
    read = [file for file in files if file.error is None]
    findings += by_digests(one.noted, read)
    for copy in copies.values():
        if not isinstance(copy.error, VanishedError):
            error = error or copy.error
    findings += _differing(one, read, copies, how.other)
    own = [file for file in files if file.path not in checkpoint.sidecars]
    compared = bool(own) and all(
        file.path in copies
        and copies[file.path].entry is not None
        and agrees(copies[file.path].digests, file.digests) is not None
        for file in own
    )
    confirmed = {file.path for file in read if agrees(file.held, file.digests)}
    must = one.noted.uncovered or [file.path for file in own]
    covered = one.noted.covered or compared or (bool(own) and confirmed.issuperset(must))
    if one.noted.manifest is not None and how.level is Level.DIGEST and not how.record:
        new = one.noted.uncovered
        more = f", nor are {len(new) - 1} more" if len(new) > 1 else ""
        findings += [Finding(path, "unrecorded-file", f"is not recorded{more}") for path in new[:1]]
    # What a sample left out it cannot refute.
    level = Level.STRUCTURE if how.sampled else how.level
    findings += remembered(checkpoint, findings, level, covered=covered)
    status = status_of(checkpoint, findings, how.level, covered=covered)
    if (
        how.record
        and not how.reread
        and error is None
        and any(f.code == "manifest-unreadable" for f in findings)
    ):
        error = OSError(
            errno.EINVAL,
            "its manifest cannot be understood; --reread makes it anew",
            checkpoint.path,
        )
    elif how.record and status is Status.UNRECORDED and error is None:
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
        if other is None or copy is None:
            continue
        if isinstance(copy.error, VanishedError):
            yield Finding(file.path, "differs", f"is gone from {other.location}")
        elif copy.error is None and copy.entry is None:
            text = f"changed in {other.location} meanwhile, so it was not compared"
            yield Finding(file.path, "absent", text)
        elif copy.error is None and agrees(copy.digests, file.digests) is False:
            text = f"its bytes are not those in {other.location}"
            seen = one.noted.manifest.files.get(file.path) if one.noted.manifest else None
            if seen is not None and seen.digest == file.digests.get(ALGORITHM):
                text += "; here they are as they were recorded"
            yield Finding(file.path, "differs", text)
