"""A small training: steps forward, a loss, and a checkpoint every ten steps.

Called with the run's directory and a file in which it notes each step whose save is over.  It
resumes from the newest, as a trainer does, and writes in small parts, so that it can die in the
middle of a save; SIGTERM ends it between two.  Where torch is installed it trains a model and saves with `torch.save`; else
it writes files of the same form.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ckptctl.formats._samples import torch_zip

Model = Callable[[int], tuple[float, bytes]]
"""Trains up to a step; returns the loss there and what is to be saved."""


def plain(step: int) -> tuple[float, bytes]:
    """Make a loss that falls and rises, and a file as torch writes it."""
    loss = 2.0 + math.cos(step / 130) + 30 / step
    return loss, torch_zip({"data/0": bytes([step % 251]) * (64 << 10)})


def with_torch(before: Path | None) -> Model:
    """Return a training of a small model with torch, from a checkpoint on if there is one."""
    torch: Any = importlib.import_module("torch")
    torch.manual_seed(1)
    model = torch.nn.Linear(64, 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    if before is not None:
        saved = torch.load(before, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])

    def train(step: int) -> tuple[float, bytes]:
        inputs = torch.randn(32, 64)
        for _ in range(10):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(inputs), inputs.flip(1))
            loss.backward()
            optimizer.step()
        whole = io.BytesIO()
        states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        torch.save(states, whole)
        return float(loss), whole.getvalue()

    return train


def note(step: int, loss: float, promised: Path) -> None:
    """Note that a save is over, and which loss it had."""
    with promised.with_name("losses").open("a") as stream:
        stream.write(json.dumps({"step": step, "loss": loss}) + "\n")
    with promised.open("a") as stream:
        stream.write(f"{step}\n")
        stream.flush()
        os.fsync(stream.fileno())


def newest(run: Path, promised: Path) -> int:
    """Return the newest step, which is noted where it was killed between the save and that."""
    noted = [0, *(int(line) for line in promised.read_text().split())]
    saved = max((int(path.stem[5:]) for path in run.glob("step_*.pt")), default=0)
    if saved > max(noted):
        note(saved, json.loads((run / f"step_{saved}.json").read_text())["loss"], promised)
    return max(saved, *noted)


def main(run: Path, promised: Path) -> None:
    """Train until it is told to end."""
    run.mkdir(exist_ok=True)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    step = newest(run, promised)
    model: Model = plain
    if importlib.util.find_spec("torch") is not None:
        model = with_torch(run / f"step_{step}.pt" if step else None)
    while not told:
        step += 10
        loss, data = model(step)
        name = f"step_{step}.pt"
        part = run / f"{name}.part"
        with part.open("wb") as stream:
            for at in range(0, len(data), 16 << 10):
                stream.write(data[at : at + (16 << 10)])
                stream.flush()
                time.sleep(0.02)
        (run / f"step_{step}.json").write_text(json.dumps({"step": step, "loss": loss}))
        part.rename(run / name)
        note(step, loss, promised)
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
