"""A checkpoint that is two directories, and a prune that dies or fails at each system call."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.cli.test_two_roots import ROOTS, a_run, steps_in
from tests.faults.moments import Moments
from tests.program import Ckptctl
from tests.trees import read_tree

LAST = ("prune", "--keep-last", "1")


def calls_of(tmp_path: Path, ckptctl: Ckptctl, how: str, *more: str) -> int:
    run = a_run(tmp_path / "counted" / "run", steps=2)
    done = ckptctl(how, "0", *LAST, *more, run, module=("tests.faults.dying",))
    assert done.code == 0, done.stderr
    found = re.search(r"calls=(\d+)", done.stderr)
    assert found
    return int(found[1])


def check(run: Path, before: dict[str, bytes]) -> None:
    """Every file that is there is unchanged, and no root is half of itself."""
    now = {path: data for path, data in read_tree(run).items() if not path.startswith(".ckptctl")}
    assert now.items() <= before.items()
    for step in (1, 2):
        tops = [f"{place}/global_step{step}/" for place in ROOTS]
        for top in tops:
            there = {path for path in now if path.startswith(top)}
            assert there in (set(), {path for path in before if path.startswith(top)})
    assert 2 in steps_in(run)["_actor"]
    assert 2 in steps_in(run)["_critic"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(2))
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_at_every_call(
    tmp_path: Path, ckptctl: Ckptctl, how: str, share: int, moments: Moments
) -> None:
    calls = calls_of(tmp_path, ckptctl, how)
    assert calls > 20
    for nth in moments(calls + 1, share, 2):
        base = tmp_path / f"at{nth}"
        run = a_run(base / "run", steps=2)
        before = read_tree(run)
        ckptctl(how, str(nth), *LAST, run, module=("tests.faults.dying",))
        check(run, before)
        again = ckptctl(*LAST, run, "--json")
        assert again.code == 0, (nth, again.stdout, again.stderr)
        assert steps_in(run) == {"_actor": [2], "_critic": [2]}, nth
        shutil.rmtree(base)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(3))
def test_it_comes_back_whole_wherever_a_prune_died(
    tmp_path: Path, ckptctl: Ckptctl, share: int, moments: Moments
) -> None:
    grace = ("--grace", "1d")
    calls = calls_of(tmp_path, ckptctl, "kill", *grace)
    for nth in moments(calls + 1, share, 3):
        base = tmp_path / f"at{nth}"
        run = a_run(base / "run", steps=2)
        before = read_tree(run)
        ckptctl("kill", str(nth), *LAST, *grace, run, module=("tests.faults.dying",))
        check(run, before)
        assert ckptctl(*LAST, *grace, run).code == 0, nth
        assert steps_in(run) == {"_actor": [2], "_critic": [2]}, nth
        assert ckptctl("undo", run).code == 0, nth
        assert read_tree(run) == before, nth
        shutil.rmtree(base)


@pytest.mark.timeout(600)
def test_a_copy_goes_on_wherever_a_sync_died(
    tmp_path: Path, ckptctl: Ckptctl, moments: Moments
) -> None:
    """One of both directories has its name, the other has not: the next sync brings just that."""

    def made(base: Path) -> Path:
        run = a_run(base / "run", steps=1)
        first = run / "_critic/global_step1/metric.json"
        first.with_name("same.json").hardlink_to(first)
        return run

    dies = ("tests.faults.dying",)
    counted = ckptctl("kill", "0", "sync", made(tmp_path), tmp_path / "to", module=dies)
    found = re.search(r"calls=(\d+)", counted.stderr)
    assert found
    calls = int(found[1])
    for nth in (n for n in moments(calls + 1) if n > calls // 2):
        base = tmp_path / f"at{nth}"
        run, there = made(base), base / "to"
        died = ckptctl("kill", str(nth), "sync", run, there, module=dies)
        # Threads that need one folder at once try to make it more than once: calls differ a little.
        assert died.code == -9 or (died.code == 0 and nth > calls - 10), (nth, died.stderr)
        again = ckptctl("sync", run, there, "--json")
        assert again.code == 0, (nth, again.stdout)
        after = {p: c for p, c in read_tree(there).items() if not p.startswith(".ckptctl")}
        assert after == {p: c for p, c in read_tree(run).items() if p != "notes.txt"}, nth
        shutil.rmtree(base)
