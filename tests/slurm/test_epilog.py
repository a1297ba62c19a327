"""examples/slurm on a real cluster: what the epilogs keep, and that no node is ever drained by them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import torch_zip
from tests.saved import steps_left
from tests.slurm.cluster import NODES, Cluster, example

POLICY = 'version: 1\nruns: [{match: "**", policy: own}]\npolicies: {own: {keep: [{last: 2}]}}\n'


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where the epilogs log: only root looks in there."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def run(cluster: Cluster, request: pytest.FixtureRequest) -> Path:
    """A directory of the user's that jobs are submitted from, with a policy and no checkpoint."""
    folder = cluster.scratch / str(request.node.name).partition("[")[0]
    folder.mkdir(exist_ok=True)
    (folder / "ckptctl.yaml").write_text(POLICY)
    (folder.parent / "whole.pt").write_bytes(torch_zip())
    for path in (folder, folder / "ckptctl.yaml"):
        os.chown(path, cluster.uid, cluster.uid)
    return folder


SAVE = """
run=node$((SLURM_PROCID + 1)); mkdir -p $run
for n in 1 2 3 4; do
    for at in $run shared; do
        mkdir -p $at; step=$at/step_$((n * 10 + SLURM_PROCID)).pt
        cp ../whole.pt $step.new; touch -d "-$(((5 - n) * 60 - SLURM_PROCID)) minutes" $step.new; mv $step.new $step
    done
done
"""
"""Each task saves four checkpoints to a run of its own, and four to one that all share; the highest step last."""


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _works(cluster: Cluster) -> None:
    """No node is drained: each runs a job."""
    assert cluster.srun("-N3", "-t1", "--immediate=30", "true").code == 0
    assert cluster.drained() == ""


def test_the_epilogs_of_three_nodes_prune_as_the_user(
    cluster: Cluster, run: Path, logs: Path
) -> None:
    cluster.script("epilog", example("epilog.sh", {"ckptctl": cluster.program, "logs": logs}))
    done = cluster.srun("-N3", "sh", "-c", SAVE, cwd=run)
    assert done.code == 0, done.stderr
    assert {node: steps_left(run / node) for node in NODES} == {
        "node1": [30, 40], "node2": [31, 41], "node3": [32, 42],
    }  # fmt: skip
    assert steps_left(run / "shared") == [41, 42]
    owners = {path.lstat().st_uid for path in run.rglob("*")}
    assert owners == {cluster.uid}
    said = (logs / "epilog.log").read_text().splitlines()
    assert len(said) == 3, said
    assert all(line.endswith(": prune ended with 0") for line in said), said
    gone = [line for line in _lines(logs / "epilog.jsonl") if line["status"] == "done"]
    assert len({line["path"] for line in gone}) == len(gone) == 3 * 2 + 12 - 2
    (job,) = {line["slurm_job_id"] for line in gone}
    assert f" job {job} of {cluster.user} on node" in said[0]
    assert {line["user"] for line in gone} == {cluster.user}
    assert {line["host"] for line in gone} <= set(NODES)
    _works(cluster)


def test_the_site_keeps_its_hands_off_a_run_without_a_policy(
    cluster: Cluster, run: Path, logs: Path
) -> None:
    (run / "ckptctl.yaml").unlink()
    cluster.script("epilog", example("epilog.sh", {"ckptctl": cluster.program, "logs": logs}))
    assert cluster.srun("-N1", "sh", "-c", SAVE, cwd=run).code == 0
    assert steps_left(run / "node1") == [10, 20, 30, 40]
    assert "prune ended with 2" in (logs / "epilog.log").read_text()
    _works(cluster)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("#!/bin/sh\necho something is wrong >&2; exit 1\n", 1),
        ("#!/bin/sh\nkill -SEGV $$\n", 139),
        ("#!/bin/sh\nsleep 1000\n", 124),
        ("#!/bin/sh\ntrap '' TERM; sleep 1000 & wait; sleep 1000\n", 137),
        ("#!/bin/sh\nyes | head -c 10000000; yes | head -c 1000000 >&2; cat; exit 3\n", 3),
        (None, 127),
    ],
    ids=["fails", "crashes", "hangs", "will not end", "talks and asks", "is missing"],
)
def test_no_node_is_drained_by_a_ckptctl_that(
    cluster: Cluster, run: Path, logs: Path, program: str | None, code: int
) -> None:
    where = logs / "ckptctl"
    if program is not None:
        where.write_text(program)
        where.chmod(0o755)
    limit = "2" if code in {124, 137} else "60"
    settings: dict[str, str | Path] = {"ckptctl": where, "logs": logs, "limit": limit}
    cluster.script("epilog", example("epilog.sh", settings))
    assert cluster.srun("-N3", "sh", "-c", SAVE, cwd=run).code == 0
    assert steps_left(run / "node1") == [10, 20, 30, 40]
    assert (logs / "epilog.log").read_text().count(f"prune ended with {code}\n") == 3
    cluster.no_scripts()
    _works(cluster)


def test_no_node_is_drained_where_the_log_cannot_be_written_and_the_run_is_pruned_all_the_same(
    cluster: Cluster, run: Path, logs: Path
) -> None:
    cluster.script(
        "epilog", example("epilog.sh", {"ckptctl": cluster.program, "logs": logs / "none"})
    )
    assert cluster.srun("-N1", "sh", "-c", SAVE, cwd=run).code == 0
    assert steps_left(run / "node1") == [30, 40]
    _works(cluster)


def test_a_long_copy_goes_on_behind_an_epilog_that_has_ended(
    cluster: Cluster, run: Path, logs: Path
) -> None:
    go, slow = logs / "go", logs / "ckptctl"
    slow.write_text(
        f'#!/bin/sh\n[ $1 = prune ] || until [ -e {go} ]; do sleep 0.1; done\nexec {cluster.program} "$@"\n'
    )
    slow.chmod(0o755)
    local = cluster.dir / "slurm" / "local"
    settings = {"ckptctl": slow, "logs": logs, "nvme": local}
    cluster.script("epilog", example("epilog.sh", settings))
    place = f"{local}/{cluster.user}/{cluster.name_of(run)}"
    shards = f"mkdir -p {place} && cp -p ../whole.pt {place}/step_$((SLURM_PROCID + 1)).pt"
    assert cluster.srun("-N2", "sh", "-c", shards, cwd=run).code == 0
    _works(cluster)  # and that job's epilog has nothing to copy to where it was submitted
    assert steps_left(run) == []
    go.touch()
    cluster.until(lambda: steps_left(run) == [1, 2], "the copies of both nodes")
    assert {path.lstat().st_uid for path in run.rglob("*")} == {cluster.uid}
    assert cluster.drained() == ""


def test_a_task_epilog_prunes_once_and_never_fails_the_job(cluster: Cluster, run: Path) -> None:
    cluster.script("task-epilog", example("task-epilog.sh", {"ckptctl": cluster.program}))
    done = cluster.srun("-N3", "sh", "-c", SAVE, cwd=run)
    assert done.code == 0, done.stderr
    assert steps_left(run / "node1") == [30, 40]
    cluster.script("task-epilog", example("task-epilog.sh", {"ckptctl": "/nonexistent/ckptctl"}))
    done = cluster.srun("-N3", "true", cwd=run)
    assert done.code == 0, done.stderr
    assert (done.stdout + done.stderr).count("ckptctl prune ended with 127") == 1


def test_the_controllers_epilog_only_notes_where_the_job_was(
    cluster: Cluster, run: Path, logs: Path
) -> None:
    ended = logs / "ended"
    cluster.script("epilog-slurmctld", example("epilog-slurmctld.sh", {"ended": ended}))
    assert cluster.srun("-N1", "sh", "-c", SAVE, cwd=run).code == 0
    cluster.until(ended.exists, "the note of the job")
    assert ended.read_text().rstrip().endswith(f" {cluster.user} {run}")
    assert steps_left(run / "node1") == [10, 20, 30, 40]
