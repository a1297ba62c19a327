"""Many files in little memory: names and entries in compressed blocks, decoded while they are read.

A file costs some 400 bytes as a dict's key and an `Entry`, and 30 here, which are mostly its ETag.
"""

from __future__ import annotations

import heapq
import json
import zlib
from bisect import bisect_right
from collections.abc import Container, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, pairwise
from typing import Any

from ckptctl.listing import Entry

BLOCK = 1024
"""Files that are decoded together."""

_FAST = 1  # of zlib: others take longer and save nothing of an ETag


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some files in the order of their names, which are decoded alone where they are enough."""

    first: str
    last: str
    count: int
    names: bytes
    entries: bytes


class Packed(Mapping[str, Entry]):
    """A mapping that cannot be changed, in the order of its names; `packed` makes one."""

    __slots__ = ("_blocks", "_firsts", "_len")

    def __init__(self, blocks: Sequence[_Block]) -> None:
        self._blocks = blocks
        self._firsts = [block.first for block in blocks]
        self._len = sum(block.count for block in blocks)

    def __getitem__(self, name: str) -> Entry:
        block = self._holding(name)
        if block is None:
            raise KeyError(name)
        return _entries(block)[name]

    def __contains__(self, name: object) -> bool:
        block = self._holding(name) if isinstance(name, str) else None
        return block is not None and name in _names(block)

    def _holding(self, name: str) -> _Block | None:
        at = bisect_right(self._firsts, name)
        return self._blocks[at - 1] if at else None

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(map(_names, self._blocks))

    def __len__(self) -> int:
        return self._len

    def items(self) -> ItemsView[str, Entry]:
        """Return a view that decodes each block once."""
        return _Items(self)

    def values(self) -> ValuesView[Entry]:
        """Return a view that decodes each block once."""
        return _Values(self)

    def blocks(self) -> Iterator[_Block]:
        """Yield what it consists of, to be decoded one after the other."""
        return iter(self._blocks)


class _Items(ItemsView[str, Entry]):
    _mapping: Packed

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return (item for block in self._mapping.blocks() for item in _entries(block).items())


class _Values(ValuesView[Entry]):
    _mapping: Packed

    def __iter__(self) -> Iterator[Entry]:
        return (entry for block in self._mapping.blocks() for entry in _entries(block).values())


def packed(items: Iterable[tuple[str, Entry]]) -> Packed:
    """Pack what comes in the order of its names, none of which comes twice."""
    rest = iter(items)
    blocks = []
    while some := list(islice(rest, BLOCK)):
        names = [name for name, _ in some]
        columns = list(zip(*(entry for _, entry in some), strict=True))
        blocks.append(_Block(names[0], names[-1], len(names), _squeezed(names), _squeezed(columns)))
    return Packed(blocks)


def joined(parts: Sequence[Packed]) -> Packed:
    """Return all as one; of a name that is in several, the last counts."""
    blocks = [block for part in parts for block in part.blocks()]
    if all(one.last < two.first for one, two in pairwise(blocks)):
        return Packed(blocks)
    merged = heapq.merge(*(part.items() for part in parts), key=lambda item: item[0])
    return packed(_last_of_each(merged))


def without(files: Mapping[str, Entry], names: Container[str]) -> Mapping[str, Entry]:
    """Return what is left of a mapping, packed if it was."""
    left = ((name, entry) for name, entry in files.items() if name not in names)
    return packed(left) if isinstance(files, Packed) else dict(left)


def _squeezed(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode(errors="surrogatepass"), _FAST)


def _unpacked(content: bytes) -> Any:  # noqa: ANN401 - what `_squeezed` was given
    return json.loads(zlib.decompress(content))


@lru_cache(8)  # for all mappings together: one for each would keep a block of each decoded
def _entries(block: _Block) -> Mapping[str, Entry]:
    columns = zip(*_unpacked(block.entries), strict=True)
    return dict(zip(_unpacked(block.names), map(Entry._make, columns), strict=True))


@lru_cache(8)
def _names(block: _Block) -> dict[str, None]:
    return dict.fromkeys(_unpacked(block.names))


def _last_of_each(items: Iterable[tuple[str, Entry]]) -> Iterator[tuple[str, Entry]]:
    """Leave out all but the last of items of one name, which follow each other."""
    held: tuple[str, Entry] | None = None
    for item in items:
        if held is not None and held[0] != item[0]:
            yield held
        held = item
    if held is not None:
        yield held
