"""Small runs of plain torch files as a training loop leaves them, for tests of whole commands."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from ckptctl.formats._samples import torch_zip
from tests.trees import make_tree, set_age

HOUR = 3600


def save(
    root: Path,
    losses: Mapping[int, float | None],
    *,
    metric: str = "val_ppl",
    hours_apart: float = 1,
    newest_hours_ago: float = 10,
) -> Path:
    """Write `step_N.pt` and, where there is a loss, `step_N.json`, the later steps the younger."""
    steps = sorted(losses)
    for index, step in enumerate(steps):
        tree: dict[str, bytes | str] = {f"step_{step}.pt": torch_zip()}
        loss = losses[step]
        if loss is not None:
            tree[f"step_{step}.json"] = json.dumps({"step": step, metric: loss})
        make_tree(root, tree)
        age = (newest_hours_ago + (len(steps) - 1 - index) * hours_apart) * HOUR
        for name in tree:
            set_age(root / name, age)
    return root


def steps_left(root: Path, pattern: str = "step_*.pt") -> list[int]:
    """Return the steps of the files that are there."""
    return sorted(int(path.stem.rsplit("_", 1)[1]) for path in root.glob(pattern))


def names_left(root: Path) -> list[str]:
    """Return the names in a run's directory, but for our own state in it."""
    return sorted(path.name for path in root.iterdir() if path.name != ".ckptctl")


def touch(paths: Iterable[Path]) -> None:
    """Make files look as if they were written this moment."""
    for path in paths:
        now = time.time()
        os.utime(path, (now, now))
