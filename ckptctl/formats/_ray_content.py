"""What lies in a directory that Ray keeps for the user: anything, often another framework's.

Ray copies what a worker reports, whatever that is; so it is judged by what it looks like: rank and
shard files by their names, DCP by its marker, tensor files and indexes by their heads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ckptctl.formats._dcp_below import uncommitted_below
from ckptctl.formats._dcp_index import prove_dcp
from ckptctl.formats._folders import Part, missing_in, parts_of
from ckptctl.formats._grid import reaches_of
from ckptctl.formats._hf_index import prove_indexes
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint
from ckptctl.reading import Finding, Reader

PLACING = frozenset({"step", "global_step", "iteration", "training_iteration", "epoch"})
"""Keys of what a worker reports that place a checkpoint, and measure nothing."""


def missing_parts(families: Mapping[str, str], folder: Folder) -> dict[str, str]:
    """Return what directories lack, in words; `families` is the family of each."""
    parts: defaultdict[str, dict[str, list[Part]]] = defaultdict(dict)
    for name, family in families.items():
        parts[family][name] = list(parts_of(folder.folders[name]))
    found = {}
    for members in parts.values():
        reaches = reaches_of((part.kin, part.said) for own in members.values() for part in own)
        for name, own in members.items():
            inside = folder.folders[name]
            if missing := missing_in(inside, own, reaches) or uncommitted_below(inside):
                found[name] = missing
    return found


def prove_content(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield what is wrong with its tensor files, and what indexes in it name in vain."""
    yield from prove_dcp(checkpoint, reader)
    yield from prove_indexes(checkpoint, reader)
