"""examples/slurm/train.sbatch: whatever ends a job, the next goes on from the newest sound checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.saved import steps_left
from tests.slurm.cluster import EXAMPLES, Cluster, example
from tests.trees import make_tree

TRAINING = """#!/bin/sh
# Saves a step every half second, half of its bytes first; notes where it began, and where it had saved when told to.
run=checkpoints step=0
if [ "$1" = --resume ]; then step=${2##*/step_} step=${step%.pt}; fi
echo "$step" >> begun
save() { head -c 200 whole.pt > $run/step_$step.pt; sleep 0.2; tail -c +201 whole.pt >> $run/step_$step.pt; }
trap 'end=1' USR1
while [ -z "$end" ]; do
    step=$((step + 1))
    save
    [ -e unending ] || [ "$step" -lt 8 ] || exit 0
    sleep 0.3
done
echo "$step" > saved
"""


@pytest.fixture
def place(cluster: Cluster, request: pytest.FixtureRequest) -> Path:
    """A directory of the user's with a training, whose epilog prunes."""
    return _place(cluster, str(request.node.name))


def _place(cluster: Cluster, name: str) -> Path:
    folder = cluster.scratch / name
    tree: dict[str, bytes | str] = {
        "training": TRAINING,
        "whole.pt": torch_zip(),
        "ckptctl.yaml": 'version: 1\nruns: [{match: "**", policy: own}]\n'
        "policies: {own: {keep: [{last: 2}]}}\n",
    }
    make_tree(folder, tree)
    (folder / "training").chmod(0o755)
    return cluster.give(folder)


def _train(cluster: Cluster, place: Path, *options: str) -> str:
    call = ("-N1", "--export=ALL,TRAIN=srun -N1 ./training", *options)
    return cluster.sbatch(*call, str(EXAMPLES / "train.sbatch"), cwd=place)


def _whole(place: Path) -> list[int]:
    """The steps whose files have all their bytes."""
    size = (place / "whole.pt").stat().st_size
    run = place / "checkpoints"
    return [n for n in steps_left(run) if (run / f"step_{n}.pt").stat().st_size == size]


def _begun(place: Path) -> list[int]:
    noted = place / "begun"
    return [int(line) for line in noted.read_text().split()] if noted.exists() else []


def _until_step(cluster: Cluster, place: Path, step: int) -> None:
    cluster.until(lambda: any(n >= step for n in _whole(place)), f"step {step}")


def test_the_job_after_one_that_was_cancelled_goes_on(
    cluster: Cluster, place: Path, tmp_path: Path
) -> None:
    cluster.script("epilog", example("epilog.sh", {"ckptctl": cluster.program, "logs": tmp_path}))
    (place / "unending").touch()
    job = _train(cluster, place)
    _until_step(cluster, place, 3)
    assert cluster.run("scancel", job).code == 0
    cluster.settle()
    # what it was saving when it was killed, for certain
    newest = _whole(place)[-1]
    torn = place / "checkpoints" / f"step_{newest + 1}.pt"
    torn.write_bytes((place / "whole.pt").read_bytes()[:200])
    os.chown(torn, cluster.uid, cluster.uid)
    assert newest >= 3
    (place / "unending").unlink()
    second = _train(cluster, place)
    cluster.settle()
    assert _begun(place) == [0, newest], (place / f"slurm-{second}.out").read_text()
    last = max(8, newest + 1)
    assert _whole(place) == [last - 1, last]
    assert cluster.drained() == ""


def test_jobs_that_are_requeued_and_whose_time_is_up_go_on_by_themselves(
    cluster: Cluster, place: Path, tmp_path: Path
) -> None:
    """Both at once, since each waits for most of a minute."""
    cluster.script("epilog", example("epilog.sh", {"ckptctl": cluster.program, "logs": tmp_path}))
    timed = _place(cluster, f"{place.name}, timed")
    (timed / "unending").touch()
    short = _train(cluster, timed, "--signal=B:USR1@50", "-t1")

    (place / "unending").touch()
    job = _train(cluster, place)
    _until_step(cluster, place, 3)
    assert cluster.run("scontrol", "requeue", job).code == 0
    cluster.until(lambda: cluster.state(job) == "PENDING", "the job to be in the queue again")
    newest = _whole(place)[-1]
    (place / "unending").unlink()

    cluster.until((timed / "saved").exists, "the signal")
    (timed / "unending").unlink()
    saved = int((timed / "saved").read_text())

    ended = {"COMPLETED"}
    cluster.until(lambda: {cluster.state(j) for j in (job, short)} == ended, "the end of both")
    cluster.settle()
    assert _begun(place) == [0, newest], (place / f"slurm-{job}.out").read_text()
    last = max(8, newest + 1)
    assert _whole(place) == [last - 1, last]
    assert _begun(timed)[:2] == [0, saved], (timed / f"slurm-{short}.out").read_text()
    assert _whole(timed)[-1] == max(8, saved + 1)


def test_a_job_whose_time_is_up_before_it_has_begun_puts_itself_back(
    cluster: Cluster, place: Path
) -> None:
    late = "touch asked; until [ -e go ]; do sleep 0.1; done; sleep 4"
    make_tree(place, {"bin/ckptctl": f'#!/bin/sh\n{late}\nexec {cluster.program} "$@"\n'})
    (place / "bin/ckptctl").chmod(0o755)
    job = _train(cluster, place, f"--export=ALL,PATH={place}/bin:/usr/bin:/bin,TRAIN=./training")
    cluster.until((place / "asked").exists, "the question where to go on")
    assert cluster.run("scancel", "--signal=USR1", "--batch", job).code == 0
    (place / "go").touch()
    cluster.until(lambda: cluster.state(job) != "RUNNING", "the end of this turn")
    assert cluster.state(job) not in {"FAILED", "TIMEOUT", "COMPLETED"}
    cluster.until(lambda: cluster.state(job) == "PENDING", "the job to be in the queue again")
    assert cluster.run("scancel", job).code == 0
    assert _begun(place) == []


def test_nothing_is_begun_where_the_checkpoints_cannot_be_read(
    cluster: Cluster, place: Path
) -> None:
    (place / "gone").symlink_to("/not-mounted/checkpoints")
    job = _train(cluster, place, "--export=ALL,RUN=gone,TRAIN=./training")
    cluster.settle()
    assert cluster.state(job) == "FAILED"
    assert _begun(place) == []
    assert "not started" in (place / f"slurm-{job}.out").read_text()
