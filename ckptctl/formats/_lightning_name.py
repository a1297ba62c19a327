"""The names that Lightning's ModelCheckpoint makes: `name=value` pairs; NeMo's are the same.

Source: lightning, pytorch/callbacks/model_checkpoint.py `_format_checkpoint_name`: a metric that
was not logged is written as 0, a step or an epoch as a whole number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from ckptctl import names
from ckptctl.model import Unit
from ckptctl.patterns import later

_COUNTER = later(
    r"(?:^|(?<=[-_ /]))(?P<key>global_step|step|epoch)=(?P<number>[0-9]+)(?:\.0+)?(?=[-_ /]|\Z)"
)
_COUNTER_KEY = later(r"(?:.*[-_ /])?(?:global_step|step|epoch)", re.DOTALL)
_PAIR = later(r"=(?:[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?inf|nan)")
_NAMED = later(r"last(?:-v[0-9]+)?|on_exception")
_REQUEUE = later(r"hpc_ckpt_([0-9]+)")
_NEMO = later(r"[^=]*?[^=-]--[^=-][^=]*=.*", re.DOTALL)


def is_nemos(stem: str) -> bool:
    """Whether a name is a model's name, two dashes, and pairs: NeMo's templates begin so."""
    return _NEMO.fullmatch(stem) is not None


class Name(NamedTuple):
    """What such a name says of a checkpoint."""

    step: int | None
    epoch: int | None
    metrics: Mapping[str, float]
    family: str
    counts: Unit | None  # the number by which `metrics.csv` is joined
    log_offset: int = (
        0  # a row's `step` there is one less than the steps done; its epoch is the same
    )
    named: bool = False

    @property
    def zeros(self) -> frozenset[str]:
        """The metrics of value 0, which may just as well not have been logged (-0.00 was)."""
        return frozenset(
            key for key, value in self.metrics.items() if value == 0 and math.copysign(1, value) > 0
        )


def fixed_name(stem: str, suffix: str = "") -> Name | None:
    """Return what the names say that no template makes; None for any other.

    `hpc_ckpt_N` counts the saves at a SLURM requeue, so no log is joined by it.
    """
    if _NAMED.fullmatch(stem):
        return Name(None, None, {}, stem.partition("-v")[0] + suffix, None, named=True)
    if found := _REQUEUE.fullmatch(stem):
        return Name(int(found[1]), None, {}, "hpc_ckpt_#" + suffix, None)
    return None


def read_name(stem: str, suffix: str = "") -> Name | None:
    """Return what a name without its suffix says; None where it has no step and no epoch.

    A counter that is a whole key counts before one that ends a key (`resnet_epoch=3`); of several
    the last.  A user's copy (`epoch=3-best`) is none of Lightning's.
    """
    version = names.version_of(stem)
    body = stem if version is None else stem[: stem.rindex("-v")]
    numbers: dict[str, tuple[bool, int]] = {}
    spans = []
    for found in _COUNTER.finditer(body):
        unit = "epoch" if found["key"] == "epoch" else "step"
        whole = found.start() == 0 or body[found.start() - 1] == "-"
        if whole or not numbers.get(unit, (False, 0))[0]:
            numbers[unit] = (whole, int(found["number"]))
        spans.append(found.span("number"))
    ends = [found.end() for found in _PAIR.finditer(body)]
    if not numbers or body.endswith("~") or names.says_copy(body[max(ends, default=0) :]):
        return None
    return Name(
        step=numbers["step"][1] if "step" in numbers else None,
        epoch=numbers["epoch"][1] if "epoch" in numbers else None,
        metrics={
            key: value
            for key, value in names.pairs(body).items()
            if not _COUNTER_KEY.fullmatch(key)
        },
        family=names.family(stem, suffix, spans),
        counts=Unit.EPOCH if "epoch" in numbers else Unit.STEP,
        log_offset=0 if "epoch" in numbers else -1,
    )
