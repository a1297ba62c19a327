"""What a SELECTOR means: from its text to the checkpoints that it chooses, the best first; pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ckptctl.errors import NotFoundError, UsageError
from ckptctl.families import families
from ckptctl.model import Checkpoint
from ckptctl.resuming import Candidate, Copies, Seen, able, copies, in_order, latest, saved_last
from ckptctl.rules._base import Metric, Mode
from ckptctl.rules.metric import in_doubt, parse_metric, with_mode

_FEW = 5


class Word(StrEnum):
    """How a selector begins; a name begins with none of these."""

    NAME = "name"
    LATEST = "latest"
    SAVED = "saved"
    BEST = "best"
    STEP = "step"
    ALIAS = "alias"
    TAG = "tag"


ALONE = (Word.LATEST, Word.SAVED, Word.BEST)
"""Those that say enough by themselves."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector that makes sense."""

    text: str
    word: Word
    value: str = ""  # a name, an alias, a tag
    step: int = 0
    metric: Metric | None = None

    @property
    def meant(self) -> str:
        """What it stands for, in words."""
        return f"is called {self.value!r}" if self.word is Word.NAME else f"is {self.text}"


def parse_selector(text: str, metric: str | None = None) -> Selector:
    """Return what a text selects; `metric` is the one that `best` goes by where it names none.

    A keyword is one whatever files there are: `./latest` is a name.  UsageError where it makes no
    sense.
    """
    if not text:
        raise UsageError(
            "SELECTOR is empty; nothing was touched",
            "if it comes from a variable, that is not set; `latest` is the usual one",
        )
    word, colon, value = text.partition(":")
    if metric is not None and word != Word.BEST:
        raise UsageError("--metric: only `best` goes by a metric; nothing was touched")
    if word == Word.BEST:
        named = value if colon else metric
        return Selector(text, Word.BEST, metric=_metric(text, named))
    if not colon:
        return Selector(text, Word(word)) if word in ALONE else _name(text)
    if word in (Word.STEP, Word.ALIAS, Word.TAG) and not value:
        raise UsageError(f"{text!r} says no {word}; nothing was touched", f"write it like {word}:1")
    if word == Word.STEP:
        if not (value.isascii() and value.isdecimal()):
            raise UsageError(f"{text!r}: {value!r} is no step", "write it like step:1000")
        return Selector(text, Word.STEP, step=int(value))
    if word in (Word.ALIAS, Word.TAG):
        return Selector(text, Word(word), value)
    return _name(text)


def select(
    selector: Selector, places: Sequence[Seen], metric: Metric | None = None, *, own: bool = True
) -> tuple[list[Candidate], list[str]]:
    """Return the checkpoints of a run that a selector chooses, and what a person should know of that.

    The first is meant; each of the others takes the place of those before it where they turn out
    not to be whole.  `metric` is that of the policy, for a `best` without any; without `own` what a
    trainer replaces under a fixed name is only chosen by that name.  NotFoundError where nothing is
    chosen, UsageError where `best` cannot rank.
    """
    notes: list[str] = []
    if selector.word is Word.LATEST:
        found, notes = latest(places, own=own)
    elif selector.word is Word.SAVED:
        found = _every(saved_last(able(places), own=own), "saved last")
    elif selector.word is Word.BEST:
        found = _best(places, selector.metric or metric)
    else:
        fits = _fitting(selector)
        some = [one for one in copies(places) if any(map(fits, (c for _, c in one.found)))]
        fixed = [one for one in some if one.first.named] if selector.word is not Word.STEP else []
        numbered = in_order(one for one in some if not one.first.named)
        chosen = [*numbered, *fixed]
        if (
            selector.word is Word.ALIAS
        ):  # each place has records of its own: the fastest one's count
            chosen.sort(key=lambda one: min(index for index, c in one.found if fits(c)))
        found = _every(chosen, selector.text)
    if not found:
        raise _nothing(selector, places)
    return found, notes


def _name(text: str) -> Selector:
    value = text.removeprefix("./").rstrip("/")
    if not value:
        raise UsageError(f"{text!r} is no name of a checkpoint; nothing was touched")
    return Selector(text, Word.NAME, value)


def _metric(text: str, named: str | None) -> Metric | None:
    if named is None:
        return None
    try:
        return with_mode(parse_metric(named))
    except ValueError as error:
        raise UsageError(f"{text}: {error}") from None


def _fitting(selector: Selector) -> Callable[[Checkpoint], bool]:
    """Return what says of a checkpoint whether the selector means it."""
    value = selector.value
    if selector.word is Word.STEP:
        return lambda one: one.step == selector.step
    if selector.word is Word.ALIAS:
        return lambda one: value in one.aliases
    if selector.word is Word.TAG:
        return lambda one: value in one.tags
    return lambda one: value in {one.name, one.member, one.key_file, f"{one.run}/{one.member}"}


def _every(found: Sequence[Copies], why: str) -> list[Candidate]:
    return [candidate for one in found for candidate in one.candidates(why)]


def _best(places: Sequence[Seen], metric: Metric | None) -> list[Candidate]:
    """Return the complete checkpoints that have a finite value, the best first; ties go to the later."""
    if metric is None:
        raise UsageError(
            "best: by which metric?",
            f"write best:NAME or --metric NAME (there are: {_metrics(places)}); the one of that name is ./best",
        )
    try:
        metric = with_mode(metric)
    except ValueError as error:
        raise UsageError(f"best: {error}") from None
    values: dict[tuple[int, str], float] = {}
    for index, seen in enumerate(places):
        for family in families(seen.run):
            doubts = in_doubt(family, metric)
            for each in (c for place in family.places for c in place.checkpoints):
                value = each.value(metric.name)
                if value is not None and each.member not in doubts:
                    values[index, each.member] = value
    sign = 1 if metric.mode is Mode.MIN else -1
    ranked = []
    for one in copies(places):
        known = [values[i, c.member] for i, c in one.found if (i, c.member) in values]
        if known:  # the fastest tier's counts: a record of it may be newer than its copies
            ranked.append((known[0], one))
    ranked.sort(
        key=lambda pair: (
            sign * pair[0], -(pair[1].first.step or 0), -(pair[1].first.epoch or 0), -pair[1].saved_ns,
        )
    )  # fmt: skip
    return [
        candidate
        for rank, (value, one) in enumerate(ranked, 1)
        for candidate in one.candidates(f"#{rank} by {metric.name} ({value:g})")
    ]


def _metrics(places: Sequence[Seen]) -> str:
    there = {name for seen in places for one in seen.run.checkpoints for name in one.metrics}
    return ", ".join(sorted(there)) or "none"


def _nothing(selector: Selector, places: Sequence[Seen]) -> NotFoundError:
    """Return the error of a selector that chooses nothing, with what is there instead."""
    where = ", ".join(seen.run.location for seen in places)
    every = [one for seen in places for one in seen.run.checkpoints]
    if not every:
        return NotFoundError(f"{where}: there are no checkpoints at all")
    if selector.word is Word.BEST:
        hint = f"no checkpoint has a finite value; the metrics there are: {_metrics(places)}"
    elif selector.word in (Word.LATEST, Word.SAVED):
        hint = "those there hold no optimizer state, or are a trainer's own copies of its best"
    elif selector.word is Word.ALIAS:
        hint = f"the aliases there are: {_listed({a for one in every for a in one.aliases})}"
    elif selector.word is Word.TAG:
        hint = f"the tags there are: {_listed({t for one in every for t in one.tags})}"
    elif selector.word is Word.STEP:
        hint = "`ckptctl list` shows the steps"
    else:
        names = [one.name for one in every]
        near = difflib.get_close_matches(selector.value, dict.fromkeys(names), _FEW, 0.5)
        hint = f"near names: {', '.join(near)}" if near else "`ckptctl list` shows their names"
    return NotFoundError(f"{where}: no checkpoint {selector.meant}", hint)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
