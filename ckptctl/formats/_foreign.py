"""Whether a folder that looks like a checkpoint is a run: what lies below carries another number."""

from __future__ import annotations

import functools
import re

from ckptctl import names
from ckptctl.listing import Folder

Number = tuple[float | None, float | None]
"""A step and an epoch."""

_NONE: Number = (None, None)


def foreign(
    folder: Folder,
    step: float | None,
    epoch: float | None,
    parts: re.Pattern[str] | None = None,
) -> str | None:
    """Return the path of something below that carries another step or epoch; None without any.

    `parts` are names that the folder's format knows; what lies below such a folder is its own too.
    """
    for name, inside in folder.folders.items():
        if parts is not None and parts.fullmatch(name):
            continue
        if _other(name, step, epoch, file=False):
            return name
        if (found := foreign(inside, step, epoch, parts)) is not None:
            return f"{name}/{found}"
    for name in folder.files:
        if _other(name, step, epoch, file=True) and not (parts and parts.fullmatch(name)):
            return name
    return None


def _other(name: str, step: float | None, epoch: float | None, *, file: bool) -> bool:
    """Whether a name carries a number that is not the folder's.

    One that carries the folder's own step may well add an epoch that the folder does not state.
    """
    said = _said(name, file=file)
    return said != _NONE and differs(said, (step, epoch))


@functools.lru_cache(maxsize=1 << 14)  # the folders of a run hold the same names
def _said(name: str, *, file: bool) -> Number:
    if not names.has_number_word(name):
        return _NONE
    said = names.parse(names.split_suffix(name)[0] if file else name, file=file)
    return said.step, said.epoch


def differs(said: Number, own: Number) -> bool:
    """Whether what a name says is a number, and not that of the folder above."""
    shared = [a == b for a, b in zip(said, own, strict=True) if a is not None and b is not None]
    return not all(shared) or (said != _NONE and not shared)
