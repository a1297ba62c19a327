"""Callers of `sync --part` that die at each system call, and all of them at once."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata
from tests.faults.moments import Moments
from tests.program import Ckptctl
from tests.trees import make_tree, read_tree

SHARD = b"x" * 4096
DIES = ("tests.faults.dying",)


def whole(count: int) -> dict[str, bytes]:
    """A checkpoint of which so many nodes have a shard each, and the first the index."""
    shards = {f"step-100/__{n}_0.distcp": SHARD for n in range(count)}
    sizes = {path.removeprefix("step-100/"): len(shard) for path, shard in shards.items()}
    return {"step-100/.metadata": dcp_metadata(sizes), **shards}


def node(base: Path, number: int, of: int) -> Path:
    tree = {p: c for p, c in whole(of).items() if p == f"step-100/__{number}_0.distcp"}
    if number == 0:
        tree["step-100/.metadata"] = whole(of)["step-100/.metadata"]
    return make_tree(base / f"node{number}/run", tree, age=7200)


def there(base: Path) -> dict[str, bytes]:
    if not (base / "to").exists():
        return {}
    return {p: c for p, c in read_tree(base / "to").items() if ".ckptctl" not in p.split("/")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("last", [True, False])
def test_a_caller_that_dies_at_each_call(
    how: str, *, last: bool, tmp_path: Path, ckptctl: Ckptctl, moments: Moments
) -> None:
    """One that only hands in its part, or the last one, which makes it whole."""
    dying = 1 if last else 0

    def begun(base: Path) -> list[Path]:
        runs = [node(base, number, 2) for number in range(2)]
        if last:
            assert ckptctl("sync", runs[0], base / "to", "--part", "0/2").code == 0
        return runs

    runs = begun(tmp_path / "counted")
    call = ("sync", "--part", f"{dying}/2")
    done = ckptctl(how, "0", *call, runs[dying], tmp_path / "counted/to", module=DIES)
    found = re.search(r"calls=(\d+)", done.stderr)
    assert found
    for turn, nth in enumerate(moments(int(found[1]) + 1)):
        base = tmp_path / f"at{nth}"
        runs = begun(base)
        ckptctl(how, str(nth), *call, runs[dying], base / "to", module=DIES)
        assert there(base) in ({}, whole(2)), nth
        # Of the last one each other time nobody else comes again.
        for number in (1,) if last and turn % 2 else (0, 1):
            again = ckptctl("sync", runs[number], base / "to", "--part", f"{number}/2")
            assert again.code == 0, (nth, again.stdout, again.stderr)
        assert there(base) == whole(2), nth
        shutil.rmtree(base)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_a_late_caller_that_dies_while_it_adds_leaves_a_whole_one(
    how: str, tmp_path: Path, ckptctl: Ckptctl, moments: Moments
) -> None:
    more = {"step-100/optim_rank3.pt": SHARD, "step-100/big.bin": SHARD}

    def begun(base: Path) -> Path:
        for number in range(3):
            run = node(base, number, 3)
            assert ckptctl("sync", run, base / "to", "--part", f"{number}/4").code == 0
        return make_tree(base / "node3/run", more, age=7200)

    late = begun(tmp_path / "counted")
    call = ("sync", "--part", "3/4")
    done = ckptctl(how, "0", *call, late, tmp_path / "counted/to", module=DIES)
    found = re.search(r"calls=(\d+)", done.stderr)
    assert found
    for nth in moments(int(found[1]) + 1):
        base = tmp_path / f"at{nth}"
        late = begun(base)
        ckptctl(how, str(nth), *call, late, base / "to", module=DIES)
        assert whole(3).items() <= there(base).items() <= {**whole(3), **more}.items(), nth
        again = ckptctl(*call, late, base / "to")
        assert (again.code, there(base)) == (0, {**whole(3), **more}), (nth, again.stdout)
        assert ckptctl("verify", base / "to", "--level", "digest").code == 0
        shutil.rmtree(base)


def test_who_comes_to_make_it_whole_second_finds_it_whole(tmp_path: Path) -> None:
    """Two see that all parts are there, and the lock is another's for the moment."""
    runs = [node(tmp_path, number, 3) for number in range(3)]
    to = tmp_path / "to"

    def call(number: int) -> subprocess.Popen[bytes]:
        part = ("--part", f"{number}/3", "--json")
        program = [sys.executable, "-m", "ckptctl", "sync", str(runs[number]), str(to), *part]
        env = {**os.environ, "HOME": str(tmp_path)}
        return subprocess.Popen(program, stdout=subprocess.PIPE, env=env)

    for number in (0, 1):
        early = call(number)
        early.communicate(timeout=60)
        assert early.returncode == 0
    folder = os.open(to, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    last = call(2)
    note = tmp_path / ".ckptctl/to/staging/step-100.parts/2.json"
    end = time.monotonic() + 60
    while not (note.exists() and json.loads(note.read_text())["done"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    again = call(1)
    time.sleep(1.5)  # it waits as well by then; were it slower, it would find all done
    os.close(folder)
    told = [one.communicate(timeout=60)[0] for one in (last, again)]
    said = [json.loads(text)["results"] for text in told]
    assert [one.returncode for one in (last, again)] == [0, 0], said
    assert {r["status"] for results in said for r in results} <= {"done", "equal"}
    assert there(tmp_path) == whole(3)


def test_all_at_once_make_one(tmp_path: Path) -> None:
    runs = [node(tmp_path, number, 3) for number in range(3)]
    env = {**os.environ, "HOME": str(tmp_path)}
    calls = [
        subprocess.Popen(
            [sys.executable, "-m", "ckptctl", "sync", str(run), str(tmp_path / "to"), "--part", f"{n}/3"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
        )
        for n, run in enumerate(runs)
    ]  # fmt: skip
    said = [call.communicate()[0].decode() for call in calls]
    assert [call.returncode for call in calls] == [0, 0, 0], said
    assert there(tmp_path) == whole(3)


LATE = """
import os, subprocess, sys
from ckptctl.cli.app import run
from ckptctl.parts.handing import Hands
hand_in, other = Hands.hand_in, sys.argv[1:4]

def late(hands, offer):
    subprocess.run([sys.executable, "-m", "ckptctl", "sync", *other[:2], "--part", other[2]], check=True)
    assert os.path.exists(other[1] + "/step-100/.metadata")
    return hand_in(hands, offer)

Hands.hand_in = late
sys.exit(run(["sync", *sys.argv[4:]]))
"""


def test_who_hands_in_once_more_while_another_makes_it_whole_finds_it_whole(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    runs = [node(tmp_path, number, 3) for number in range(3)]
    to = tmp_path / "to"
    for number in (0, 1):
        assert ckptctl("sync", runs[number], to, "--part", f"{number}/3").code == 0
    (runs[1] / "step-100/__1_0.distcp").touch()  # else there is nothing to hand in
    program: list[str | Path] = [
        sys.executable,
        "-c",
        LATE,
        runs[2],
        to,
        "2/3",
        runs[1],
        to,
        "--part",
        "1/3",
        "--json",
    ]
    done = subprocess.run(program, stdout=subprocess.PIPE, check=True)
    (result,) = json.loads(done.stdout.splitlines()[-1])["results"]
    assert result["status"] == "equal"
    assert there(tmp_path) == whole(3)
    assert not list((tmp_path / ".ckptctl/to/staging").glob("step-100*"))
