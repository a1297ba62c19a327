"""The names that MMEngine's CheckpointHook makes, of files and of directories alike.

Source: mmengine, hooks/checkpoint_hook.py: `filename_tmpl`, `_save_best_checkpoint` ("/" in a metric
becomes "_"), `_publish_model`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ckptctl import names
from ckptctl.dates import DATE
from ckptctl.model import Unit
from ckptctl.patterns import later

SUFFIX = ".pth"
_NAME = later(
    r"(?P<best>best_.+_)?(?P<unit>epoch|iter)_(?P<number>[0-9]{1,4000})(?:-(?P<sha>[0-9a-f]{8}))?",
    re.DOTALL,
)


class Name(NamedTuple):
    """What such a name says."""

    unit: Unit
    number: int
    family: str
    best: bool  # kept and replaced by the trainer itself, so that the number is none
    sha: str | None  # the first eight digits of a SHA-256, of weights that were published


def read_name(name: str) -> Name | None:
    """Return what a name says; None where it is none of MMEngine's.

    Eight digits that are a date are no digest.
    """
    if not name.endswith(SUFFIX):
        return None
    found = _NAME.fullmatch(name.removesuffix(SUFFIX))
    if found is None or (found["sha"] and DATE.fullmatch(found["sha"])):
        return None
    spans = [found.span(key) for key in ("number", "sha") if found[key]]
    return Name(
        unit=Unit.EPOCH if found["unit"] == "epoch" else Unit.STEP,
        number=int(found["number"]),
        family=names.family(name.removesuffix(SUFFIX), SUFFIX, spans),
        best=found["best"] is not None,
        sha=found["sha"],
    )
