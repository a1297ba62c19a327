"""How long `ckptctl prune` takes to delete, as ratios to `rm` of the same files in the same run.

    python -m benchmarks.prune [ROUNDS]

Makes its files anew for each call in a temporary directory ($TMPDIR says where) and brings them to
the disk first; the two take turns, and the medians are compared.  Prints a table in Markdown, as
docs/benchmarks.md has it.  `rm` asks nothing, notes nothing and cannot be resumed, so a ratio says
what the promises of a prune cost for small files; large ones take as long to free as they take.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ckptctl.formats._samples import torch_zip

ROUNDS = 3
COUNTS = (2_000, 20_000)
DAY = 86_400
SCRIPT = Path(sys.executable).with_name("ckptctl")
CKPTCTL = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "ckptctl"]
PRUNE = [*CKPTCTL, "prune", ".", "--keep-last", "3", "--yes", "--json"]
RM = "find . -name 'step_*' -print0 | xargs -0 rm"


def make(root: Path, count: int) -> None:
    """Make single-file checkpoints, each with a sidecar, saved some days ago."""
    root.mkdir()
    content = torch_zip()
    began = time.time() - 30 * DAY
    for step in range(1, count + 1):
        sidecar = json.dumps({"step": step, "val_ppl": 10 + 1 / step})
        for path, data in (("pt", content), ("json", sidecar.encode())):
            file = root / f"step_{step}.{path}"
            file.write_bytes(data)
            os.utime(file, (began + step, began + step))
    os.sync()


def seconds(base: Path, count: int, command: list[str], left: int) -> float:
    """Return the wall time of one call on files made for it; `left` of these must remain."""
    root = base / "run"
    make(root, count)
    began = time.perf_counter()
    subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=True)
    taken = time.perf_counter() - began
    if len(list(root.glob("step_*.pt"))) != left:
        raise SystemExit(f"{' '.join(command)}: not what was to be deleted is gone")
    shutil.rmtree(base)
    base.mkdir()
    return taken


def row(base: Path, count: int, rounds: int) -> str:
    """Measure one number of files, the two commands in turn, and return its line of the table."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(base, count, PRUNE, left=3))
        theirs.append(seconds(base, count, ["sh", "-c", RM], left=0))
    one, two = statistics.median(ours), statistics.median(theirs)
    cells = [
        f"`prune`, {count:,} with sidecars", "`rm`", f"{one * 1e3:.0f} ms", f"{two * 1e3:.0f} ms",
        f"**{one / two:.2f}**", f"{one / count * 1e3:.2f} ms",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main(say: Callable[[str], None]) -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody installs without compiled files
    os.environ.update(HOME=os.devnull, XDG_CONFIG_HOME=os.devnull)
    say("| work | peer | ckptctl | peer | ratio | each |")
    say("|---|---|---|---|---|---|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory(prefix="ckptctl-bench-") as base:
            inner = Path(base) / "work"
            inner.mkdir()
            say(row(inner, count, rounds))


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))
