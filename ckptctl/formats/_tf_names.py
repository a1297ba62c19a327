"""The names of TensorFlow's shard sets: PREFIX-N.index, .meta, .data-00000-of-00002."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from ckptctl import names

_DIGITS = range(5, 20)  # that a shard's number has: int() is slow on thousands


def shard_of(file: str) -> tuple[str, int, int] | None:
    """Return prefix, number and count of a data file's name (core/util/tensor_bundle/naming.cc)."""
    prefix, _, place = file.rpartition(".data-")
    number, _, count = place.partition("-of-")
    if not prefix or not all(map(_is_shards, (number, count))):
        return None
    return prefix, int(number), int(count)


def _is_shards(text: str) -> bool:
    return len(text) in _DIGITS and text.isascii() and text.isdecimal()


def prefix_of(file: str) -> str | None:
    """Return the prefix that a file of a shard set begins with."""
    if file.endswith((".index", ".meta")):
        return file.rpartition(".")[0]
    found = shard_of(file) if ".data-" in file else None
    return found[0] if found else None


def _ending(prefix: str) -> names.Span | None:
    """Return where the number stands that ends a prefix; Keras 2 may have `.ckpt` behind it."""
    head, joint, number = prefix.removesuffix(".ckpt").rpartition("-")
    if not joint or not head or not (number.isascii() and number.isdecimal()):
        return None
    return len(head) + 1, len(head) + 1 + len(number)


def spelling(prefix: str) -> str | None:
    """Return a prefix with the number that ends it replaced by #; None where it has none."""
    span = _ending(prefix)
    return names.blank(prefix, [span]) if span else None


def number_of(prefix: str, tracked: Collection[str | None]) -> names.Name | None:
    """Return what a prefix says; None where it is no checkpoint's."""
    said = names.parse(prefix, file=True)
    span = _ending(prefix)
    own = span is not None and spelling(prefix) in tracked
    if said.numbered:
        return said if own or not names.is_copy(prefix, said) else None
    return names.Name(step=int(prefix[slice(*span)]), spans=(span,)) if span and own else None


def grid_of(files: Iterable[str]) -> tuple[str | None, list[str]]:
    """Return what is missing of the data files, and those of another, incomplete set."""
    counts: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for file in files:
        if found := shard_of(file):
            counts[found[2]][found[1]] = file
    if not counts:
        return "no data file", []
    absent = {
        count: next((number for number in range(count) if number not in have), count)
        for count, have in counts.items()
    }
    whole = [count for count, number in absent.items() if number == count]
    if whole:
        torn = [file for count, have in counts.items() if count not in whole for file in have.values()]  # fmt: skip
        return None, sorted(torn)
    count = max(counts)
    return f"no data file {absent[count]} of {count}", []
