"""How long a decision takes, and that it grows with the number of checkpoints and no faster.

    python -m benchmarks.decide

Prints seconds for 10,000, 50,000 and 100,000 checkpoints, and the ratio of 50,000 to 10,000 (5 is
linear), for runs of different shapes: one family, a model with its optimizer, a hundred trainings
side by side, and checkpoints whose names have nothing in common.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ckptctl.decide import decide
from ckptctl.decision import Context
from ckptctl.listing import Entry
from ckptctl.model import NS, Checkpoint, Kind, Run, State
from ckptctl.rules._base import RULES, Metric, Mode, Rule

NOW = 1_800_000_000 * NS
FAMILIES = {
    "one family": 1,
    "model and optimizer": 2,
    "a hundred trainings": 100,
    "nothing in common": 10**9,
}
KEEP = {"last": 3, "best": 2, "every": 10_000, "hourly": 6, "daily": 7, "weekly": 4}


def run_of(count: int, families: int, chance: random.Random) -> Run:
    """Make a run of so many checkpoints in so many families, in no order."""
    checkpoints = []
    for index in range(count):
        which, step = index % families, 500 * (index // families)
        trained = families == 1 or (which == 0 if families == 2 else True)  # noqa: PLR2004 - an optimizer has no loss
        checkpoints.append(_checkpoint(which, step, count, chance.random() if trained else None))
    chance.shuffle(checkpoints)
    return Run(name="run", location="/run", path="", checkpoints=tuple(checkpoints))


def _checkpoint(which: int, step: int, count: int, loss: float | None) -> Checkpoint:
    name = f"f{which}_{step}"
    saved_ns = NOW - (count * 500 - step) * NS
    return Checkpoint(
        run="run",
        name=name,
        path=f"/run/{name}.pt",
        member=f"{name}.pt",
        format="torch-file",
        kind=Kind.FILE,
        family=f"f{which}_#.pt",
        step=step,
        epoch=None,
        saved_ns=saved_ns,
        changed_ns=saved_ns,
        stated=False,
        bytes=1,
        files={f"{name}.pt": Entry(1, saved_ns)},
        folders=(),
        key_file=f"{name}.pt",
        sidecars=(),
        state=State.COMPLETE,
        metrics={} if loss is None else {"loss": loss},
    )


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest of three times: the others measure what else the machine did."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure and print."""
    rules = [RULES[key].make(value, Metric("loss", Mode.MIN)) for key, value in KEEP.items()]
    print(f"{'':22}{'10,000':>10}{'50,000':>10}{'100,000':>10}{'50:10':>8}")
    for title, families in FAMILIES.items():
        times = [measured(count, families, rules) for count in (10_000, 50_000, 100_000)]
        ratio = times[1] / times[0]
        print(f"{title:22}" + "".join(f"{t:9.2f}s" for t in times) + f"{ratio:8.1f}")


def measured(count: int, families: int, rules: Sequence[Rule]) -> float:
    """Return the seconds of one decision; a pin in the middle makes siblings work too."""
    run = run_of(count, min(families, count), random.Random(count))  # noqa: S311 - no secret
    pinned = tuple(
        replace(c, pinned=True) if index % 10 == 0 else c for index, c in enumerate(run.checkpoints)
    )
    run = replace(run, checkpoints=pinned)
    gc.collect()
    gc.freeze()  # what is measured is the decision, not the collector walking the listing
    return seconds(lambda: decide(run, rules, Context(NOW)))


if __name__ == "__main__":
    main()
