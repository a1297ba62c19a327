"""A small sample run, as a training loop would have left it this minute; for `ckptctl demo`."""

from __future__ import annotations

import json
import math
import os

from ckptctl.errors import UsageError
from ckptctl.formats._samples import torch_zip
from ckptctl.model import NS

RUN = "tiny-llm"
"""The run's directory in the demo's, so that ckptctl's own records find a place beside it."""

_VAL_PPL = (31.4, 22.9, 17.6, 12.1, math.nan, 13.2, 11.8, 12.6)
_STEPS = 1000
_HOUR_NS = 3600 * NS
_WEIGHTS = {"data/0": bytes(200_000)}


def make_run(directory: str, now_ns: int) -> str:
    """Make the sample run in a new or empty directory and return the run's path.

    Eight checkpoints of an hour each, the last one an hour old; the best once more as `best.pt`;
    a ninth that is being written (so it is torn); and a file that is none.  UsageError where the
    directory holds something, or cannot be made.
    """
    run = os.path.join(directory, RUN)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if os.listdir(directory):
            raise UsageError(
                f"{directory}: is not empty; nothing was changed", "name a directory that is new"
            )
        os.mkdir(run, mode=0o755)
    except OSError as error:
        raise UsageError(
            f"{directory}: the sample run cannot be made there ({error.strerror})",
            "name another directory",
        ) from error
    whole = torch_zip(_WEIGHTS)
    best = min(ppl for ppl in _VAL_PPL if math.isfinite(ppl))
    for number, ppl in enumerate(_VAL_PPL, start=1):
        name, step = f"step_{number * _STEPS}", number * _STEPS
        saved_ns = now_ns - (len(_VAL_PPL) + 1 - number) * _HOUR_NS
        sidecar = json.dumps({"step": step, "val_ppl": ppl}).encode()
        _write(os.path.join(run, f"{name}.pt"), whole, saved_ns)
        _write(os.path.join(run, f"{name}.json"), sidecar, saved_ns)
        if ppl == best:
            _write(os.path.join(run, "best.pt"), whole, saved_ns)
    torn = whole[: len(whole) * 2 // 3]
    _write(os.path.join(run, f"step_{(len(_VAL_PPL) + 1) * _STEPS}.pt"), torn, now_ns - 20 * NS)
    _write(os.path.join(run, "train.log"), b"step 9000: saving ...\n", now_ns - 20 * NS)
    return run


def _write(path: str, content: bytes, saved_ns: int) -> None:
    """Write a file as if it had been saved at that time."""
    with open(path, "xb") as file:
        file.write(content)
    os.utime(path, ns=(saved_ns, saved_ns))
