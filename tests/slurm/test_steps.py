"""Who has a part, and who is all there is: what SLURM says of all that a job is made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.slurm.cluster import Cluster
from tests.trees import make_tree

JOB = """#!/bin/bash
#SBATCH -N2 -n4 -o said
sync() { to=$1; shift; "$@" ckptctl sync run "to/$to" --json $more; }
sync batch
sync four srun
sync one srun -N1 -n1
sync two srun -N2 -n2 --overlap
srun -N2 -n2 bash -c '[ $SLURM_PROCID = 0 ] || sbatch -W -N2 -n2 -o inner inner'
"""
INNER = """#!/bin/bash
ckptctl sync run to/inner --json
"""
"""Submitted by a task, whose variables sbatch hands on."""

HETEROGENEOUS = """#!/bin/bash
#SBATCH -N1 -n1 -o said
#SBATCH hetjob
#SBATCH -N2 -n2
sync() { to=$1; shift; "$@" ckptctl sync run "to/$to" --json $more; }
sync batch
sync first srun
sync both srun --het-group=0,1
more='--part node'
sync nodes
sync nodes srun --het-group=1
"""


@pytest.fixture
def folder(cluster: Cluster, request: pytest.FixtureRequest) -> Path:
    """A directory of the user's on the shared file system, with a checkpoint in its run."""
    name = str(request.node.name)
    tree: dict[str, bytes | str] = {
        "run/step_1.pt": torch_zip(),
        "job": JOB,
        "inner": INNER,
        "het": HETEROGENEOUS,
    }
    return cluster.give(make_tree(cluster.scratch / name, tree, age=7200))


def _said(output: Path) -> dict[str, list[str]]:
    """What became of the checkpoint in each call, by the destination's name."""
    found: dict[str, list[str]] = {}
    results = r'"path": "[^"]*/to/(\w+)/step_1[^"]*"[^}]*"status": "(\w+)"'
    for name, status in re.findall(results, output.read_text()):
        found.setdefault(name, []).append("done" if status == "done" else "part or equal")
    return {name: sorted(each) for name, each in found.items()}


def _shared(callers: int) -> list[str]:
    return ["done", *["part or equal"] * (callers - 1)]


def test_only_the_tasks_of_a_step_have_parts(cluster: Cluster, folder: Path) -> None:
    cluster.sbatch("job", cwd=folder)
    cluster.settle()
    assert _said(folder / "said") == {
        "batch": ["done"], "four": _shared(4), "one": ["done"], "two": _shared(2),
    }, (folder / "said").read_text()  # fmt: skip
    assert _said(folder / "inner") == {"inner": ["done"]}, (folder / "inner").read_text()


def test_components_of_a_heterogeneous_job_count_together(cluster: Cluster, folder: Path) -> None:
    cluster.sbatch("het", cwd=folder)
    cluster.settle()
    assert _said(folder / "said") == {
        "batch": ["done"], "first": ["done"], "both": _shared(3), "nodes": _shared(3),
    }, (folder / "said").read_text()  # fmt: skip
