"""One run that many reach at once: tasks on several nodes, their epilogs, and cron on the login node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.saved import save, steps_left
from tests.slurm.cluster import Cluster, example
from tests.trees import make_tree

TIERS = """version: 1
tiers: {{fast: {{url: {folder}/fast}}, slow: {{url: {folder}/slow}}}}
runs: [{{match: "**", policy: own}}]
policies:
  own:
    keep: [{{last: 100}}]
    tiers: {{fast: {{keep: [{{last: 2}}], copy_to: slow}}}}
"""
SAVE = """
for n in 1 2 3; do
    step=fast/run/step_$(((SLURM_JOB_ID * 3 + n) * 10 + SLURM_PROCID)).pt
    cp whole.pt $step.new && mv $step.new $step
    sleep 0.2
done
"""


@pytest.fixture
def folder(cluster: Cluster, request: pytest.FixtureRequest) -> Path:
    """A directory of the user's that all nodes see."""
    return cluster.give(make_tree(cluster.scratch / str(request.node.name), {}))


def test_nine_tasks_of_three_nodes_prune_one_run_at_once(cluster: Cluster, folder: Path) -> None:
    save(folder / "run", dict.fromkeys(range(1, 31)))
    cluster.give(folder)
    prune = "exec ckptctl prune run --keep-last 2 -q --lock-wait 60s --log-file log.$SLURM_PROCID"
    done = cluster.srun("-N3", "--ntasks-per-node=3", "sh", "-c", prune, cwd=folder)
    assert done.code == 0, done.stdout + done.stderr
    assert steps_left(folder / "run") == [29, 30]
    lines = [line for log in folder.glob("log.*") for line in log.read_text().splitlines()]
    gone = [json.loads(line)["path"] for line in lines if json.loads(line)["status"] == "done"]
    assert len(gone) == len(set(gone)) == 28


def test_cron_on_the_login_node_and_epilogs_on_the_nodes_lose_nothing_of_one_run(
    cluster: Cluster, folder: Path, tmp_path: Path
) -> None:
    make_tree(folder, {"ckptctl.yaml": TIERS.format(folder=folder), "whole.pt": torch_zip()})
    cluster.give(make_tree(folder, {"fast/run/": "", "slow/": ""}))
    cluster.script("epilog", example("epilog.sh", {"ckptctl": cluster.program, "logs": tmp_path}))
    jobs = [cluster.sbatch("-N3", "--wrap", f"srun sh -c '{SAVE}'", cwd=folder) for _ in range(3)]
    codes: list[tuple[int, str]] = []
    while not codes or {cluster.state(job) for job in jobs} != {"COMPLETED"}:
        done = cluster.login("apply", "-q", "--settle", "0s", "--lock-wait", "1m", cwd=folder)
        codes.append((done.code, done.stderr))
    cluster.settle()
    assert {code for code, _ in codes} == {0}, codes
    assert cluster.login("apply", "-q", "--settle", "0s", "--lock-wait", "1m", cwd=folder).code == 0
    saved = [(int(job) * 3 + n) * 10 + task for job in jobs for n in (1, 2, 3) for task in range(3)]
    slow, fast = folder / "slow/run", folder / "fast/run"
    assert steps_left(slow) == sorted(saved)
    newest = sorted(saved, key=lambda step: (slow / f"step_{step}.pt").stat().st_mtime_ns)
    assert steps_left(fast) == sorted({*sorted(saved)[-2:], *newest[-2:]})
    log = (tmp_path / "epilog.log").read_text()
    assert log.count("prune ended with 0") == log.count("prune ended with") == 9, log
    assert cluster.drained() == ""
