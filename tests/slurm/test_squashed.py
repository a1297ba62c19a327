"""Epilogs where root is nobody on the users' file system: it may not even look at what it is to prune."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.saved import steps_left
from tests.slurm.cluster import NODES, Cluster, example
from tests.trees import make_tree

JOB = """
cd {folder} || exit 1  # SLURM itself cannot: it is root yet when it goes there
run=node$((SLURM_PROCID + 1)); local={local}/{user}{folder}; mkdir -p $run $local
for n in 1 2 3 4; do cp {whole} $run/step_$n.pt; touch -d "-$((5 - n)) hours" $run/step_$n.pt; done
cp -p $run/step_4.pt $local/step_$SLURM_PROCID.pt
"""


@pytest.fixture
def squashed(cluster: Cluster) -> Path:
    """A directory of the user's on such a file system, with a policy, as the nodes see it."""
    folder, lacking = cluster.squash()
    if lacking:
        pytest.skip(lacking)  # no server of a root-squashed NFS runs in a test either
    policy = (
        'version: 1\nruns: [{match: "**", policy: own}]\npolicies: {own: {keep: [{last: 2}]}}\n'
    )
    cluster.give(make_tree(cluster.dir / "behind" / "job", {"ckptctl.yaml": policy}))
    return folder / "job"


def test_epilogs_prune_and_copy_as_the_user_where_root_may_not_look(
    cluster: Cluster, squashed: Path, tmp_path: Path
) -> None:
    whole = cluster.scratch / "whole.pt"
    whole.write_bytes(torch_zip())
    settings = {"ckptctl": cluster.program, "logs": tmp_path, "nvme": cluster.local}
    text = example("epilog.sh", settings)
    looked = f'#!/bin/sh\nls "$SLURM_JOB_WORK_DIR" >>{tmp_path}/seen 2>>{tmp_path}/denied\n'
    cluster.script("epilog", looked + text.partition("\n")[2])
    job = JOB.format(folder=squashed, local=cluster.local, user=cluster.user, whole=whole)
    for node in NODES:
        cluster.give(make_tree(cluster.disk(node) / cluster.user, {}))
    done = cluster.srun("-N3", f"--chdir={squashed}", "sh", "-c", job)
    assert done.code == 0, done.stderr
    assert (tmp_path / "seen").read_text() == ""
    assert (tmp_path / "denied").read_text().count("Permission denied") == 3
    behind = cluster.dir / "behind" / "job"
    assert [steps_left(behind / node) for node in NODES] == [[3, 4]] * 3
    cluster.until(lambda: steps_left(behind) == [0, 1, 2], "the copies of all nodes")
    assert {path.lstat().st_uid for path in behind.rglob("*")} == {cluster.uid}
    assert cluster.drained() == ""
