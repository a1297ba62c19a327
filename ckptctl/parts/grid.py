"""Whether what came of a checkpoint may be all there is of it, though callers are missing; pure.

The index of a DCP directory names all that its framework has saved there.  Of whatever else each rank
may have one (random states, optimizers), nothing says how many there are: then all callers are waited
for, also where shards of a model are numbered `-00001-of-00005`, beside which an optimizer may be missing.
"""

from __future__ import annotations

from collections.abc import Collection
from posixpath import split

from ckptctl.patterns import later

_INDEXED = ".distcp"
_INDEX = ".metadata"  # pytorch, torch/distributed/checkpoint/filesystem.py: it names all data files
_TEXTS = (".json", ".txt", ".yaml", ".yml", ".md", ".jinja")
_NUMBERED = later(r".*[0-9]\.[a-z]+")


def may_be_whole(paths: Collection[str]) -> bool:
    """Whether names allow that nothing is to come; the structure is still to be proven."""
    indexed = False
    for path in paths:
        folder, name = split(path)
        if name.endswith(_INDEXED):
            indexed = True
            if f"{folder}/{_INDEX}".lstrip("/") not in paths:
                return False
        elif name != _INDEX and (not name.endswith(_TEXTS) or _NUMBERED.fullmatch(name)):
            return False
    return indexed
