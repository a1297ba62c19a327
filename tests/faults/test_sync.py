"""A sync that dies, or whose disk fails, at each system call: nothing half looks whole at the destination."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.faults.moments import Moments
from tests.program import Ckptctl
from tests.trees import make_tree, read_tree, set_age

PARTS = (
    {"step_1.pt"},
    {"dir_step_1/model.pt", "dir_step_1/sub/optim.pt", "dir_step_1/same.pt", "dir_step_1/link"},
    {"opt_step_1_rank0.pt", "opt_step_1_rank1.pt"},
    {"last.ckpt"},
)


def make_run(root: Path) -> Path:
    """One checkpoint of each kind: a file with a sidecar, a directory, a group, a named one with a pointer to another."""
    run = make_tree(
        root,
        {
            "notes.txt": "mine",
            "step_1.pt": torch_zip(),
            "step_1.json": json.dumps({"loss": 1}),
            "dir_step_1/model.pt": torch_zip(),
            "dir_step_1/sub/optim.pt": torch_zip(),
            "dir_step_1/link": "-> model.pt",
            "opt_step_1_rank0.pt": torch_zip(),
            "opt_step_1_rank1.pt": torch_zip(),
            "last.ckpt": torch_zip(),
            "newest": "-> step_1.pt",
            "last_checkpoint": "step_1.pt",
        },
    )
    (run / "dir_step_1/same.pt").hardlink_to(run / "dir_step_1/model.pt")
    set_age(run, 7200)
    return run


def seen(ckptctl: Ckptctl, run: Path) -> set[str]:
    """Return the files of what is listed as complete."""
    if not run.exists():
        return set()
    done = ckptctl("list", run, "--json")
    assert done.code == 0, done.stderr
    found = (c for r in done.json["runs"] for c in r["checkpoints"] if c["state"] == "complete")
    return {file for c in found for file in c["files"]}


def check_nothing_is_half(ckptctl: Ckptctl, there: Path, source: dict[str, bytes]) -> None:
    now = {p: c for p, c in read_tree(there).items() if not p.startswith(".ckptctl")}
    whole = seen(ckptctl, there)
    for path in now.keys() & source.keys():
        assert now[path] == source[path] or path not in whole, path
    for parts in PARTS:
        assert not parts & whole or parts <= now.keys(), parts
    if {"newest", "last_checkpoint"} & now.keys():
        assert "step_1.pt" in whole


def count_calls(tmp_path: Path, ckptctl: Ckptctl, how: str) -> int:
    run = make_run(tmp_path / "counted" / "run")
    done = ckptctl(how, "0", "sync", run, run.parent / "to", module=("tests.faults.dying",))
    assert done.code == 0, done.stderr
    found = re.search(r"calls=(\d+)", done.stderr)
    assert found
    return int(found[1])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("share", range(2))
def test_at_every_call(
    tmp_path: Path, ckptctl: Ckptctl, how: str, share: int, moments: Moments
) -> None:
    calls = count_calls(tmp_path, ckptctl, how)
    assert calls > 50
    for nth in moments(calls + 1, share, 2):
        base = tmp_path / f"at{nth}"
        run, there = make_run(base / "run"), base / "to"
        before = read_tree(run)
        done = ckptctl(how, str(nth), "sync", run, there, "--json", module=("tests.faults.dying",))
        if there.exists():
            check_nothing_is_half(ckptctl, there, before)
        assert read_tree(run) == before, nth
        if how == "kill":
            assert done.code == -9
        else:
            assert done.code in {0, 1, 4, 5, 7}, (nth, done.stdout, done.stderr)
        again = ckptctl("sync", run, there, "--json")
        assert again.code == 0, (nth, again.stdout, again.stderr)
        after = {p: c for p, c in read_tree(there).items() if not p.startswith(".ckptctl")}
        assert after == {p: c for p, c in before.items() if p != "notes.txt"}, nth
        assert not list((base / ".ckptctl/to/staging").glob("*")), nth
        if done.code == 0:
            assert all(r["bytes_sent"] == 0 for r in again.json["results"]), (nth, again.stdout)
        shutil.rmtree(base)


def test_a_large_file_goes_on_where_it_was_killed(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run, there = tmp_path / "run", tmp_path / "to"
    make_tree(run, {"step_1.pt": torch_zip({"data/1": bytes(24 * 2**20)})}, age=7200)
    head = ckptctl("kill", "0", "sync", run, tmp_path / "counted", module=("tests.faults.dying",))
    found = re.search(r"calls=(\d+)", head.stderr)
    assert found
    late = int(found[1]) * 2 // 3
    done = ckptctl("kill", str(late), "sync", run, there, module=("tests.faults.dying",))
    assert done.code == -9
    assert not list(there.glob("*.pt"))
    again = ckptctl("sync", run, there, "--json")
    assert again.code == 0, again.stdout
    (result,) = (r for r in again.json["results"] if r["action"] == "copy")
    assert result["status"] == "done"
    assert 0 < result["bytes_sent"] < result["bytes"] * 0.75
    assert (there / "step_1.pt").read_bytes() == (run / "step_1.pt").read_bytes()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_a_fetch_to_a_nodes_own_part_at_every_call(
    tmp_path: Path, ckptctl: Ckptctl, how: str, moments: Moments
) -> None:
    """Two ranks of three alone would be a whole grid; what is there already has its name all the time."""
    ranks = {f"opt_step_1_rank{rank}.pt": torch_zip() for rank in range(3)}
    run = make_tree(tmp_path / "run", ranks, age=7200)
    dies = ("tests.faults.dying",)

    def begun(base: Path) -> Path:
        return make_tree(base / "node", {"opt_step_1_rank0.pt": torch_zip()}, age=7200)

    def call(there: Path) -> tuple[str | Path, ...]:
        return ("resolve", "latest", run, "--fetch", there)

    done = ckptctl(how, "0", *call(begun(tmp_path / "counted")), module=dies)
    found = re.search(r"calls=(\d+)", done.stderr)
    assert (done.code, found is not None) == (0, True), done.stderr
    assert found
    for nth in moments(int(found[1]) + 1):
        base = tmp_path / f"at{nth}"
        there = begun(base)
        ckptctl(how, str(nth), *call(there), module=dies)
        now = {p: c for p, c in read_tree(there).items() if not p.startswith(".ckptctl")}
        assert {"opt_step_1_rank0.pt": torch_zip()}.items() <= now.items() <= ranks.items(), nth
        # As it was before the call, one rank alone is a grid of one.
        whole = seen(ckptctl, there)
        assert whole == now.keys() or not whole, nth
        assert len(whole) != 2, nth
        again = ckptctl(*call(there))
        assert again.code == 0, (nth, again.stderr)
        assert seen(ckptctl, there) == ranks.keys(), nth
        shutil.rmtree(base)
