"""Where the word of a server, which keeps checksums of whole objects, stands in for reading them.

It does where the same checksum is known of the bytes that are expected: noted in the manifest when
they were read, told by their framework, or computed of the same file elsewhere.  A checksum that
does not agree is no verdict: then the bytes are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ckptctl.algorithms import agrees, quickest
from ckptctl.comparing import Expected
from ckptctl.hashing import Hashed, Wanted
from ckptctl.looking import How, Looked
from ckptctl.manifest import ALGORITHM
from ckptctl.manifest import Noted as Seen
from ckptctl.verdicts import Level


def with_checksums(looked: Sequence[Looked], how: How) -> list[Looked]:
    """Return the same, with what the server says of each file where that can prove something.

    Where no digest is known of a file, or one is to be noted, the server's is computed too.
    """
    asking = {
        each.path: each.entry
        for one in looked
        for each in one.wanted
        if _proves(each, one.noted, how)
    }
    held = how.source.checksums(asking)
    return [
        replace(one, wanted=tuple(_with(each, held, one.noted, how) for each in one.wanted))
        for one in looked
    ] if held else list(looked)  # fmt: skip


def _proves(wanted: Wanted, noted: Expected, how: How) -> bool:
    seen = _seen(noted, wanted.path)
    said = noted.said.get(wanted.path)
    spares = may_spare(how) and (seen is None or bool(seen.checksums) or how.other is not None)
    return spares or how.record or (seen is None and not (said and said.sure))


def _with(
    wanted: Wanted, held: Mapping[str, Mapping[str, str]], noted: Expected, how: How
) -> Wanted:
    mine = held.get(wanted.path, {})
    known = _seen(noted, wanted.path) is not None
    also = quickest(mine) if how.record or not known else frozenset[str]()
    return wanted._replace(held=mine, also=wanted.also | also)


def may_spare(how: How) -> bool:
    """Whether reading may be spared: it was not asked for, as with --reread and --sample."""
    return how.level is Level.DIGEST and not how.reread and not how.sampled


def vouched(looked: Iterable[Looked], how: How) -> dict[str, Hashed]:
    """Return the files that need no reading by the word of their server, with what they hash to."""
    if not may_spare(how):
        return {}
    found = (_vouched(each, one.noted, how) for one in looked for each in one.wanted if each.held)
    return {file.path: file for file in found if file is not None}


def _vouched(wanted: Wanted, noted: Expected, how: How) -> Hashed | None:
    seen, said = _seen(noted, wanted.path), noted.said.get(wanted.path)
    digests: dict[str, str] = {}
    if seen is not None:
        same = seen.bytes == wanted.entry.size and agrees(wanted.held, seen.checksums or {})
        if not same or not seen.digest:
            return None
        digests = {**(seen.checksums or {}), ALGORITHM: seen.digest}
    elif said is not None and said.sure and not how.record:
        digests = dict(wanted.held)
    if not digests or (said and not digests.get(said.algorithm, "").startswith(said.hexdigest)):
        return None
    return Hashed(wanted.path, wanted.entry, digests, held=wanted.held)


def _seen(noted: Expected, path: str) -> Seen | None:
    return noted.manifest.files.get(path) if noted.manifest else None


def stands_for(wanted: Wanted, read: Hashed, seen: Seen | None) -> Hashed | None:
    """Return what a file hashes to if its server says that it holds what was read elsewhere.

    None where it has to be read: the server says otherwise, or it is not what was recorded.
    """
    if read.entry is None or not agrees(wanted.held, read.digests):
        return None
    if seen is not None and seen.digest != read.digests.get(ALGORITHM):
        return None
    return Hashed(wanted.path, wanted.entry, read.digests, held=wanted.held)


def on_one_side(
    wanted: Iterable[Wanted], copied: Mapping[str, Wanted], known: Mapping[str, Hashed], how: How
) -> tuple[dict[str, Wanted], dict[str, Wanted]]:
    """Return the files, and the copies, that need no reading as long as the checksums agree.

    The other side is read, or is known.  A copy that is not read because its file is known has a
    checksum that agrees already.
    """
    files: dict[str, Wanted] = {}
    copies: dict[str, Wanted] = {}
    for each in wanted if may_spare(how) else ():
        copy = copied.get(each.path)
        if copy is None:
            continue
        if each.path in known:
            if agrees(copy.held, known[each.path].digests):
                copies[each.path] = copy
        elif quickest(copy.held):
            copies[each.path] = copy
        elif quickest(each.held) and not how.record:
            files[each.path] = each
    return files, copies
