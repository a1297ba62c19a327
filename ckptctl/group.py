"""From a listing to runs: which names each format claims, and which folders are runs.

Reads nothing but the small files by which some formats recognise or name their checkpoints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ckptctl import names
from ckptctl.formats._base import Format, Pointer
from ckptctl.formats._foreign import foreign
from ckptctl.known import Formats
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Problem
from ckptctl.reading import Below, Reader, VanishedError

SIDECAR_ENDINGS = (".json", ".meta.json", ".metadata.json")
SIDECAR_NAMES = ("metadata.json", "meta.json", "metrics.json", "checkpoint.json")


@dataclass(frozen=True, slots=True)
class Item:
    """A claim, the format that made it, and the name that a user sees (unlike any other's)."""

    format: Format
    claim: Claim
    name: str

    @property
    def path(self) -> str:
        """Its path within its folder: a directory, a file, a group's key file."""
        return self.claim.key_file if self.claim.kind is Kind.GROUP else self.claim.members[0]


@dataclass(frozen=True, slots=True)
class Found:
    """One folder that directly holds checkpoints, and what each format claims in it."""

    folder: Folder
    items: tuple[Item, ...]
    pointers: tuple[Pointer, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread: tuple[str, ...] = ()


def runs_below(
    folder: Folder, reader: Reader, formats: Formats, *, deep: bool, top: str = ""
) -> Iterator[Found]:
    """Yield the runs: the folder itself if it holds checkpoints, else (or if `deep`) those below.

    `reader` starts at the location, whose name is `top`; nothing inside a checkpoint is looked at.
    """
    found = look(folder, reader, formats, top)
    if found.items or found.unread:
        yield found
        if not deep:
            return
    members = {member.split("/")[0] for item in found.items for member in item.claim.members}
    for name, inside in folder.folders.items():
        if name not in members and not _is_copy(name, inside, formats):
            yield from runs_below(inside, reader, formats, deep=True)


def look(folder: Folder, reader: Reader, formats: Formats, top: str = "") -> Found:
    """Return what one folder directly holds; `unread` where something of that is unknown.

    `top` is the name of the directory that was listed, where the folder is that one.
    """
    folder = replace(folder, called=top)
    kinds = formats.concerning(folder)
    below = Below(reader, folder.path)
    unread = [] if folder.error is None else [f".: {folder.error}"]
    claims: list[tuple[Format, Claim]] = []
    taken: set[str] = set()
    left = folder
    for kind in kinds:
        if kind.generic and left is folder:
            left = _left_over(folder, taken, kinds)
        try:
            for claim in kind.find(left if kind.generic else folder, below):
                if taken.isdisjoint(claim.members) and not _is_none(kind, claim, folder):
                    claims.append((kind, claim))
                    taken.update(claim.members)
        except VanishedError:
            pass  # gone since the listing: the next listing will tell
        except Exception as error:  # noqa: BLE001 - a fault of one format must hide no other's
            unread.append(_fault(kind, error))
    hidden, strangers = _unreadable(folder, taken, kinds)
    unread += hidden
    claims, parts = _without_parts(folder.name, claims)
    pointers, failed = _pointers(folder, below, kinds) if claims else ([], [])
    for _, claim in claims:
        for member in claim.members:
            inside = folder.inside(member)
            for path, text in inside.errors() if inside else ():
                unread.append(f"{member}/{path}: {text}".replace("/:", ":"))
    return Found(
        folder, tuple(_distinct(claims)), tuple(pointers), (*parts, *strangers),
        tuple(unread + failed),
    )  # fmt: skip


def _fault(kind: Format, error: Exception) -> str:
    """Return in words why a format could not be asked."""
    if isinstance(error, OSError):
        return f"{error.filename or kind.name}: {error.strerror or error}"
    return f"{kind.name}: unexpected error: {type(error).__name__}: {error}; please report it"


def _without_parts(
    name: str, claims: list[tuple[Format, Claim]]
) -> tuple[list[tuple[Format, Claim]], tuple[Problem, ...]]:
    """Leave out `model_0.pt`, `model_1.pt` in a folder `step_1000`: rather parts than steps 0 and 1.

    accelerate counts its models so, from 1 on (accelerate, checkpointing.py).

    By the grammar of names they are checkpoints of a run; but whoever saves a pipeline by parts
    names them so, and to delete one of them would tear a checkpoint.
    """
    if not names.parse(name, file=False).numbered:
        return claims, ()
    bare = [
        (kind, claim)
        for kind, claim in claims
        if kind.generic and not names.parse(claim.name, file=False).numbered
    ]
    steps = {claim.step for _, claim in bare}
    first = min((step for step in steps if step is not None), default=2)
    if not bare or first > 1 or steps != set(range(first, first + len(steps))):
        return claims, ()
    text = f"{name}: {bare[0][1].name} and the like are taken for parts of one checkpoint, and left alone"
    parts = {claim.key_file for _, claim in bare}
    return [one for one in claims if one[1].key_file not in parts], (Problem("parts", text),)


def sidecars_of(claim: Claim, folder: Folder) -> list[str]:
    """Return the sidecars beside a claim that are there, by its short name and by its files."""
    if claim.temporary:
        return []
    wanted = [claim.name + ending for ending in SIDECAR_ENDINGS]
    if claim.kind is not Kind.DIRECTORY:
        wanted += [member + ".json" for member in claim.members]
    return [
        name for name in dict.fromkeys(wanted) if name in folder.files and name not in claim.members
    ]


def inner_sidecars(claim: Claim, folder: Folder) -> list[str]:
    """Return the sidecars inside a directory, but for files that its format claims as its own."""
    if claim.kind is not Kind.DIRECTORY:
        return []
    inside = folder.inside(claim.members[0])
    return [
        f"{claim.members[0]}/{name}"
        for name in SIDECAR_NAMES
        if inside and name in inside.files and name not in claim.claims_sidecars
    ]


def _is_none(kind: Format, claim: Claim, folder: Folder) -> bool:
    """Whether what a format claims is hidden, or a run: a directory with another number below."""
    if any(member.startswith(".") for member in claim.members):
        return True
    if claim.kind is not Kind.DIRECTORY or claim.named or claim.temporary or kind.holds_anything:
        return False
    roots = [inside for member in claim.members if (inside := folder.inside(member))]
    return any(foreign(root, claim.step, claim.epoch, kind.parts) is not None for root in roots)


def _is_copy(name: str, inside: Folder, formats: Iterable[Format]) -> bool:
    """Whether a directory is a user's copy of a checkpoint: what it holds is no run either."""
    if not names.has_number_word(name):
        return False
    said = names.parse(name, file=False)
    if not said.numbered or not (names.is_copy(name, said) or _extends(name, formats)):
        return False
    known = dict.fromkeys(kind.parts for kind in formats)
    return any(foreign(inside, said.step, said.epoch, parts) is None for parts in known)


def _extends(name: str, formats: Iterable[Format]) -> bool:
    """Whether a name extends one that a framework owns."""
    return any(kind.own_names and names.extends(name, kind.own_names) for kind in formats)


def _left_over(folder: Folder, taken: set[str], formats: Iterable[Format]) -> Folder:
    """Return the folder as the generic formats may see it: without what a framework claims or owns."""
    files = {name: entry for name, entry in folder.files.items() if name not in taken}
    folders = {
        name: inside
        for name, inside in folder.folders.items()
        if name not in taken and not _extends(name, formats)
    }
    return replace(folder, files=files, folders=folders)


def _unreadable(
    folder: Folder, taken: set[str], formats: Sequence[Format]
) -> tuple[list[str], list[Problem]]:
    """Return what could not be read below folders that nothing claims.

    Under a name that a checkpoint would have it may hide one: that is unread.  Elsewhere it is
    only a problem.
    """
    hidden: list[str] = []
    strangers: list[Problem] = []
    for name, inside in folder.folders.items():
        if name in taken:
            continue
        likely = names.parse(name, file=False).numbered or any(
            kind.own_names and kind.own_names.fullmatch(name) for kind in formats
        )
        for path, text in inside.errors():
            said = f"{name}/{path}: {text}".replace("/:", ":")
            if likely:
                hidden.append(said)
            else:
                strangers.append(Problem("folder-unreadable", said))
    return hidden, strangers


def _pointers(
    folder: Folder, below: Reader, formats: Iterable[Format]
) -> tuple[list[Pointer], list[str]]:
    found: list[Pointer] = []
    failed = []
    for kind in formats:
        try:
            found += kind.pointers(folder, below)
        except VanishedError:
            pass  # a tracker that is being replaced: it is read again before each deletion
        except Exception as error:  # noqa: BLE001 - a fault of one format must hide no other's
            failed.append(_fault(kind, error))
    return list(dict.fromkeys(found)), failed


def _distinct(claims: list[tuple[Format, Claim]]) -> Iterator[Item]:
    """Give files that share a name with another checkpoint their full file name."""
    count = Counter(claim.name for _, claim in claims)
    for kind, claim in claims:
        if count[claim.name] > 1 and claim.kind is not Kind.DIRECTORY:
            yield Item(kind, claim, claim.key_file)
        else:
            yield Item(kind, claim, claim.name)
