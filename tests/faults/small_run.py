"""Make a small run:  python -m tests.faults.small_run DIRECTORY file|directory|group."""

from __future__ import annotations

import sys
from pathlib import Path

from ckptctl.formats._samples import torch_zip
from tests.trees import make_tree, set_age


def main(root: Path, kind: str) -> None:
    names = {
        "file": ["step_{}.pt"],
        "directory": ["step_{}/model.pt", "step_{}/sub/optim.pt"],
        "group": ["step_{}_rank0.pt", "step_{}_rank1.pt"],
    }[kind]
    for step in range(1, 9):
        made = [name.format(step) for name in names]
        make_tree(root, dict.fromkeys(made, torch_zip()))
        for name in made:
            set_age(root / name, 3600 * (20 - step))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
