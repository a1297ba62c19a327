"""The user's own layouts, from `formats:` in the configuration; they come before all others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.formats._base import Format
from ckptctl.formats._folders import key_of
from ckptctl.formats._foreign import Number, differs
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Layout, Problem, Unit
from ckptctl.patterns import later
from ckptctl.reading import Reader

_SUFFIX = later(r"\.[A-Za-z][A-Za-z0-9]*\Z")


class OwnLayouts(Format):
    """Names that match one of the user's regular expressions; the first that matches counts.

    Not in the registry: it is made from a configuration, and its claims carry the layouts' names.
    """

    name = "own"
    summary = "Layouts of your own: `formats:` in the configuration"
    source = "section 4 of the contract"
    example: ClassVar[Mapping[str, bytes]] = {}

    def __init__(self, layouts: tuple[Layout, ...]) -> None:
        """Compile the layouts.  Raises re.error where one is no regular expression."""
        self._layouts = tuple((layout, later(layout.match)) for layout in layouts)

    def names(self) -> tuple[str, ...]:
        """Return the names of the layouts."""
        return tuple(layout.name for layout, _ in self._layouts)

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield each file or directory whose whole name matches.

        A directory must hold a file, and nothing to which a layout gives another number: that
        would be a run.
        """
        for name in folder.files:
            if found := self._match(name, directory=False):
                yield _claim(*found, Kind.FILE, _split(*found), name)
        for name, inside in folder.folders.items():
            found = self._match(name, directory=True)
            if found and (key := key_of(inside)) is not None and not self._other(inside, found[1]):
                yield _claim(*found, Kind.DIRECTORY, (name, ""), f"{name}/{key}")

    def _other(self, folder: Folder, own: re.Match[str]) -> bool:
        """Whether something in a folder, or below it, has another number by the layouts."""
        below = [self._match(name, directory=False) for name in folder.files]
        below += [self._match(name, directory=True) for name in folder.folders]
        number = _number_of(own)
        return any(one is not None and differs(_number_of(one[1]), number) for one in below) or any(
            self._other(inside, own) for inside in folder.folders.values()
        )

    def _match(self, name: str, *, directory: bool) -> tuple[Layout, re.Match[str]] | None:
        for layout, pattern in self._layouts:
            if layout.directory is directory and (found := pattern.fullmatch(name)):
                return layout, found
        return None


def _split(_: Layout, found: re.Match[str]) -> tuple[str, str]:
    """Return (stem, suffix): the last dot and letters that are in no group are the suffix."""
    name = found[0]
    stem, suffix = names.split_suffix(name)
    if not suffix and (last := _SUFFIX.search(name)):
        stem, suffix = name[: last.start()], last[0]
    ends = max((found.end(group) for group in found.re.groupindex), default=0)
    return (stem, suffix) if stem and len(stem) >= ends else (name, "")


def _claim(
    layout: Layout, found: re.Match[str], kind: Kind, split: tuple[str, str], key_file: str
) -> Claim:
    """Return the claim of one name."""
    name = found[0]
    said, problems = _said(found)
    step, epoch = said.pop("step", None), said.pop("epoch", None)
    stem, suffix = split
    unit = Unit.STEP if step is not None else Unit.EPOCH if epoch is not None else None
    return Claim(
        format=layout.name,
        kind=kind,
        name=stem,
        members=(name,),
        key_file=key_file,
        family=names.family(stem, suffix, [found.span(g) for g in found.re.groupindex if found[g]]),
        step=None if step is None else int(step),
        epoch=epoch,
        counts=unit,
        metrics=said,
        problems=tuple(problems),
    )


def _said(found: re.Match[str]) -> tuple[dict[str, float], list[Problem]]:
    """Return what the groups of a match say, and what in them is no number."""
    said: dict[str, float] = {}
    problems = []
    for group, text in found.groupdict().items():
        if text is not None:
            try:
                said[group] = _number(group, text)
            except ValueError:
                why = f"{found[0]}: {group} {text!r} is no number that it can have"
                problems.append(Problem("name-unreadable", why))
    return said, problems


def _number_of(found: re.Match[str]) -> Number:
    said, _ = _said(found)
    return said.get("step"), said.get("epoch")


def _number(group: str, text: str) -> float:
    """Return what a group says; ValueError where that is no number, or no step or epoch."""
    if group not in {"step", "epoch"}:
        return names.parse_number(text)
    if text.isdecimal():
        return int(text)
    number = names.parse_number(text)
    if not math.isfinite(number) or (group == "step" and not number.is_integer()):
        raise ValueError(text)
    return int(number) if number.is_integer() else number
