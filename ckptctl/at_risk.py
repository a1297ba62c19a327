"""Which checkpoints of a run a site's purge is about to tear, and which of them have no copy: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptctl.expiry import Expiry, PurgeBy, SitePurge
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.units import format_duration, format_time

GOING = {State.COMPLETE, State.SAVING}
"""The states of what a purge can tear."""

_NAMED = 5
"""Checkpoints that a text names."""

_AGE = {
    PurgeBy.ANY: "older than {} by any of their times",
    PurgeBy.ATIME: "not read for {}",
    PurgeBy.MTIME: "not written for {}",
    PurgeBy.BIRTH: "made more than {} ago",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRisk:
    """What a purge does to the complete checkpoints of a run, and those being saved; one minus a file is torn.

    Those without a copy have none that is proven on another tier now, as far as that was looked at.
    """

    purge: SitePurge
    first: Checkpoint | None = None  # that loses a file, however long that is from now
    expiry: Expiry | None = None  # of the first
    checkpoints: int = 0  # at risk: a file goes within the margin
    bytes: int = 0
    files: int = 0
    due: int = 0  # of those: a file may have gone by now
    uncopied: tuple[
        str, ...
    ] = ()  # names of those at risk that have no copy, the first to go first
    uncopied_due: int = 0


def soonest(run: Run, expiries: Mapping[str, Expiry]) -> list[Checkpoint]:
    """Return the checkpoints whose end is known, the first to lose a file first."""
    known = [c for c in run.checkpoints if c.member in expiries and c.state in GOING]
    return sorted(known, key=lambda c: (expiries[c.member].at_ns, c.path))


def at_risk_of(run: Run, expiries: Mapping[str, Expiry], purge: SitePurge) -> AtRisk:
    """Return what a purge is about to do to a run; `expiries` are by member."""
    known = soonest(run, expiries)
    risky = [c for c in known if expiries[c.member].at_risk]
    alone = [c for c in risky if not c.copies]
    return AtRisk(
        purge=purge,
        first=known[0] if known else None,
        expiry=expiries[known[0].member] if known else None,
        checkpoints=len(risky),
        bytes=sum(c.bytes for c in risky),
        files=sum(expiries[c.member].files for c in risky),
        due=sum(expiries[c.member].due for c in risky),
        uncopied=tuple(c.name for c in alone),
        uncopied_due=sum(expiries[c.member].due for c in alone),
    )


def urgent(run: Run, expiries: Mapping[str, Expiry]) -> dict[str, int]:
    """Return which members are to be copied first, and in which order: those without any copy first.

    Of these the trainer's own copies come last, as in any copy.
    """
    risky = [c for c in soonest(run, expiries) if expiries[c.member].at_risk]
    risky.sort(key=lambda c: (bool(c.copies), c.named))
    return {c.member: number for number, c in enumerate(risky)}


def going(expiry: Expiry, purge: SitePurge) -> str:
    """Return why a copy that a purge is about to tear is none to rely on."""
    when = "now" if expiry.due else f"from {format_time(expiry.at_ns)} on"
    return f"is about to lose it: its site purges files {aged(purge)}, {expiry.file} {when}"


def risk_problems(run: Run, expiries: Mapping[str, Expiry], purge: SitePurge) -> list[Problem]:
    """Return what a person should know: nothing where all that is at risk has its copy."""
    names = at_risk_of(run, expiries, purge).uncopied
    if not names:
        return []
    alone = [c for c in soonest(run, expiries) if expiries[c.member].at_risk and not c.copies]
    first = expiries[alone[0].member]
    when = "may be gone already" if first.due else f"goes from {format_time(first.at_ns)} on"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    held = [c.name for c in alone if c.holds or c.pinned]
    kept = "; a pin or a hold does not keep the purge away" if held else ""
    text = (
        f"{run.location}: its site purges files {aged(purge)}: {', '.join(names[:_NAMED])}{more} "
        f"{'is' if len(names) == 1 else 'are'} about to be torn and {'has' if len(names) == 1 else 'have'} "
        f"no proven copy on another tier; the first file, {first.file}, {when}{kept}"
    )
    return [Problem("purge-at-risk", text)]


def aged(purge: SitePurge) -> str:
    """Return in words which files a purge takes."""
    return _AGE[purge.by].format(format_duration(purge.after_ns))
