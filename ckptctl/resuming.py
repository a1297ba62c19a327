"""From which checkpoint a run is to be resumed, of all the places where it is; pure.

A run may be on several tiers, and each has trackers of its own, one of them perhaps of last week.
The tracker of the fastest tier counts, since the trainer writes there: where it was moved back, the
run is to go on from there.  But one that is older than what another tier holds is left over from a
job that ran there before, and that of a slower tier is as old as the last copy: neither leads back
to an older checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptctl.model import Checkpoint, Run, State

_GOES_ON = frozenset({"last", "latest", "newest", "current", "resume"})
"""Words of a link by which a trainer goes on."""

_OWN = _GOES_ON | {"checkpoint"}
"""Words of a trainer's own copy for resuming: `last.ckpt`, `checkpoint_last.pt`, `checkpoint.pth`."""

_ELSE = frozenset({"best", "universal"})
"""Words of what names a checkpoint, or is one, for another purpose than to go on."""

_PARTS = frozenset({
    "optim", "optimizer", "opt", "sched", "scheduler", "ema", "rng", "scaler", "discriminator", "d",
})  # fmt: skip
"""Words of a file that is a part of a step beside its model."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as it is at one place; of several places the fastest tier's comes first."""

    run: Run
    tier: str | None = None
    tracked_ns: int = 0  # when the file by which the trainer goes on was last written; 0: not known


class Candidate(NamedTuple):
    """A checkpoint that a selector means, at one place."""

    place: int  # its index
    checkpoint: Checkpoint
    why: str


@dataclass(frozen=True, slots=True)
class Copies:
    """One checkpoint at every place where it is, the fastest first."""

    found: tuple[tuple[int, Checkpoint], ...]

    @property
    def first(self) -> Checkpoint:
        """The one at the fastest place."""
        return self.found[0][1]

    @property
    def saved_ns(self) -> int:
        """When it was saved: a copy may only know when it was made."""
        return min(checkpoint.saved_ns for _, checkpoint in self.found)

    def resuming(self) -> Copies | None:
        """Return it at those places alone from which a run may go on, for all that is known.

        A tier may hold the weights of what another one has with its optimizer.
        """
        some = tuple(each for each in self.found if each[1].resumable is not False)
        return Copies(some) if some else None

    def at(self, place: int) -> bool:
        """Whether it is at a place."""
        return any(index == place for index, _ in self.found)

    def candidates(self, why: str) -> Iterator[Candidate]:
        """Yield it as a candidate at each place."""
        return (Candidate(index, checkpoint, why) for index, checkpoint in self.found)


def copies(places: Sequence[Seen]) -> list[Copies]:
    """Return every checkpoint of a run once.

    What a trainer replaces under a fixed name is another one at each place, and so is what it saved
    anew after a rollback, as long as the copies are those of before.
    """
    found: dict[tuple[object, ...], list[list[tuple[int, Checkpoint]]]] = {}
    for index, seen in enumerate(places):
        for one in seen.run.checkpoints:
            fixed = index if one.named else None
            known = found.setdefault((one.member, one.step, fixed), [])
            same = next((each for each in known if not _anew(each[0][1], one)), None)
            if same is None:
                known.append([(index, one)])
            else:
                same.append((index, one))
    return [Copies(tuple(each)) for known in found.values() for each in known]


def _anew(fast: Checkpoint, slow: Checkpoint) -> bool:
    """Whether one was saved anew after its namesake on a slower tier, of which it is no copy.

    A time alone tells nothing: who copies by hand may leave the times behind.
    """
    if fast.saved_ns <= slow.saved_ns:
        return False
    sizes = {path: entry.size for path, entry in slow.files.items() if path not in slow.sidecars}
    own = {path: entry.size for path, entry in fast.files.items() if path not in fast.sidecars}
    values = [(fast.value(name), slow.value(name)) for name in fast.metrics]
    return any(sizes.get(path, size) != size for path, size in own.items()) or any(
        None not in pair and pair[0] != pair[1] for pair in values
    )


def in_order(found: Iterable[Copies], *, own: bool = True) -> list[Copies]:
    """Return checkpoints by step (else epoch, else time), the highest first.

    What has no number stands before the first that was saved before it: so do, with `own`, a
    trainer's own copies for resuming.  Others under a fixed name are left out.
    """
    some = [one for one in found if not one.first.named or (own and is_for_resuming(one.first))]
    counted = [one for one in some if not one.first.named and _number(one.first)]
    by_step = all(one.first.step is not None for one in counted)
    by_epoch = all(one.first.epoch is not None for one in counted)
    if not (by_step or by_epoch):
        counted = []

    def rank(one: Copies) -> tuple[float, bool, bool, int, str]:
        first = one.first
        number = first.step if by_step else first.epoch
        return -(number or 0), first.resumable is False, _is_part(first), -one.saved_ns, first.path

    counted.sort(key=rank)
    placed = set(map(id, counted))
    others = sorted((one for one in some if id(one) not in placed), key=_latest_first)
    ordered: list[Copies] = []
    for one in counted:
        while others and others[0].saved_ns > one.saved_ns:
            ordered.append(others.pop(0))
        ordered.append(one)
    return [*ordered, *others]


def saved_last(found: Iterable[Copies], *, own: bool = True) -> list[Copies]:
    """Return checkpoints by the time of their save, the last first."""
    some = (one for one in found if not one.first.named or (own and is_for_resuming(one.first)))
    return sorted(some, key=_latest_first)


def able(places: Sequence[Seen]) -> list[Copies]:
    """Return what a run may go on from: no weights alone, and no optimizer beside its model."""
    every = copies(places)
    models = {one.first.step for one in every if not (one.first.named or _is_part(one.first))}
    return [
        some
        for one in every
        if (some := one.resuming()) is not None
        and not (_is_part(one.first) and one.first.step in models)
    ]


def parts_of(checkpoint: Checkpoint, run: Run) -> list[Checkpoint]:
    """Return what belongs to a checkpoint as its optimizer, scheduler or the like, in other files."""
    return [
        one
        for one in run.checkpoints
        if one.step == checkpoint.step is not None
        and one.family != checkpoint.family
        and not one.named
        and _is_part(one)
    ]


def latest(places: Sequence[Seen], *, own: bool = True) -> tuple[list[Candidate], list[str]]:
    """Return from what to go on, the first choice first, and what a person should know of that.

    What a tracker names, then the others by their numbers; none that is known not to resume.
    """
    every = able(places)
    tracked, notes = _tracked(places, every)
    named = {id(one) for one, _ in tracked}
    notes += _higher(tracked, every)
    found = [candidate for one, file in tracked for candidate in one.candidates(f"{file} names it")]
    why = "the latest"
    for one in in_order((one for one in every if id(one) not in named), own=own):
        found += one.candidates("the trainer's own copy" if one.first.named else why)
        why = "the latest of the others"
    return found, notes


def gone_back(places: Sequence[Seen], chosen: Checkpoint) -> Checkpoint | None:
    """Return the complete checkpoint that was saved last, where it has a lower step than this one."""
    whole = [
        some
        for one in copies(places)
        if (some := one.resuming()) is not None
        and not one.first.named
        and any(c.state is State.COMPLETE or c == chosen for _, c in some.found)
    ]
    if chosen.step is None or not whole:
        return None
    last = min(whole, key=_latest_first)
    step = last.first.step
    return last.first if step is not None and step < chosen.step else None


def is_for_resuming(checkpoint: Checkpoint) -> bool:
    """Whether what a trainer keeps under a fixed name is there to go on from."""
    words = _words(checkpoint.name)
    known = checkpoint.resumable is True or not words.isdisjoint(_OWN)
    return checkpoint.resumable is not False and known and words.isdisjoint(_ELSE)


def trackers_of(checkpoint: Checkpoint, run: Run) -> list[str]:
    """Return the trackers and links that name a checkpoint for the trainer to go on from."""
    return [file for file in checkpoint.pointers if is_tracker(file, run)]


def is_tracker(file: str, run: Run) -> bool:
    """Whether a trainer goes on from what this file or link names: a best one is for other readers."""
    words = _words(file)
    link = "/" not in file and not words.isdisjoint(_GOES_ON)
    return words.isdisjoint(_ELSE) and (file in run.trackers or link)


def _tracked(
    places: Sequence[Seen], every: Sequence[Copies]
) -> tuple[list[tuple[Copies, str]], list[str]]:
    """Return what the tracker that counts names, each with that tracker, and what to say of others."""
    notes: list[str] = []
    first = next((i for i, seen in enumerate(places) if seen.run.checkpoints), None)
    for index, seen in enumerate(places):
        notes += _dangling(seen)
        named = []
        for one in every:
            here = next((c for place, c in one.found if place == index), None)
            if here is not None and (files := trackers_of(here, seen.run)):
                named.append((one, files[0]))
        if not named:
            continue
        since_ns = max(one.saved_ns for one in every if one.at(index))
        if index == first:
            since_ns = max(since_ns, seen.tracked_ns)
        later = [one for one in every if not one.at(index) and one.saved_ns > since_ns]
        if later:
            newest = min(later, key=_latest_first)
            where = places[newest.found[0][0]].tier
            notes.append(
                f"{named[0][1]} on {seen.tier} names {named[0][0].first.name}, "
                f"but {newest.first.name} was saved later on {where}: it does not count"
            )
            continue
        named.sort(key=lambda each: (-(_number(each[0].first) or 0), -each[0].saved_ns))
        return named, notes
    return [], notes


def _higher(tracked: Sequence[tuple[Copies, str]], every: Sequence[Copies]) -> Iterator[str]:
    """Yield a word where a tracker names another one than that of the highest step."""
    if tracked and (step := tracked[0][0].first.step) is not None:
        whole = (one.first for one in every if one.first.state is State.COMPLETE)
        highest = max(whole, key=lambda one: one.step or 0, default=tracked[0][0].first)
        if (highest.step or 0) > step:
            yield f"{tracked[0][1]} names step {step}, and {highest.name} is there as well"


def _dangling(seen: Seen) -> Iterator[str]:
    """Yield a word on each tracker that names none of the checkpoints that are there."""
    if seen.run.checkpoints:
        naming = {file for one in seen.run.checkpoints for file in one.pointers}
        for file in seen.run.trackers:
            if file not in naming and is_tracker(file, seen.run):
                yield f"{seen.run.location}: {file} names none of the checkpoints there"


def _number(checkpoint: Checkpoint) -> float | None:
    """Return the step or epoch, counted from 1, so that none of them is 0."""
    number = checkpoint.step if checkpoint.step is not None else checkpoint.epoch
    return None if number is None else number + 1


def _latest_first(one: Copies) -> tuple[bool, int, bool, str]:
    return one.first.future, -one.saved_ns, _is_part(one.first), one.first.path


def _is_part(checkpoint: Checkpoint) -> bool:
    return not _words(checkpoint.family).isdisjoint(_PARTS)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))
