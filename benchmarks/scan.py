"""How long `ckptctl list` takes, as ratios to find, rclone and bare Python measured in the same run.

    python benchmarks/scan.py [ROUNDS]

Makes its files in a temporary directory ($TMPDIR says where), all warm; commands take turns, and
the medians are compared.  Prints a table in Markdown, as docs/benchmarks.md has it.
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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ckptctl.formats._samples import torch_zip

ROUNDS = 5
PYTHON = [sys.executable, "-c"]
SCRIPT = Path(sys.executable).with_name("ckptctl")
CKPTCTL = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "ckptctl"]
FIND = ["find", "-printf", r"%s %T@ %p\n"]
BARE_LOOP = """
import json, os
for entry in os.scandir("."):
    if entry.name.endswith(".json"):
        fd = os.open(entry.name, os.O_RDONLY)
        json.loads(os.read(fd, 1 << 20))
        os.close(fd)
"""


class Case(NamedTuple):
    """One command measured against another, in one directory; the first target must, the second should be met."""

    what: str
    folder: Path
    command: list[str]
    peer_name: str
    peer: list[str]
    must: float
    reach: float


def sidecars(root: Path, count: int) -> Path:
    """Make single-file checkpoints, each with a sidecar."""
    root.mkdir()
    content = torch_zip()
    for step in range(1, count + 1):
        (root / f"step_{step}.pt").write_bytes(content)
        said = {"step": step, "val_ppl": 10 + 1 / step, "metrics": {"loss": 1 / step}}
        (root / f"step_{step}.json").write_text(json.dumps(said))
    return root


def folders(root: Path, count: int, files: int) -> Path:
    """Make checkpoints that are directories of tensor files."""
    for step in range(1, count + 1):
        folder = root / f"step_{step}"
        folder.mkdir(parents=True)
        for layer in range(files):
            (folder / f"layer_{layer:02}.pt").write_bytes(b"x")
    return root


def cases(base: Path) -> Iterator[Case]:
    """Make the files and yield what is measured on them; targets are those of the project."""
    small = sidecars(base / "small", 5)
    bare = ("bare Python", [*PYTHON, "pass"])
    yield Case("`--version`", small, [*CKPTCTL, "--version"], *bare, 2.0, 1.3)
    yield Case("`--help`", small, [*CKPTCTL, "--help"], *bare, 9, 6.5)
    yield Case("`list`, 5 checkpoints", small, [*CKPTCTL, "list"], *bare, 11, 7.5)
    listing = [*CKPTCTL, "list", "--json"]
    many = sidecars(base / "sidecars", 20_000)
    loop = ("bare read-and-parse loop", [*PYTHON, BARE_LOOP])
    yield Case("`list --json`, 20,000 with sidecars", many, listing, *loop, 4.8, 2.8)
    deep = folders(base / "folders", 2_000, 50)
    what = "`list --json`, 2,000 directories of 50 files"
    yield Case(what, deep, listing, "`find -printf`", FIND, 4.5, 3.0)
    if shutil.which("rclone"):
        rclone = ["rclone", "lsjson", "-R", "."]
        yield Case(what, deep, listing, "`rclone lsjson -R`", rclone, 1.2, 0.7)
    prune = [*CKPTCTL, "prune", "--dry-run", "--json", "--keep-last", "3", "--keep-best", "5"]
    prune += ["--metric", "val_ppl:min", "--keep-every", "1000"]
    yield Case("`prune --dry-run --json`, the same 20,000", many, prune, *loop, 4.5, 2.8)


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


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody installs without compiled files
    os.environ.update(HOME=os.devnull, XDG_CONFIG_HOME=os.devnull, RCLONE_CONFIG="")
    with tempfile.TemporaryDirectory(prefix="ckptctl-bench-") as base:
        print("| work | peer | ckptctl | peer | ratio | must stay below / worth reaching |")
        print("|---|---|---|---|---|---|")
        for case in cases(Path(base)):
            print(row(case, rounds), flush=True)


if __name__ == "__main__":
    main()
