"""One run that the tasks of a SLURM step verify together: each reads its share, the last one judges."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl.hashing import Advanced, Hashed, Stop, Wanted
from ckptctl.looking import How, Looked
from ckptctl.parts.part import Caller
from ckptctl.parts.sharing import shares
from ckptctl.resumption import Resumption
from ckptctl.verdicts import BAD, Result, Status
from ckptctl.verifying import read_all


@dataclass(frozen=True, slots=True)
class Judged:
    """What this task can say now."""

    ready: tuple[Looked, ...]  # all of their files were read, by whom ever
    known: dict[str, Hashed]  # what they hashed to
    waiting: tuple[Result, ...]  # of others: what this task's own share showed


@dataclass(frozen=True, slots=True)
class Share:
    """What one task reads, and what became of that of all."""

    caller: Caller
    how: How
    resumption: Resumption
    advanced: Advanced
    stop: Stop

    def read(self, looked: Sequence[Looked], known: dict[str, Hashed]) -> Judged:
        """Read the share of this task, hand it in, and look what all have.  Stopped."""
        part = [replace(one, wanted=own_share(one, self.caller)) for one in looked]
        first: dict[str, Result] = {}
        own = dict(known)
        try:
            for one, (result, files) in zip(part, self._read(part, known), strict=True):
                first[one.noted.checkpoint.member] = result
                own |= {file.path: file for file in files if file.entry is not None}
        finally:
            self.resumption.flush()
        wanted = [each for one in looked for each in one.wanted]
        theirs, unsure = self.resumption.handed_in(wanted)
        own = {**theirs, **own}
        there = own.keys() | unsure
        ready = [one for one in looked if all(each.path in there for each in one.wanted)]
        left = [first[one.noted.checkpoint.member] for one in looked if one not in ready]
        return Judged(tuple(ready), own, tuple(map(_in_part, left)))

    def _read(
        self, part: Sequence[Looked], known: dict[str, Hashed]
    ) -> Iterator[tuple[Result, tuple[Hashed, ...]]]:
        sampled = replace(self.how, sampled=True)  # what is left out it cannot refute
        with closing(
            read_all(
                part,
                sampled,
                known=known,
                heard=self.resumption.heard,
                advanced=self.advanced,
                stop=self.stop,
            )
        ) as read:
            yield from read


def own_share(one: Looked, caller: Caller) -> tuple[Wanted, ...]:
    """Return the files of a checkpoint that this task is to read: about as many bytes as any other; pure.

    It depends on nothing but that checkpoint, of which all tasks see the same.  With whom the
    dealing begins differs, so that checkpoints of one file go round.
    """
    turn = zlib.crc32(one.noted.checkpoint.member.encode(errors="surrogateescape"))
    dealt = shares({each.path: each.entry.size for each in one.wanted}, caller.of)
    return tuple(
        each for each in one.wanted if (dealt[each.path] + turn) % caller.of == caller.number
    )


def _in_part(result: Result) -> Result:
    """Return what is to be said of a checkpoint that others have still to read: no more than was seen."""
    if result.status in BAD | {Status.SAVING} or result.error is not None:
        return result
    return replace(result, status=Status.PART)
