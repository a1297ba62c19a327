"""How fast `ckptctl verify` reads, as ratios to b3sum and sha256sum on the same files.

    python -m benchmarks.verify [ROUNDS]

Makes 4 GiB of checkpoints and a run of small files in a temporary directory ($TMPDIR says where),
all warm; commands take turns, and the medians are compared.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import CKPTCTL, Case, table

MIB = 2**20
B3SUM = ["sh", "-c", "find . -name '*.safetensors' -print0 | xargs -0 b3sum"]
SHA256SUM = ["sh", "-c", "find . -name '*.safetensors' -print0 | xargs -0 sha256sum"]
DIGEST = [*CKPTCTL, "verify", "--level", "digest", "--settle", "0s", "--json"]


def save(path: Path, size: int) -> None:
    """Write a safetensors file of one tensor of random bytes."""
    header = {"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, size, 16 * MIB):
            file.write(os.urandom(min(16 * MIB, size - begin)))


def run(root: Path, count: int, files: int, size: int) -> Path:
    """Make checkpoints that are directories of safetensors files, recorded."""
    for step in range(1, count + 1):
        folder = root / f"step_{step}"
        folder.mkdir(parents=True)
        for part in range(files):
            save(folder / f"layer_{part:02}.safetensors", size)
    subprocess.run(
        [*CKPTCTL, "verify", "--record", "--settle", "0s", "-q", "-o", "paths"],
        cwd=root,
        check=True,
    )
    return root


def cases(base: Path) -> Iterator[Case]:
    """Make the files and yield what is measured on them; targets are those of the project."""
    large = run(base / "large", 8, 2, 256 * MIB)
    what = "`verify --level digest`, 4 GiB in 16 files"
    yield Case(what, large, DIGEST, "`b3sum`", B3SUM, 1.8, 1.2)
    yield Case(what, large, DIGEST, "`sha256sum`", SHA256SUM, 0.3, 0.15)
    record = [*CKPTCTL, "verify", "--record", "--reread", "--settle", "0s", "--json"]
    what = "`verify --record --reread`, the same"
    yield Case(what, large, record, "`b3sum`", B3SUM, 1.8, 1.2)
    structure = [*CKPTCTL, "verify", "--json"]
    yield Case("`verify`, the same", large, structure, "`b3sum`", B3SUM, 0.35, 0.15)
    one = run(base / "one", 1, 1, 4096 * MIB)
    yield Case(
        "`verify --level digest`, 4 GiB in one file", one, DIGEST, "`b3sum`", B3SUM, 1.8, 1.2
    )
    small = run(base / "small", 500, 10, 4096)
    yield Case("`verify --level digest`, 5,000 small files", small, DIGEST, "`b3sum`", B3SUM, 8, 4)


if __name__ == "__main__":
    table(cases)
