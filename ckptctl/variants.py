"""A rule as a user writes it, and the nearest one that keeps a little more, or less; pure.

A kind of rule that is not known here is written by its name only, and can only be left out: what
`why` says of it is less, but not wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ckptctl.model import NS, Checkpoint
from ckptctl.rules._base import RULES, Rule
from ckptctl.rules.best import Best
from ckptctl.rules.every import EverySteps, EveryTime
from ckptctl.rules.last import Last
from ckptctl.rules.periods import Daily, Hourly, Monthly, Weekly, Yearly
from ckptctl.rules.steps import Steps
from ckptctl.rules.tags import Tags
from ckptctl.rules.within import Within

Keeps = Callable[[Rule], bool]
_UNITS = (("w", 7 * 86400), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_HALVINGS = 40
_COUNTED = (Last, Best, Hourly, Daily, Weekly, Monthly, Yearly)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a rule can say of a run at all: more would keep no more."""

    checkpoints: int
    span_ns: int  # between what was saved first and last


def values(rule: Rule) -> tuple[str, ...]:
    """Return the texts of a rule's flag, one for each time that it is given."""
    match rule:
        case EverySteps():
            return (str(rule.n),)
        case EveryTime():
            return (duration(rule.every_ns),)
        case Within():
            return (duration(rule.within_ns),)
        case Steps():
            return tuple(map(str, sorted(rule.steps)))
        case Tags():
            return tuple(sorted(rule.tags))
        case _ if isinstance(rule, _COUNTED):
            return (str(rule.n),)
        case _:
            return ()


def duration(ns: int) -> str:
    """Return a duration exactly, in the largest unit that it is a whole number of."""
    for unit, size in _UNITS:
        if ns % (size * NS) == 0:
            return f"{ns // (size * NS)}{unit}"
    return f"{ns // NS}.{ns % NS:09d}".rstrip("0") + "s"


def called(rule: Rule) -> str:
    """Return what tells a rule from the others of a policy: `last`, `best by val_ppl`."""
    return f"{rule.name} by {rule.metric.name}" if isinstance(rule, Best) else rule.name


def shown(rule: Rule) -> str:
    """Return a rule in a few words: `last 3`, `best 2 by val_ppl`."""
    by = f" by {rule.metric.name}" if isinstance(rule, Best) else ""
    return f"{rule.name} {', '.join(values(rule))}{by}"


def flags(rules: Sequence[Rule]) -> tuple[str, ...] | None:
    """Return the flags that make these rules; None where only a policy in YAML can say them."""
    made: list[str] = []
    best = [rule for rule in rules if isinstance(rule, Best)]
    others = [rule for rule in rules if not isinstance(rule, Best)]
    if len({rule.name for rule in others}) < len(others) or len({rule.n for rule in best}) > 1:
        return None
    for rule in (*others, *best[:1]):
        flag = RULES[rule.name].flag
        made += [part for value in values(rule) for part in (flag, value)]
    for rule in best:
        mode = f":{rule.metric.mode}" if rule.metric.mode else ""
        made += ["--metric", f"{rule.metric.name}{mode}"]
    return tuple(made)


def difference(old: Rule, new: Rule) -> str:
    """Return in words how a rule became another of its kind."""
    match old, new:
        case (Steps(), Steps()) | (Tags(), Tags()):
            more = [value for value in values(new) if value not in values(old)]
            less = [value for value in values(old) if value not in values(new)]
            flag = RULES[old.name].flag
            begin = "add" if more else "leave out"
            return f"{begin} {', '.join(f'{flag} {value}' for value in more or less)}"
        case (EverySteps(), _) | (EveryTime(), _):
            return f"{RULES[old.name].flag} {values(new)[0]} instead of {values(old)[0]}"
        case _:
            begin = "raise" if _size(new) > _size(old) else "lower"
            return f"{begin} {called(old)} from {values(old)[0]} to {values(new)[0]} ({RULES[old.name].flag} {values(new)[0]})"


def wider(rule: Rule, target: Checkpoint, bounds: Bounds, keeps: Keeps) -> Rule | None:
    """Return the next larger rule of its kind that keeps the target, if there is one."""
    match rule:
        case Within():
            seconds = _least(
                rule.within_ns // NS + 1,
                bounds.span_ns // NS + 1,
                lambda number: keeps(Within(within_ns=number * NS)),
            )
            return None if seconds is None else Within(within_ns=_round_up(seconds) * NS)
        case EverySteps() | EveryTime() | Steps() | Tags():
            return next((other for other in _finer(rule, target) if keeps(other)), None)
        case _ if isinstance(rule, _COUNTED):
            n = _least(rule.n + 1, bounds.checkpoints, lambda n: keeps(replace(rule, n=n)))
            return None if n is None else replace(rule, n=n)
        case _:
            return None


def narrower(rule: Rule, keeps: Keeps) -> Rule | None:
    """Return the largest smaller rule of its kind that keeps the target no more; None for none."""
    match rule:
        case Within():
            first = _least(1, -(-rule.within_ns // NS), lambda s: keeps(Within(within_ns=s * NS)))
            less = _round_down((first or 1) - 1)
            return Within(within_ns=less * NS) if less else None
        case Steps():
            steps = frozenset(s for s in rule.steps if not keeps(Steps(steps=frozenset({s}))))
            return Steps(steps=steps) if steps else None
        case Tags():
            tags = frozenset(t for t in rule.tags if not keeps(Tags(tags=frozenset({t}))))
            return Tags(tags=tags) if tags else None
        case _ if isinstance(rule, _COUNTED):
            first = _least(1, rule.n, lambda n: keeps(replace(rule, n=n)))
            return replace(rule, n=first - 1) if first is not None and first > 1 else None
        case _:
            return None


def _finer(rule: Rule, target: Checkpoint) -> Iterator[Rule]:
    """Yield rules that ask for all that this one does, and for more."""
    match rule:
        case EverySteps() if target.step:
            yield EverySteps(n=math.gcd(rule.n, target.step))
        case EveryTime():
            every_ns = rule.every_ns
            for _ in range(_HALVINGS):
                every_ns //= 2
                if every_ns < NS:
                    return
                yield EveryTime(every_ns=every_ns)
        case Steps() if target.step is not None:
            yield Steps(steps=rule.steps | {target.step})
        case Tags():
            yield from (Tags(tags=rule.tags | {tag}) for tag in target.tags)
        case _:
            return


def _size(rule: Rule) -> int:
    if isinstance(rule, Within):
        return rule.within_ns
    return rule.n if isinstance(rule, _COUNTED) else 0


def _least(low: int, high: int, good: Callable[[int], bool]) -> int | None:
    """Return the least number that is good, where all above a good one are good."""
    if low > high or not good(high):
        return None
    return low + bisect_left(range(low, high), 1, key=good)


def _grain(seconds: int) -> int:
    """Return the unit in which people say so many seconds."""
    return 3600 if seconds >= 2 * 86400 else 60 if seconds >= 2 * 3600 else 1


def _round_up(seconds: int) -> int:
    return -(-seconds // _grain(seconds)) * _grain(seconds)


def _round_down(seconds: int) -> int:
    return seconds // _grain(seconds) * _grain(seconds)
