"""A plan as a file: written by one call, carried out once by another, and no more than it says."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.trees import read_tree


def make(tmp_path: Path, ckptctl: Ckptctl, *more: str) -> tuple[Path, Path]:
    run, plan = save(tmp_path / "run", dict.fromkeys(range(1, 6))), tmp_path / "plan.json"
    before = read_tree(tmp_path)
    done = ckptctl("prune", "--keep-last", "2", "--plan-out", plan, *more, run)
    assert done.code == 0, done.stderr
    plan_text = plan.read_bytes()
    assert read_tree(tmp_path) == before | {"plan.json": plan_text}
    return run, plan


def test_a_plan_is_data_and_deletes_what_it_says_once(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run, plan = make(tmp_path, ckptctl)
    value = json.loads(plan.read_text())
    assert (value["schema"], value["version"]) == ("ckptctl/plan", 1)
    assert [a["checkpoint"] for a in value["runs"][0]["actions"]] == ["step_1", "step_2", "step_3"]
    done = ckptctl("prune", "--from-plan", plan, run, "--json")
    assert done.code == 0, done.stdout
    assert steps_left(run) == [4, 5]
    again = ckptctl("prune", "--from-plan", plan, run, "--json")
    assert again.code == 5  # nothing of it holds any more
    save(run, dict.fromkeys(range(1, 6)))
    assert ckptctl("prune", "--from-plan", plan, run).code == 5
    assert steps_left(run) == [1, 2, 3, 4, 5]


def test_a_second_use_is_refused_even_where_it_would_still_hold(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run, plan = make(tmp_path, ckptctl, "--grace", "7d")
    assert ckptctl("prune", "--from-plan", plan).code == 0
    assert steps_left(run) == [4, 5]
    assert ckptctl("undo", run).code == 0
    refused = ckptctl("prune", "--from-plan", plan)
    assert refused.code == 4
    assert "carried out already" in refused.stderr
    assert steps_left(run) == [1, 2, 3, 4, 5]


def test_what_changed_since_is_skipped_and_what_came_since_stays(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run, plan = make(tmp_path, ckptctl)
    (run / "step_1.pt").write_bytes(b"saved anew")
    (run / "step_2.json").write_text('{"pinned": true}')
    save(run, dict.fromkeys((6, 7)), newest_hours_ago=1)
    done = ckptctl("prune", "--from-plan", plan, run, "--json")
    assert done.code == 5
    statuses = {o["checkpoint"]: o["status"] for o in done.json["runs"][0]["outcomes"]}
    assert statuses == {"step_1": "skipped", "step_2": "skipped", "step_3": "done"}
    assert steps_left(run) == [1, 2, 4, 5, 6, 7]


def test_without_the_newest_that_it_keeps_a_plan_does_nothing(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run, plan = make(tmp_path, ckptctl)
    (run / "step_5.pt").write_bytes((run / "step_5.pt").read_bytes()[:-30])
    done = ckptctl("prune", "--from-plan", plan, run)
    assert done.code == 4
    assert steps_left(run) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": "ckptctl/plan", "version": 2}',
        '{"schema": "ckptctl/plan", "version": 1}',
    ],
)
def test_what_is_no_plan_is_a_usage_error(tmp_path: Path, ckptctl: Ckptctl, content: str) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    (tmp_path / "plan").write_text(content)
    assert ckptctl("prune", "--from-plan", tmp_path / "plan", run).code == 2
    assert ckptctl("prune", "--from-plan", tmp_path / "gone", run).code == 2
    assert ckptctl("prune", "--from-plan", tmp_path / "plan", "--keep-last", "1", run).code == 2
    assert steps_left(run) == [1, 2, 3, 4, 5]


def test_what_is_refused_after_a_wait_is_not_done_by_the_old_plan(tmp_path: Path) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    fd = os.open(run, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    program = [
        sys.executable,
        "-m",
        "ckptctl",
        "prune",
        "--keep-last",
        "2",
        "--max-delete",
        "2",
        "--lock-wait",
        "30s",
        str(run),
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    waiting = subprocess.Popen(
        program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    time.sleep(2)
    save(run, dict.fromkeys((5, 6, 7)), newest_hours_ago=1)
    os.close(fd)
    _, error = waiting.communicate()
    assert waiting.returncode == 4, error
    assert "the limit is 2" in error
    assert steps_left(run) == list(range(1, 8))
