"""What a caller says of a whole tree of runs: which of them it has.

`staging/parts/K-of-N.runs.json`, in the state of the directory that all of them are copied to.
Whoever has nothing of a run could not know its name, and without this the others would wait for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ckptctl.group import Found
from ckptctl.listing import Folder
from ckptctl.parts.note import inside, understood, written
from ckptctl.parts.part import Caller
from ckptctl.parts.roll import Roll

_SCHEMA = ("ckptctl/tree", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One caller, when it looked, and what it saw; paths are relative to its source."""

    caller: Caller
    looked_ns: int
    runs: tuple[str, ...]
    folders: tuple[str, ...]  # that are there, those of runs too
    closed: tuple[str, ...]  # links, and what cannot be read: what lies below is unknown

    def roll(self, run: str, only: tuple[str, ...] | None) -> Roll | None:
        """Return that the caller has nothing of a run; None where it has, or may have, something."""
        parts = run.split("/")
        above = {"/".join(parts[: count + 1]) for count in range(len(parts))} | {""}
        if run in self.folders or not above.isdisjoint(self.closed):
            return None
        return Roll(caller=self.caller, looked_ns=self.looked_ns, keys=(), names=(), only=only)


def tree_of(caller: Caller, looked_ns: int, top: Folder | None, runs: Collection[Found]) -> Tree:
    """Return what there is below a source, which may not be there itself."""
    if top is None:
        return Tree(caller=caller, looked_ns=looked_ns, runs=(), folders=(), closed=())
    members = {
        run.folder.path: {m.split("/")[0] for item in run.items for m in item.claim.members}
        for run in runs
    }
    folders = tuple(_outside(top, members))
    closed = [folder.path for folder in folders if folder.error is not None]
    for folder in folders:
        closed += [f"{folder.path}/{name}".lstrip("/") for name in folder.links]
    return Tree(
        caller=caller,
        looked_ns=looked_ns,
        runs=tuple(sorted(members)),
        folders=tuple(folder.path for folder in folders),
        closed=tuple(closed),
    )


def _outside(folder: Folder, members: Mapping[str, set[str]]) -> Iterator[Folder]:
    """Yield a folder and those below it that are in no checkpoint."""
    yield folder
    for name, below in folder.folders.items():
        if name not in members.get(folder.path, ()):
            yield from _outside(below, members)


def dump_tree(tree: Tree) -> bytes:
    """Return it as its file holds it."""
    return written(_SCHEMA, asdict(tree))


def parse_tree(content: bytes) -> Tree:
    """Return it again.  NoteError where it cannot be understood."""
    return understood(content, _SCHEMA, _tree)


def _tree(said: Mapping[str, Any]) -> Tree:
    return Tree(
        caller=Caller(*map(int, said["caller"])),
        looked_ns=int(said["looked_ns"]),
        runs=tuple(run and inside(run) for run in said["runs"]),  # "" is the source itself
        folders=tuple(map(str, said["folders"])),
        closed=tuple(map(str, said["closed"])),
    )
