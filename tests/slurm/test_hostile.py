"""A user who swaps directories for links while an epilog of root prunes them loses nobody else's file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.saved import save
from tests.slurm.cluster import Cluster, example
from tests.trees import make_tree, read_tree, set_age

POLICY = 'version: 1\nruns: [{match: "**", policy: own}]\npolicies: {own: {keep: [{last: 1}]}}\n'
SWAPS = """
import os, shutil, sys
place, victim = sys.argv[1:]
os.chdir(place)
whole = open("whole.pt", "rb").read()

def fill():
    for step in range(1, 7):
        os.makedirs(f"run/step_{step}0", exist_ok=True)
        for path in (f"run/step_{step}.pt", f"run/step_{step}0/model.pt"):
            open(path, "wb").write(whole)
            os.utime(path, (1e9 + step, 1e9 + step))
        os.utime(f"run/step_{step}0", (1e9 + step, 1e9 + step))

def swapped(name, target):
    # one name for both, in turn, for a moment each
    if os.path.islink(name) or not os.path.exists(name):
        return
    os.rename(name, name + ".mine")
    os.symlink(target, name)
    open("../swaps", "a").write(".")
    for _ in range(200):
        os.path.lexists(name)
    os.unlink(name)
    os.rename(name + ".mine", name)

rounds = 0
while not os.path.exists("../stop"):
    try:
        rounds += 1
        if rounds % 50 == 1:
            fill()
        swapped("run", victim)
        swapped(f"run/step_{rounds % 6 + 1}0", f"{victim}/step_{rounds % 6 + 1}0")
        swapped(".ckptctl", victim)
        swapped(".ckptctl/run", f"{victim}/.ckptctl")
        if rounds % 2:
            swapped("../" + os.path.basename(place), os.path.dirname(victim))
    except OSError:
        # the epilog was faster: what is where is found out anew
        for name in ("run", ".ckptctl", ".ckptctl/run"):
            if os.path.islink(name):
                os.unlink(name)
            if os.path.isdir(name + ".mine") and not os.path.lexists(name):
                os.rename(name + ".mine", name)
"""


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Path]:
    """A directory of the user's, in one where he may rename it."""
    folder = cluster.scratch / "hostile"
    folder.mkdir()
    (folder / "ckptctl.yaml").write_text(POLICY)
    (folder / "whole.pt").write_bytes(torch_zip())
    (folder / "swaps.py").write_text(SWAPS)
    for path in (folder, *folder.iterdir()):
        os.chown(path, cluster.uid, cluster.uid)
    yield folder
    (cluster.scratch / "stop").touch()


@pytest.fixture
def victim(cluster: Cluster) -> Path:
    """Another's run, which everyone may read: the very names that the user's own run has."""
    root = save(cluster.dir / "victim" / "run", dict.fromkeys(range(1, 7)))
    (root.parent / "ckptctl.yaml").write_text(POLICY)
    tree = {f"step_{step}0/model.pt": torch_zip() for step in range(1, 7)}
    make_tree(root, {**tree, ".ckptctl/run/state.json": "{}"})
    set_age(root, 7200)
    return root


def test_links_in_the_place_of_directories_lead_an_epilog_nowhere(
    cluster: Cluster, place: Path, victim: Path, tmp_path: Path
) -> None:
    before = read_tree(victim.parent)
    python = cluster.program.read_text().split(" -P ")[0].split()[-1]
    epilog = example(
        "epilog.sh", {"ckptctl": cluster.program, "logs": tmp_path, "limit": "20", "nvme": ""}
    )
    swapper = cluster.sbatch("-N1", "-wnode1", "--wrap", f"{python} -E -S swaps.py {place} {victim}", cwd=place)  # fmt: skip
    swaps = cluster.scratch / "swaps"  # `place` may be a link when it is stopped
    cluster.until(lambda: _size(swaps) > 0, "the first swap")
    cluster.script("epilog", epilog)
    begun, jobs, actions = time.monotonic(), 0, tmp_path / "epilog.jsonl"
    # Where the machine is slow there are few jobs, and the swaps leave no prune the time to delete anything.
    while (past := time.monotonic() - begun) < 8 or (
        past < 120 and not (jobs > 3 and _deleted(actions) and _size(swaps) > 100)
    ):
        done = cluster.run("srun", "-N2", "-xnode1", f"--chdir={place}", "true", cwd=cluster.scratch)  # fmt: skip
        jobs += done.code == 0
    cluster.script("epilog", "#!/bin/sh\nexit 0\n")
    assert cluster.state(swapper) == "RUNNING"
    assert cluster.run("scancel", swapper).code == 0
    cluster.settle()
    log = (tmp_path / "epilog.log").read_text()
    assert log.count("prune ended with") >= 2 * (jobs - 1) > 4  # the last may have met the new one
    assert _deleted(actions), log[-3000:]
    assert _size(swaps) > 100
    assert read_tree(victim.parent) == before
    assert {path.lstat().st_uid for path in victim.parent.rglob("*")} == {0}
    assert cluster.drained() == ""


def _deleted(log: Path) -> bool:
    return log.exists() and '"status": "done"' in log.read_text()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
