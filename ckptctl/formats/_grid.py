"""Rank and shard files: the whole grid of them must be there.

Ranks go from 0 to the highest that any checkpoint of the family has, and of several rank words
each combination is needed; `shard` and `part` may count from 1.  `i-of-n` says itself how many.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from ckptctl.names import Name

Reach = tuple[tuple[int, int], ...]
"""The lowest and the highest rank of a family, for each rank word."""

Kin = tuple[str, tuple[str, ...]]
"""What names of one family share: its spelling, and their rank words."""


def place(name: Name) -> tuple[tuple[int, ...], int]:
    """Return where a file stands in its grid: the lowest is the one that names the checkpoint."""
    return name.ranks, name.shard[0] if name.shard else 0


def reaches_of(names: Iterable[tuple[Kin, Name]]) -> dict[Kin, Reach]:
    """Return the ranks of each family, from all its names."""
    families: defaultdict[Kin, list[Name]] = defaultdict(list)
    for kin, name in names:
        families[kin].append(name)
    return {kin: _reach(kin[1], names) for kin, names in families.items()}


def _reach(words: Iterable[str], names: Iterable[Name]) -> Reach:
    ranks = zip(*(name.ranks for name in names), strict=True)
    return tuple(
        (1 if word != "rank" and min(of_word) == 1 else 0, max(of_word))
        for word, of_word in zip(words, ranks, strict=False)
    )


def gap(names: Sequence[Name], reach: Reach) -> str | None:
    """Return in words the first place of the grid that no file of one checkpoint fills."""
    words = names[0].rank_words
    # Where names state how many there are, one of a rank beyond fills no place.
    seen = {name.ranks for name in names if _within(name.ranks, reach)}
    if len(seen) < math.prod(last + 1 - first for first, last in reach):
        # Found soon: there are fewer files than places, however high a rank may be.
        ranks = next(ranks for ranks in _places(reach) if ranks not in seen)
        lost = ", ".join(f"{word} {rank}" for word, rank in zip(words, ranks, strict=True))
        ends = ", ".join(f"{first} to {last}" for first, last in reach)
        return f"{lost} is not there: its family has {ends}"
    shards: defaultdict[tuple[tuple[int, ...], int], set[int]] = defaultdict(set)
    for name in names:
        if name.shard is not None:
            shards[name.ranks, name.shard[1]].add(name.shard[0])
    for (ranks, count), indices in sorted(shards.items()):
        first = 0 if 0 in indices else 1
        if len(indices) != count or max(indices) != first + count - 1:
            lost_shard = next(index for index in itertools.count(first) if index not in indices)
            at = "".join(f" of {word} {rank}" for word, rank in zip(words, ranks, strict=True))
            return f"shard {lost_shard} of {count}{at} is not there"
    return None


def _within(ranks: Iterable[int], reach: Reach) -> bool:
    return all(first <= rank <= last for rank, (first, last) in zip(ranks, reach, strict=False))


def _places(reach: Reach) -> Iterator[tuple[int, ...]]:
    """Yield each combination of ranks, one after the other."""
    if not reach:
        yield ()
        return
    (first, last), *others = reach
    for rank in range(first, last + 1):
        for rest in _places(tuple(others)):
            yield rank, *rest
