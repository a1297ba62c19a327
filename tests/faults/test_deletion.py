"""A prune that dies, or whose disk fails, at each system call: nothing kept is lost, nothing is seen half."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.faults.moments import Moments
from tests.program import Ckptctl
from tests.trees import make_tree, read_tree

RULES = ("--keep-last", "1", "--keep-best", "1", "--metric", "loss")
KEPT = (2, 5)


def make_run(root: Path) -> Path:
    """Five steps of each kind: a file with a sidecar, a directory, a group of two ranks."""
    tree: dict[str, bytes | str] = {"notes.txt": "mine"}
    for step in range(1, 6):
        tree |= {
            f"step_{step}.pt": torch_zip(),
            f"step_{step}.json": json.dumps({"loss": abs(step - 2)}),
            f"dir_step_{step}/model.pt": torch_zip(),
            f"dir_step_{step}/sub/optim.pt": torch_zip(),
            f"opt_step_{step}_rank0.pt": torch_zip(),
            f"opt_step_{step}_rank1.pt": torch_zip(),
        }
    return make_tree(root, tree, age=7200)


def parts(step: int) -> list[set[str]]:
    """Return the files of each checkpoint of one step, sidecars aside."""
    return [
        {f"step_{step}.pt"},
        {f"dir_step_{step}/model.pt", f"dir_step_{step}/sub/optim.pt"},
        {f"opt_step_{step}_rank0.pt", f"opt_step_{step}_rank1.pt"},
    ]


def check_nothing_is_half(run: Path, before: dict[str, bytes]) -> None:
    """Every file that is there is unchanged; what is kept is all there; no directory is seen half."""
    now = {
        path: content for path, content in read_tree(run).items() if not path.startswith(".ckptctl")
    }
    assert now.items() <= before.items()
    for step in range(1, 6):
        file, folder, group = parts(step)
        if step in KEPT:
            assert file | folder | group | {f"step_{step}.json"} <= now.keys()
        assert not folder & now.keys() or folder <= now.keys()
        if f"opt_step_{step}_rank0.pt" not in now:
            continue  # the key file is gone: nobody takes the rest for a checkpoint
        assert group <= now.keys()
    assert "notes.txt" in now


def count_calls(tmp_path: Path, ckptctl: Ckptctl, how: str) -> int:
    run = make_run(tmp_path / "counted" / "run")
    done = ckptctl(how, "0", "prune", *RULES, run, module=("tests.faults.dying",))
    assert done.code == 0, done.stderr
    found = re.search(r"calls=(\d+)", done.stderr)
    assert found
    return int(found[1])


def survivors(run: Path) -> set[str]:
    return {path for path in read_tree(run) if not path.startswith(".ckptctl")}


EXPECTED = (
    {"notes.txt"}
    | {p for s in KEPT for part in parts(s) for p in part}
    | {f"step_{s}.json" for s in KEPT}
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("share", range(6))
def test_at_every_call(
    tmp_path: Path, ckptctl: Ckptctl, how: str, share: int, moments: Moments
) -> None:
    calls = count_calls(tmp_path, ckptctl, how)
    assert calls > 50
    for nth in moments(calls + 1, share, 6):
        base = tmp_path / f"at{nth}"
        run = make_run(base / "run")
        before = read_tree(run)
        done = ckptctl(
            how, str(nth), "prune", *RULES, run, "--json", module=("tests.faults.dying",)
        )
        check_nothing_is_half(run, before)
        if how == "kill":
            assert done.code == -9
        else:
            assert done.code in {0, 1, 4, 5, 7}, done.stderr
            left = survivors(run)
            assert done.code != 0 or left == EXPECTED, (nth, done.stdout)
        again = ckptctl("prune", *RULES, run, "--json")
        assert again.code == 0, (nth, again.stdout, again.stderr)
        assert survivors(run) == EXPECTED, nth
        state = base / ".ckptctl" / "run"
        assert not list((state / "trash").glob("*")), nth
        shutil.rmtree(base)


def test_an_undisturbed_prune_leaves_what_the_rules_keep(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_run(tmp_path / "run")
    assert ckptctl("prune", *RULES, run).code == 0
    assert survivors(run) == EXPECTED
