"""What SpeechBrain notes of a checkpoint in `CKPT.yaml`, told without constructing anything.

SpeechBrain dumps and loads it with YAML's full, unsafe classes, so that a metric may be a NumPy
scalar, spelled as the call that makes it.  Such a one is decoded here from its bytes; every other
object is a problem, and counts as absent.  Source: speechbrain, utils/checkpoints.py
`_save_checkpoint_metafile`.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct

from ckptctl.model import Metadata, Problem
from ckptctl.sidecar import as_number
from ckptctl.units import parse_time

_TIME, _END, _EPOCH = "unixtime", "end-of-epoch", "epoch"
_SPECIAL = {".nan": math.nan, ".inf": math.inf, "-.inf": -math.inf}
_TYPES = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h"}


def read_meta(path: str, content: bytes) -> Metadata:
    """Return what the file says; `unread` where it is no YAML mapping, or too large."""
    from ckptctl.yaml_nodes import UnparsableError, parse  # noqa: PLC0415 - most runs need no YAML

    try:
        said = parse(content)[0].plain()
    except UnparsableError as error:
        return _unread(f"{path} {error.fault.text}")
    if not isinstance(said, dict):
        return _unread(f"{path} is no mapping")
    saved_ns, epoch = None, None
    metrics: dict[str, float] = {}
    problems: list[Problem] = []
    for key, value in said.items():
        if key == _END or value is None or isinstance(value, bool):
            continue
        number = _number(value)
        if key == _TIME:
            saved_ns = _time(number)
        elif key == _EPOCH:
            epoch = number if number is not None and math.isfinite(number) else None
        elif number is not None:
            metrics[key] = number
        if number is None and not (isinstance(value, str) and key not in {_TIME, _EPOCH}):
            problems.append(Problem("metadata-value", f"{path}: {key} is no number"))
    return Metadata(
        saved_ns=saved_ns, epoch=epoch, metrics=metrics, problems=tuple(problems)
    )  # fmt: skip


def _unread(text: str) -> Metadata:
    return Metadata(unread=text, problems=(Problem("metadata-unreadable", text),))


def _time(seconds: float | None) -> int | None:
    try:
        return None if seconds is None else parse_time(seconds)
    except ValueError:
        return None


def _number(value: object) -> float | None:
    """Return a number, as YAML or as NumPy spells it; None for anything else."""
    if isinstance(value, str):
        return _SPECIAL.get(value.lower())
    return _scalar(value) if isinstance(value, list) else as_number(value)


def _scalar(value: list[object]) -> float | None:
    """Return the value of `numpy.core.multiarray.scalar(dtype, bytes)`, from its arguments alone."""
    match value:
        case [{"args": [str(kind), *_], "state": [_, str(order), *_]}, str(text)]:
            code = _TYPES.get(kind)
        case _:
            return None
    try:
        data = base64.b64decode(text)
        if code is None or order not in {"<", ">"}:
            return None
        (number,) = struct.unpack(order + code, data)
    except (binascii.Error, ValueError, struct.error):
        return None
    return float(number)
