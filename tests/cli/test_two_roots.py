"""A checkpoint that is two directories (OpenRLHF's PPO): it goes, and comes back, as one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.trees import make_tree, read_tree, set_age

ROOTS = ("_actor", "_critic")
LAST = ("prune", "--keep-last", "1")


def a_run(root: Path, steps: int = 4) -> Path:
    tree: dict[str, bytes | str] = {"notes.txt": "mine"}
    for place in ROOTS:
        tree[f"{place}/latest"] = f"global_step{steps}"
        for step in range(1, steps + 1):
            top = f"{place}/global_step{step}"
            tree |= {
                f"{top}/mp_rank_00_model_states.pt": torch_zip(),
                f"{top}/zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
                f"{top}/metric.json": json.dumps({"metric_key": "acc", "metric_value": step % 3}),
            }
    make_tree(root, tree, age=7200)
    for step in range(1, steps):
        for place in ROOTS:
            set_age(root / place / f"global_step{step}", 7200 + 60 * (steps - step))
    return root


def steps_in(root: Path) -> dict[str, list[int]]:
    """Return the steps that lie in each root."""
    return {
        place: sorted(int(p.name.removeprefix("global_step")) for p in (root / place).glob("global*"))
        for place in ROOTS
    }  # fmt: skip


def test_list_shows_one_for_both(tmp_path: Path, ckptctl: Ckptctl) -> None:
    done = ckptctl("list", a_run(tmp_path / "run"), "--json")
    (run,) = done.json["runs"]
    assert [c["name"] for c in run["checkpoints"]] == [f"global_step{n}" for n in range(1, 5)]
    first = run["checkpoints"][0]
    assert (first["state"], first["kind"], first["metrics"]) == (
        "complete",
        "directory",
        {"acc": 1},
    )
    assert {path.split("/")[0] for path in first["files"]} == set(ROOTS)


def test_prune_takes_both_or_none(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "run")
    done = ckptctl(*LAST, "--keep-best", "1", "--metric", "acc:max", run, "--json")
    assert done.code == 0, done.stdout
    assert steps_in(run) == {"_actor": [2, 4], "_critic": [2, 4]}
    assert (run / "_actor/latest").exists()
    assert (run / "notes.txt").exists()
    (only,) = done.json["runs"]
    assert {o["status"] for o in only["outcomes"]} == {"done"}


def test_what_was_freed_counts_both(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "run")
    gone = [run / place / f"global_step{step}" for place in ROOTS for step in (1, 2, 3)]
    blocks = sum(path.stat().st_blocks * 512 for top in gone for path in top.iterdir())
    assert ckptctl(*LAST, run, "--json").json["freed_bytes"] == blocks


def test_undo_brings_both_back(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "run")
    before = read_tree(run)
    times = {top: top.stat().st_mtime_ns for top in run.glob("_*/global_step*")}
    assert ckptctl(*LAST, "--grace", "1d", run).code == 0
    assert steps_in(run) == {"_actor": [4], "_critic": [4]}
    assert ckptctl("undo", run, "--name", "global_step2").code == 0
    assert steps_in(run) == {"_actor": [2, 4], "_critic": [2, 4]}
    assert ckptctl("undo", run).code == 0
    assert read_tree(run) == before
    assert {top: top.stat().st_mtime_ns for top in times} == times


def test_undo_moves_nothing_while_one_of_the_names_is_taken(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = a_run(tmp_path / "run")
    assert ckptctl(*LAST, "--grace", "1d", run).code == 0
    make_tree(run, {"_critic/global_step2/other": b"x"})
    assert ckptctl("undo", run, "--name", "global_step2").code == 5
    assert steps_in(run) == {"_actor": [4], "_critic": [2, 4]}


def test_half_of_one_is_incomplete_and_kept(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "run")
    for path in (run / "_critic/global_step2").iterdir():
        path.unlink()
    (run / "_critic/global_step2").rmdir()
    assert ckptctl(*LAST, run).code == 0
    assert steps_in(run) == {"_actor": [2, 4], "_critic": [4]}
    assert ckptctl(*LAST, "--delete-incomplete", "1h", run).code == 0
    assert steps_in(run) == {"_actor": [4], "_critic": [4]}


def test_a_pin_keeps_both(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "run")
    assert ckptctl("annotate", "global_step1", "--pin", "--in", run).code == 0
    assert ckptctl(*LAST, run).code == 0
    assert steps_in(run) == {"_actor": [1, 4], "_critic": [1, 4]}


@pytest.mark.parametrize("place", ["_actor", "_critic", "_critic/global_step1/"])
def test_a_root_alone_is_no_run(tmp_path: Path, ckptctl: Ckptctl, place: str) -> None:
    run = a_run(tmp_path / "run")
    done = ckptctl(*LAST, run / place)
    assert done.code == 2
    assert str(run) in done.stderr
    assert steps_in(run) == {"_actor": [1, 2, 3, 4], "_critic": [1, 2, 3, 4]}


@pytest.mark.parametrize("place", ROOTS)
def test_each_root_is_the_checkpoint(tmp_path: Path, ckptctl: Ckptctl, place: str) -> None:
    run = a_run(tmp_path / "run")
    done = ckptctl("list", run / place / "global_step2", "--json")
    assert [c["name"] for r in done.json["runs"] for c in r["checkpoints"]] == ["global_step2"]


def test_recursively_it_is_one_run(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "all" / "run")
    done = ckptctl(*LAST, "--recursive", tmp_path / "all", "--json")
    assert (done.code, [r["name"] for r in done.json["runs"]]) == (0, ["run"])
    assert steps_in(run) == {"_actor": [4], "_critic": [4]}


def test_what_the_trainer_deleted_meanwhile_is_skipped(tmp_path: Path, ckptctl: Ckptctl) -> None:
    """A plan from a file: one root is another directory by now, so neither goes."""
    run = a_run(tmp_path / "run")
    plan = tmp_path / "plan.json"
    assert ckptctl(*LAST, run, "--plan-out", plan).code == 0
    make_tree(run, {"_critic/global_step2/new": b"x"})
    assert ckptctl("prune", "--from-plan", plan).code == 5
    assert steps_in(run) == {"_actor": [2, 4], "_critic": [2, 4]}


def test_in_place_where_nothing_can_be_renamed(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = a_run(tmp_path / "run")
    elsewhere = Path("/dev/shm") / f"ckptctl-{os.getpid()}-{tmp_path.name}"  # another file system
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == run.stat().st_dev:
        pytest.skip("no second file system here")
    try:
        assert ckptctl(*LAST, run, "--state-dir", elsewhere).code == 0
        assert steps_in(run) == {"_actor": [4], "_critic": [4]}
    finally:
        for path in sorted(elsewhere.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        if elsewhere.exists():
            elsewhere.rmdir()
