"""The cluster itself: what the other tests here take for granted."""

from __future__ import annotations

from tests.slurm.cluster import NODES, Cluster


def test_a_step_runs_on_three_nodes_as_the_user_who_can_run_ckptctl(cluster: Cluster) -> None:
    done = cluster.srun("-N3", "sh", "-c", "hostname; id -un; ckptctl --version")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(NODES) < set(lines)
    assert lines.count(cluster.user) == 3
    assert sum(line.startswith("ckptctl ") for line in lines) == 3


def test_an_epilog_that_fails_drains_its_nodes_and_these_tests_would_see_it(
    cluster: Cluster,
) -> None:
    cluster.script("epilog", "#!/bin/sh\nexit 7\n")
    assert cluster.srun("-N2", "true").code == 0
    cluster.until(lambda: "Epilog error" in cluster.drained(), "drained nodes")
