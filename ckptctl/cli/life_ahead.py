"""What a tier's site is about to purge of a run: copied before anything else, and told where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptctl.at_risk import risk_problems, urgent
from ckptctl.cli.elsewhere import elsewhere_of, with_copies
from ckptctl.cli.expiring import Expiring, foreseen, unknown
from ckptctl.cli.runtime import Session
from ckptctl.config import Config
from ckptctl.errors import CkptctlError
from ckptctl.expiry import SitePurge
from ckptctl.group import Found
from ckptctl.model import Checkpoint, Copy, Problem, Run
from ckptctl.survey import Survey
from ckptctl.transfer.outcome import Shipped, Status

_THERE = {Status.DONE, Status.EQUAL, Status.PLANNED}


@dataclass(frozen=True, slots=True)
class Ahead:
    """A run on a tier that is purged, as it was before anything was copied."""

    run: Run  # what is at risk knows its copies
    seen: Expiring

    @property
    def first(self) -> Mapping[str, int]:
        """The members that are to be copied first, in which order."""
        return urgent(self.run, self.seen.expiries)

    @property
    def alone(self) -> Iterator[tuple[bool, int, str]]:
        """Those of them that have no copy: whether it is a trainer's own, when it goes, which it is."""
        first = self.first
        for c in self.run.checkpoints:
            if c.member in first and not c.copies:
                yield c.named, self.seen.expiries[c.member].at_ns, c.member

    def problems(self, to: str | None, results: Sequence[Shipped]) -> tuple[Problem, ...]:
        """Return what a person should know once that was copied to a tier."""
        there = {r.member: r.path for r in results if to and r.status in _THERE}

        def now(checkpoint: Checkpoint) -> Checkpoint:
            going = any(k.tier == to and k.code == "expiring" for k in checkpoint.lacks)
            if checkpoint.member not in there or going:
                return checkpoint
            copy = Copy(to or "", there[checkpoint.member], 0)
            return replace(checkpoint, copies=(*checkpoint.copies, copy))

        run = replace(self.run, checkpoints=tuple(map(now, self.run.checkpoints)))
        return (*self.seen.problems, *risk_problems(run, self.seen.expiries, self.seen.purge))


def look_ahead(
    session: Session, config: Config, purge: SitePurge, view: Survey, found: Found, run: Run
) -> Ahead:
    """Ask what a purge is about to take of a run that was just read.

    Where that cannot be known it is a problem: the copies are made all the same.
    """
    try:
        seen = foreseen(session, view, found, run, purge, session.clock())
        if any(expiry.at_risk for expiry in seen.expiries.values()):
            elsewhere = elsewhere_of(session, config, run.location)
            run = with_copies(session, elsewhere, view, found, run)
    except (CkptctlError, OSError) as error:
        return Ahead(run, Expiring(purge, {}, (unknown(run, error),)))
    return Ahead(run, seen)
