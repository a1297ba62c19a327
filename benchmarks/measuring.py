"""Two commands in turn on the same files, warm, and the ratio of their medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROUNDS = 5
PYTHON = [sys.executable, "-c"]
SCRIPT = Path(sys.executable).with_name("ckptctl")
CKPTCTL = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "ckptctl"]


class Case(NamedTuple):
    """One command measured against another, in one directory; the first target must, the second should be met."""

    what: str
    folder: Path
    command: list[str]
    peer_name: str
    peer: list[str]
    must: float
    reach: float


def seconds(command: list[str], folder: Path) -> float:
    """Return the wall time of one call."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def row(case: Case, rounds: int) -> str:
    """Measure one case, the two commands in turn, and return its line of the table."""
    ours, theirs = [], []
    for _ in range(rounds + 1):
        ours.append(seconds(case.command, case.folder))
        theirs.append(seconds(case.peer, case.folder))
    one, two = statistics.median(ours[1:]), statistics.median(theirs[1:])
    cells = [
        case.what, case.peer_name, f"{one * 1e3:.0f} ms", f"{two * 1e3:.0f} ms",
        f"**{one / two:.2f}**", f"{case.must} / {case.reach}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(cases: Callable[[Path], Iterator[Case]]) -> None:
    """Print a table in Markdown, as docs/benchmarks.md has it; the argument of the program is the rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody installs without compiled files
    os.environ.update(HOME=os.devnull, XDG_CONFIG_HOME=os.devnull, RCLONE_CONFIG="")
    with tempfile.TemporaryDirectory(prefix="ckptctl-bench-") as base:
        print("| work | peer | ckptctl | peer | ratio | must stay below / worth reaching |")
        print("|---|---|---|---|---|---|")
        for case in cases(Path(base)):
            print(row(case, rounds), flush=True)
