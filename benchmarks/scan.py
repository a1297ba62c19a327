"""How long `ckptctl list` takes, as ratios to find, rclone and bare Python measured in the same run.

    python -m benchmarks.scan [ROUNDS]

Makes its files in a temporary directory ($TMPDIR says where), all warm; commands take turns, and
the medians are compared.  Prints a table in Markdown, as docs/benchmarks.md has it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import CKPTCTL, PYTHON, Case, table
from ckptctl.formats._samples import torch_zip

FIND = ["find", "-printf", r"%s %T@ %p\n"]
BARE_LOOP = """
import json, os
for entry in os.scandir("."):
    if entry.name.endswith(".json"):
        fd = os.open(entry.name, os.O_RDONLY)
        json.loads(os.read(fd, 1 << 20))
        os.close(fd)
"""


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


if __name__ == "__main__":
    table(cases)
