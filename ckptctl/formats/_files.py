"""Plain files whose names carry a step or an epoch: what all formats of such files share."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from ckptctl import names
from ckptctl.formats._grid import Kin, gap, place, reaches_of
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind


class _File(NamedTuple):
    """One file, and what its name says."""

    file: str
    stem: str
    suffix: str
    said: names.Name
    kin: Kin
    named: bool


def claim_files(
    folder: Folder, kind: str, suffixes: frozenset[str], fixed: re.Pattern[str] | None = None
) -> Iterator[Claim]:
    """Yield the checkpoints among the files of a folder, those of one step as one.

    `fixed` are whole names that trainers give copies of theirs.  A hidden file is none: it is what
    another program keeps beside it, or is still writing (`._step_5.pt`, `.step_5.pt`).
    """
    groups: defaultdict[tuple[str, str], list[_File]] = defaultdict(list)
    for name in folder.files:
        found = None if name.startswith(".") else _read(name, suffixes, fixed)
        if found is not None:
            groups[names.blank(found.stem, found.said.grid), found.suffix].append(found)
    reaches = reaches_of((one.kin, one.said) for files in groups.values() for one in files)
    for files in groups.values():
        key = min(files, key=lambda one: (place(one.said), one.file))
        empty = next((one.file for one in files if not folder.files[one.file].size), None)
        yield Claim(
            format=kind,
            kind=Kind.FILE if len(files) == 1 else Kind.GROUP,
            name=key.stem,
            members=tuple(sorted(one.file for one in files)),
            key_file=key.file,
            family=key.kin[0],
            step=None if key.named else key.said.step,
            epoch=None if key.named else key.said.epoch,
            counts=None if key.named else key.said.counts,
            metrics=key.said.metrics,
            saved_ns=key.said.saved_ns,
            named=key.named,
            missing=gap([one.said for one in files], reaches[key.kin])
            or (f"{empty} is empty" if empty else None),
        )


@functools.lru_cache(maxsize=1 << 13)  # a run and its copy hold the same names
def _read(name: str, suffixes: frozenset[str], fixed: re.Pattern[str] | None) -> _File | None:
    """Return what a file's name says; None where it is no checkpoint's."""
    stem, suffix = names.split_suffix(name)
    if suffix.lower() not in suffixes:
        return None
    named = fixed is not None and fixed.fullmatch(name) is not None
    if not named and not names.has_number_word(name):
        return None
    said = names.parse(stem, file=True)
    if not named and (said.copy or not said.numbered):
        return None
    kin = names.family(stem, suffix, said.spans), said.rank_words
    return _File(name, stem, suffix, said, kin, named)
