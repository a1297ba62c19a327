"""One checkpoint from all that is said of it: annotation, sidecar, framework, name, log; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ckptctl.completeness import Fact
from ckptctl.decision import Context
from ckptctl.gathered import less, plus
from ckptctl.group import Item
from ckptctl.listing import Entry
from ckptctl.manifest import Manifest
from ckptctl.model import Checkpoint, Kind, Metadata, Problem, State
from ckptctl.records import Record
from ckptctl.units import format_time

T = TypeVar("T")

_NOTHING = Metadata()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All that is known of one claim, source by source."""

    item: Item
    member: str  # its path within the run
    own_files: Mapping[str, Entry]  # relative to the run, sidecars beside it aside
    sidecar_files: Mapping[str, Entry]  # beside it
    inner: tuple[str, ...]  # sidecars inside it
    folders: tuple[str, ...]  # its directories, deepest first
    changed_ns: int  # when a file of it was last written; of an empty directory, its own time
    sidecars: tuple[Metadata, ...]
    own: Metadata  # what the framework writes in it
    failed: tuple[str, ...] = ()  # what could not be read
    records: tuple[Record, ...] = ()
    manifest: Manifest | None = None
    manifest_fits: bool = False  # it was made for these very files, but for what may rightly change
    known_whole: bool = False  # all of these very files are in it: only what is whole gets one
    manifest_unread: str | None = None  # why it could not be understood
    log: Mapping[str, float] = field(default_factory=dict)
    log_unread: str | None = None

    @property
    def covered(self) -> Mapping[str, Entry]:
        """The files that a commit marker covers: all of its own but sidecars."""
        if not self.inner:
            return self.own_files
        return less(self.own_files, self.inner)

    @property
    def noted(self) -> Metadata:
        """What the manifest says, where it was made for these very files."""
        return self.manifest.said if self.manifest and self.manifest_fits else _NOTHING

    @property
    def stated_ns(self) -> int | None:
        """When it was saved as far as a sidecar, the framework or the name states it."""
        said = (*self.sidecars, self.own)
        return _first((*(source.saved_ns for source in said), self.item.claim.saved_ns))

    @property
    def saved_ns(self) -> int:
        """When it was saved: as stated, else by the time of its key file."""
        said = (*self.sidecars, self.own, self.noted)
        stated = _first((*(source.saved_ns for source in said), self.item.claim.saved_ns))
        if stated is not None:
            return stated
        key = self.own_files.get(self.item.claim.key_file)
        return self.changed_ns if key is None else key.mtime_ns


def checkpoint_of(
    sources: Sources,
    fact: Fact,
    pointers: Iterable[str],
    run: str,
    location: str,
    context: Context,
) -> Checkpoint:
    """Return the checkpoint; `pointers` are the links and trackers that name it."""
    item, claim = sources.item, sources.item.claim
    files = plus(sources.own_files, sources.sidecar_files)
    fitting = [record for record in sources.records if record.fits(sources.own_files)]
    stale = [record for record in sources.records if record not in fitting]
    dooms = [doom for record in fitting if (doom := record.doom_of(sources.covered))]
    said = (*sources.sidecars, sources.own)
    # Tags and pins of a manifest are for other places: here they may have been taken back since.
    numbers = (*said, sources.noted)
    keepers: tuple[Metadata | Record, ...] = (*sources.records, *said)
    problems = [*fact.problems, *claim.problems, *(p for source in said for p in source.problems)]
    metrics: dict[str, float] = {}
    for layer in (
        sources.log,
        claim.metrics,
        sources.noted.metrics,
        sources.own.metrics,
        *(sidecar.metrics for sidecar in reversed(sources.sidecars)),
        *(record.metrics for record in reversed(fitting)),
    ):
        metrics.update(layer)
    stated_zero = claim.zeros - set(sources.own.metrics)
    measured: tuple[Metadata | Record, ...] = (*sources.sidecars, *fitting)
    for source in measured:
        stated_zero -= set(source.metrics)
    step = claim.step
    if not claim.named:
        others = [source.step for source in numbers if source.step is not None]
        if step is None:
            step = _first(others)
        elif different := [other for other in others if other != step]:
            text = f"its name says step {step}, its metadata step {different[0]}: the name counts"
            problems.append(Problem("step-mismatch", text))
    epoch = None if claim.named else _first((*(source.epoch for source in numbers), claim.epoch))
    saved_ns = sources.saved_ns
    future = saved_ns > context.now_ns
    if future:
        text = f"saved at {format_time(saved_ns)}, which is ahead of the clock"
        problems.append(Problem("future-time", text))
    if (
        any(r.metrics or r.proven or r.damaged for r in stale)
        or len(dooms) < sum(record.doom is not None for record in sources.records)
        or (sources.manifest is not None and not sources.manifest_fits)
    ):
        text = "its files are not those that its record was made for: metrics, proofs and schedules there are void"
        problems.append(Problem("stale-record", text))
    state = fact.state
    damage = next((record for record in fitting if record.damaged), None)
    if damage is not None and damage.damaged is not None:
        state = State.DAMAGED
        problems.append(Problem("damaged", damage.damaged))
    if sources.manifest_unread is not None:
        problems.append(Problem("manifest-unreadable", sources.manifest_unread))
    unread = _first(
        (
            *(source.unread for source in said),
            sources.manifest_unread,
            sources.log_unread if claim.counts else None,
        )
    )
    return Checkpoint(
        run=run,
        name=item.name,
        path=f"{location.rstrip('/')}/{sources.member}",
        member=sources.member,
        format=claim.format,
        kind=claim.kind,
        family=claim.family,
        step=step,
        epoch=epoch,
        saved_ns=saved_ns,
        stated=sources.stated_ns is not None,
        bytes=_bytes(entry for _, entry in files.items()),
        files=files,
        changed_ns=sources.changed_ns,
        folders=sources.folders if claim.kind is Kind.DIRECTORY else (),
        key_file=claim.key_file,
        sidecars=(*sources.sidecar_files, *sources.inner),
        state=state,
        resumable=_first((*(source.resumable for source in numbers), claim.resumable)),
        metrics=metrics,
        zeros=frozenset(stated_zero),
        tags=tuple(dict.fromkeys(tag for source in keepers for tag in source.tags)),
        pinned=any(source.pinned for source in keepers),
        pointers=tuple(pointers),
        aliases=tuple(alias for record in sources.records for alias in record.aliases),
        holds=tuple(hold for record in sources.records for hold in record.holds),
        doomed_ns=min((doom.until_ns for doom in dooms), default=None),
        problems=tuple(dict.fromkeys(problems)),
        named=claim.named,
        temporary=claim.temporary,
        unread=unread,
        inferred=fact.inferred,
        damage_level=damage.damage_level if damage is not None else None,
        proven=sources.manifest_fits or any(record.proven for record in fitting),
        marker=claim.marker is not None,
        expects_marker=claim.expects_marker,
        future=future,
        also=claim.members[1:]
        if claim.kind is Kind.DIRECTORY
        else tuple(member for member in claim.members if member not in sources.own_files),
    )


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _bytes(entries: Iterable[Entry]) -> int:
    """Return the bytes of files, those of hard links to one inode once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for entry in entries:
        if entry.inode and entry.links > 1:
            if (entry.device, entry.inode) in seen:
                continue
            seen.add((entry.device, entry.inode))
        total += entry.size
    return total
