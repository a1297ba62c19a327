"""Whether what came of a checkpoint may be all there is of it, though callers are missing; pure.

An index, or names that say of how many they are, tell what belongs to a checkpoint. Of files that
each rank may have one of, without a number of how many (random states, optimizers), nothing does:
then all callers are waited for.
"""

from __future__ import annotations

from collections.abc import Collection
from posixpath import split

from ckptctl import names
from ckptctl.patterns import later

_INDEXED = ".distcp"
_INDEX = ".metadata"  # pytorch, torch/distributed/checkpoint/filesystem.py: it names all data files
_SHARD = later(r"(.*?)([0-9]+)-of-([0-9]+)(.*)")
_TEXTS = (".json", ".txt", ".yaml", ".yml", ".md", ".jinja")
_NUMBERED = later(r".*[0-9]\.[a-z]+")


def may_be_whole(paths: Collection[str]) -> bool:
    """Whether names allow that nothing is to come; the structure is still to be proven."""
    shards: dict[tuple[str, str, str, str], set[int]] = {}
    indexed = False
    for path in paths:
        folder, name = split(path)
        if name.endswith(_INDEXED):
            indexed = True
            if f"{folder}/{_INDEX}".lstrip("/") not in paths:
                return False
        elif found := _SHARD.fullmatch(name):
            if not name.lower().endswith(names.TENSOR_SUFFIXES):
                return False
            before, number, count, after = found.groups()
            shards.setdefault((folder, before, count, after), set()).add(int(number))
        elif name != _INDEX and (not name.endswith(_TEXTS) or _NUMBERED.fullmatch(name)):
            return False
    full = all(len(seen) == int(count) for (_, _, count, _), seen in shards.items())
    return full and (indexed or bool(shards))
