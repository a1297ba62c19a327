"""Look before, take back after: `prune --grace`, `undo`, `purge`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.faults.moments import Moments
from tests.program import Ckptctl
from tests.saved import names_left, save, steps_left
from tests.trees import make_tree, read_tree

LAST = ("prune", "--keep-last", "1")


def a_run(root: Path, steps: int = 4) -> Path:
    """Files with sidecars, directories with links and empty files, groups."""
    tree: dict[str, bytes | str] = {}
    for step in range(1, steps + 1):
        tree |= {
            f"step_{step}.pt": torch_zip(),
            f"step_{step}.json": json.dumps({"step": step, "loss": 1.0 / step}),
            f"d_step_{step}/model.pt": torch_zip(),
            f"d_step_{step}/empty": b"",
            f"d_step_{step}/sub/inner": "-> ../model.pt",
            f"r_step_{step}_rank0.pt": torch_zip(),
            f"r_step_{step}_rank1.pt": torch_zip(),
        }
    return make_tree(root, tree, age=7200)


def picture(root: Path) -> dict[str, tuple[object, ...]]:
    """Return all that `rsync -ac --delete` compares: kinds, modes, owners, times, contents, link texts."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        if ".ckptctl" in path.parts:
            continue
        found = path.lstat()
        content = (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        seen[str(path.relative_to(root))] = (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_mtime_ns,
            found.st_nlink,
            content,
        )
    return seen


def test_a_prune_with_grace_and_an_undo_leave_what_was_there(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = a_run(tmp_path / "run")
    os.link(run / "d_step_1" / "model.pt", run / "d_step_1" / "twin.pt")
    os.utime(run, (1_700_000_000, 1_700_000_000))
    before = picture(run)
    taken = ckptctl(*LAST, "--grace", "7d", run, "--json")
    assert taken.code == 0, taken.stderr
    assert {o["action"] for o in taken.json["runs"][0]["outcomes"]} == {"trash"}
    assert taken.json["freed_bytes"] == 0
    assert steps_left(run) == [4]
    assert len(names_left(run)) == 5
    listed = ckptctl("undo", "--list", run, "--json").json
    assert (listed["schema"], len(listed["results"])) == ("ckptctl/undo", 9)
    back = ckptctl("undo", run, "--json")
    assert back.code == 0, back.stderr
    assert {(r["action"], r["status"]) for r in back.json["results"]} == {("restore", "done")}
    assert picture(run) == before
    assert run.stat().st_mtime == 1_700_000_000
    assert ckptctl("undo", run, "--json").json["results"] == []


def test_the_time_of_the_directory_stays_where_something_came_meanwhile(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    os.utime(run, (1_700_000_000, 1_700_000_000))
    assert ckptctl(*LAST, "--grace", "7d", run).code == 0
    (run / "step_9.pt").write_bytes(torch_zip())
    assert ckptctl("undo", run).code == 0
    assert run.stat().st_mtime > 1_700_000_000


def test_the_trash_is_found_after_a_rename_of_the_run(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    assert ckptctl(*LAST, "--grace", "7d", run).code == 0
    moved = run.rename(tmp_path / "moved")
    assert ckptctl("undo", moved).code == 0
    assert steps_left(moved) == [1, 2, 3]


def test_a_name_that_is_taken_again_is_refused_with_the_way_out(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    assert ckptctl(*LAST, "--grace", "7d", run).code == 0
    (run / "step_1.pt").write_bytes(b"new")
    done = ckptctl("undo", run)
    assert done.code == 5
    assert "step_1.pt is there again" in done.stdout
    assert "out of the way" in done.stdout
    assert (run / "step_1.pt").read_bytes() == b"new"
    assert steps_left(run) == [1, 2, 3]
    (run / "step_1.pt").unlink()
    assert ckptctl("undo", run).code == 0
    assert (run / "step_1.pt").read_bytes() == torch_zip()


def test_by_name_and_the_last_prune_only(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    assert ckptctl("prune", "--keep-last", "3", "--grace", "7d", run).code == 0
    assert ckptctl("prune", "--keep-last", "1", "--grace", "7d", run).code == 0
    assert ckptctl("undo", "--last", run).code == 0
    assert steps_left(run) == [3, 4, 5]
    missing = ckptctl("undo", "--name", "step_9", run)
    assert missing.code == 8
    assert "step_1" in missing.stderr
    assert ckptctl("undo", "--name", "step_1", run).code == 0
    assert steps_left(run) == [1, 3, 4, 5]


def test_what_is_past_its_grace_goes_with_the_next_prune(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    assert ckptctl(*LAST, "--grace", "0.01s", run).code == 0
    kept = ckptctl(*LAST, "--grace", "7d", run, "-n", "--json")
    assert kept.json["runs"][0]["outcomes"] == []  # a dry run changes nothing
    done = ckptctl(*LAST, "--grace", "7d", run, "--json")
    assert done.code == 0
    assert [(o["action"], o["status"]) for o in done.json["runs"][0]["outcomes"]] == [
        ("purge", "done")
    ] * 2
    assert done.json["freed_bytes"] > 0
    assert ckptctl("undo", "--list", run, "--json").json["results"] == []


def test_purge_frees_at_once_what_is_chosen(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    assert ckptctl(*LAST, "--grace", "7d", run).code == 0
    for arguments in ((), ("--older-than", "1h"), ("--all", "-n")):
        done = ckptctl("purge", *arguments, run, "--json")
        assert (done.code, done.json["freed_bytes"]) == (0, 0), arguments
    assert len(ckptctl("undo", "--list", run, "--json").json["results"]) == 2
    done = ckptctl("purge", "--all", run, "--json")
    assert done.json["freed_bytes"] > 0
    assert not list((tmp_path / ".ckptctl" / "run" / "trash").iterdir())
    assert ckptctl("purge", "--all", "--older-than", "1h", run).code == 2


def test_a_prune_that_only_trashed_says_what_the_trash_holds_and_how_to_empty_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    done = ckptctl(*LAST, "--grace", "7d", run)
    assert "2 checkpoints" in done.stderr
    assert f"ckptctl purge --all {run}" in done.stderr


def test_grace_with_a_state_directory_elsewhere_leaves_everything(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    state = Path("/dev/shm") / f"ckptctl-undo-{tmp_path.name}"
    try:
        done = ckptctl(*LAST, "--grace", "7d", "--state-dir", state, run)
        assert done.code == 5
        assert steps_left(run) == [1, 2, 3]
        assert not list(state.glob("run/trash/*"))
    finally:
        shutil.rmtree(state, ignore_errors=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(4))
def test_a_death_at_any_moment_of_taking_and_of_bringing_back(
    tmp_path: Path, ckptctl: Ckptctl, share: int, moments: Moments
) -> None:
    expected = read_tree(a_run(tmp_path / "expected", 2))
    for what in ("take", "back"):
        for nth in moments(400, share, 4):
            base = tmp_path / f"{what}{nth}"
            run = a_run(base / "run", 2)
            if what == "back":
                assert ckptctl(*LAST, "--grace", "7d", run).code == 0
            arguments = (*LAST, "--grace", "7d", run) if what == "take" else ("undo", run)
            done = ckptctl("kill", str(nth), *arguments, module=("tests.faults.dying",))
            now = {p: c for p, c in read_tree(run).items() if not p.startswith(".ckptctl")}
            assert now.items() <= expected.items()
            for step in (1, 2):
                whole = {p for p in expected if p.startswith(f"d_step_{step}/")}
                assert whole <= now.keys() or not whole & now.keys()
                if f"r_step_{step}_rank0.pt" in now:
                    assert f"r_step_{step}_rank1.pt" in now
            if done.code == 0:
                shutil.rmtree(base)
                break  # the whole of it takes fewer calls than this
            assert done.code == -9
            assert ckptctl("undo", run).code == 0
            assert {
                p: c for p, c in read_tree(run).items() if not p.startswith(".ckptctl")
            } == expected, nth
            shutil.rmtree(base)


def test_what_was_taken_comes_back_whatever_call_failed(
    tmp_path: Path, ckptctl: Ckptctl, moments: Moments
) -> None:
    """Also where the place beside the run could not be made, and the state went into the run."""
    expected = read_tree(a_run(tmp_path / "expected", 2))
    dying = ("tests.faults.dying",)
    counted = ckptctl(
        "fail", "0", *LAST, "--grace", "7d", a_run(tmp_path / "c/run", 2), module=dying
    )
    calls = int(counted.stderr.rpartition("calls=")[2])
    assert calls > 20
    for nth in moments(calls + 1):
        run = a_run(tmp_path / f"fail{nth}/run", 2)
        ckptctl("fail", str(nth), *LAST, "--grace", "7d", run, module=dying)
        assert ckptctl("undo", run).code == 0
        now = {p: c for p, c in read_tree(run).items() if not p.startswith(".ckptctl")}
        assert now == expected, nth
