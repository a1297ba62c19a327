"""`stepN/` of OLMo and of OLMo-core: which of the two wrote it, and the files of its ranks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from typing import NamedTuple

from ckptctl.formats._dcp import METADATA, holds_data
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.patterns import later

_NAME = later(r"step(?P<step>[0-9]+)(?P<whole>-unsharded)?(?P<staged>-tmp)?")
DCP = "model_and_optim"
TRAIN = "train"
CONFIG = "config.yaml"
CORE_COMMIT = ".metadata.json"
WHOLE = ("model.pt", "model.safetensors", "optim.pt", "optim.safetensors", "train.pt", "other.pt")
_SUFFIXES = (".pt", ".safetensors")
_DIGITS = 9  # that a rank has: int() is slow on thousands


class Owner(Enum):
    """Who wrote a directory."""

    OLMO = "olmo"
    CORE = "olmo-core"


class Step(NamedTuple):
    """One directory of either of them."""

    name: str
    step: int
    whole: bool  # `-unsharded`
    staged: bool  # `-tmp`
    inside: Folder

    @property
    def family(self) -> str:
        """Return the family, for one that is staged the one that it was to join."""
        return "step#-unsharded" if self.whole else "step#"


def steps_of(owner: Owner, folder: Folder) -> list[Step]:
    """Return the directories of one of them, staged ones included."""
    found = []
    for name, inside in folder.folders.items():
        match = _NAME.fullmatch(name) if name.startswith("step") else None
        if match is None:
            continue
        whole, staged = match["whole"] is not None, match["staged"] is not None
        if _owner(inside, whole=whole, staged=staged) is owner:
            found.append(Step(name, int(match["step"]), whole, staged, inside))
    return found


def _owner(inside: Folder, *, whole: bool, staged: bool) -> Owner | None:
    """Tell them by what they write: OLMo its `config.yaml` last, OLMo-core `.metadata.json`.

    What has neither may be an OLMo-core that is being saved, or removed: there it goes first.
    """
    if whole:
        own = any(name in inside.files for name in WHOLE) or (staged and bool(inside.files))
        return Owner.OLMO if own else None
    if holds_data(inside.files):
        return None
    if ranks_of(below(inside, "model")) or ranks_of(below(inside, "optim")):
        return Owner.OLMO
    at_top = bool(ranks_of(inside.files))
    if at_top and (staged or CONFIG in inside.files):
        return Owner.OLMO
    deep = below(inside, DCP)
    if holds_data(deep) or METADATA in deep or ranks_of(below(inside, TRAIN)):
        by_olmo = CONFIG in inside.files and CORE_COMMIT not in inside.files
        return Owner.OLMO if by_olmo else Owner.CORE
    return None


def below(inside: Folder, name: str) -> Collection[str]:
    """Return the names of the files in a folder of a directory; none where there is none."""
    deep = inside.folders.get(name)
    return deep.files if deep else ()


def ranks_of(files: Iterable[str]) -> dict[int, str]:
    """Return the files `rankR.pt` by rank."""
    found = {}
    for name in files:
        if name.startswith("rank") and name.endswith(_SUFFIXES):
            number = name[4:].partition(".")[0]
            if len(number) <= _DIGITS and number.isascii() and number.isdecimal():
                found[int(number)] = name
    return found


def gap_in(ranks: Collection[int], last: int | None = None) -> int | None:
    """Return the first rank that is not there, up to the highest or to `last`."""
    end = max(ranks, default=0) if last is None else last
    if len(ranks) > end:
        return None
    return next((rank for rank in range(end + 1) if rank not in ranks), None)


def empty_in(inside: Folder) -> str | None:
    """Return the first file of either of them that is empty."""
    parts = {"": inside, **inside.folders}
    known = (*WHOLE, CONFIG, CORE_COMMIT)
    for path, deep in parts.items():
        for name, entry in sorted(deep.files.items()):
            own = name in known if not path else path in {"model", "optim", TRAIN}
            if not entry.size and (own or name in ranks_of([name]).values()):
                return f"{path}/{name}".lstrip("/")
    return None


def leftover(one: Step, owner: Owner) -> Claim:
    """Return the claim of a directory that was not renamed; it holds at least one file."""
    return Claim(
        format=owner.value,
        kind=Kind.DIRECTORY,
        name=one.name,
        members=(one.name,),
        key_file=f"{one.name}/{min(one.inside.paths())}",
        family=one.family,
        step=one.step,
        counts=Unit.STEP,
        temporary=True,
        missing="it had not been renamed yet",
    )
