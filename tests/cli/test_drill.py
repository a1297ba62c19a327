"""`ckptctl drill`: whether a resume works from each tier, before one is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_fetch import TORN, damage
from tests.cli.test_processes import ENV
from tests.cli.test_resolve import tiers
from tests.cli.test_verify import megatron
from tests.layouts import files, like
from tests.program import Ckptctl, Done
from tests.saved import save
from tests.stores.places import Place
from tests.trees import make_tree, read_tree


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two tiers with two runs, and a directory to fetch to."""
    policy = (
        "runs: [{match: '**', policy: p}]\n"
        "policies: {p: {keep: [{last: 1}], tiers: {fast: {copy_to: slow, copy: [{steps: [5]}]}}}}\n"
    )
    tiers(tmp_path, "fast", "slow", more=policy)
    save(tmp_path / "fast" / "llm", dict.fromkeys((4, 5, 6)), newest_hours_ago=40)
    save(tmp_path / "slow" / "llm", {5: None})
    make_tree(tmp_path / "slow" / "old", files("model_1.pt", "optim_1.pt"))
    (tmp_path / "into").mkdir()
    return tmp_path


def drilled(ckptctl: Ckptctl, two: Path, *more: str) -> tuple[Done, dict[tuple[str, str], dict[str, Any]]]:  # fmt: skip
    """Drill, and see that it leaves nothing behind."""
    before = read_tree(two)
    done = ckptctl("drill", *more, "--into", two / "into", "-c", two / "ckptctl.yaml", "--json")
    assert read_tree(two) == before
    assert (done.json["schema"], done.json["version"]) == ("ckptctl/drill", 1)
    return done, {(one["run"], one["tier"]): one for one in done.json["results"]}


def test_each_run_is_resumed_from_each_tier(two: Path, ckptctl: Ckptctl) -> None:
    done, found = drilled(ckptctl, two)
    assert done.code == 0, done.json
    assert {where: (one["checkpoint"], one["status"]) for where, one in found.items()} == {
        ("llm", "fast"): ("step_6", "ok"),
        ("llm", "slow"): ("step_5", "ok"),
        ("old", "slow"): ("model_1", "ok"),
    }
    assert found["llm", "fast"]["path"] == f"{two}/fast/llm/step_6.pt"
    step = [two / "slow" / "old" / name for name in ("model_1.pt", "optim_1.pt")]
    assert found["old", "slow"]["bytes"] == sum(file.stat().st_size for file in step)
    for one in found.values():
        assert (one["error"], one["fetch_seconds"] > 0, one["rate"] > 0) == (None, True, True)
    assert [p["text"] for p in done.json["problems"]] == ["old: nothing of it is on fast"]
    _, one_run = drilled(ckptctl, two, "llm")
    assert set(one_run) == {("llm", "fast"), ("llm", "slow")}
    _, alone = drilled(ckptctl, two, str(two / "slow" / "llm"))
    assert set(alone) == {("llm", "slow")}


def test_for_people_and_other_formats(two: Path, ckptctl: Ckptctl) -> None:
    (two / "slow" / "old" / "optim_1.pt").write_bytes(TORN)
    where = ("--into", two / "into", "-c", two / "ckptctl.yaml")
    table = ckptctl("drill", *where)
    assert table.code == 6
    assert "2 of 3 resumes work; the longest wait is " in table.stdout
    assert "! old from slow: " in table.stdout
    lines = ckptctl("drill", *where, "-o", "csv").stdout.splitlines()
    assert lines[0].startswith("run,tier,checkpoint,path,status,bytes,fetch_seconds,")
    assert lines[3].startswith("old,slow,,,failed,0,,,,")
    paths = ckptctl("drill", *where, "-o", "paths")
    assert paths.stdout == f"{two}/fast/llm/step_6.pt\n{two}/slow/llm/step_5.pt\n"
    assert "old from slow: " in paths.stderr
    assert "passed over model_1" in paths.stderr


def test_what_is_damaged_or_missing_or_torn_is_told_for_each(two: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", two / "slow" / "llm", "--record")
    damage(two / "slow" / "llm" / "step_5.pt")
    (two / "fast" / "llm" / "step_6.pt").write_bytes(TORN)
    done, found = drilled(ckptctl, two, "llm")
    assert done.code == 6
    assert "its bytes are not those that its manifest noted" in found["llm", "slow"]["error"]
    # A resume works all the same: it falls back, which is told.
    assert (found["llm", "fast"]["status"], found["llm", "fast"]["checkpoint"]) == ("ok", "step_5")
    assert "passed over step_6" in found["llm", "fast"]["notes"][0]
    shutil.rmtree(two / "slow" / "llm")
    done, found = drilled(ckptctl, two, "llm")
    assert (done.code, found["llm", "slow"]["status"]) == (6, "failed")
    assert found["llm", "slow"]["error"] == "llm: nothing of it is on slow, though fast is copied there"  # fmt: skip
    (two / "fast" / "llm" / "step_5.pt").unlink()  # what is left is not to be copied
    done, found = drilled(ckptctl, two, "llm")
    assert (done.code, set(found)) == (0, {("llm", "fast")})
    shutil.rmtree(two / "slow")
    done, found = drilled(ckptctl, two, "llm")
    assert (done.code, found["llm", "fast"]["status"], found["llm", "slow"]["status"]) == (7, "ok", "failed")  # fmt: skip
    assert "the tier slow cannot be read" in found["llm", "slow"]["error"]


def test_every_byte_is_read_where_it_was_fetched(tmp_path: Path, ckptctl: Ckptctl) -> None:
    """What no manifest tells, the framework's own digests do."""
    run = megatron(tmp_path / "run")
    assert ckptctl("drill", run, "--into", tmp_path).code == 0
    damage(run / "iter_0001000" / "__0_0.distcp")
    assert ckptctl("resolve", "latest", run).code == 0
    done = ckptctl("drill", run, "--into", tmp_path, "--json")
    assert (done.code, done.json["results"][0]["status"]) == (6, "failed")
    assert "after it was fetched, iter_0001000 is damaged" in done.json["results"][0]["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing",), 8, "nothing was rehearsed"),
        (("--into", "missing"), 2, "is no directory"),
        (("--into", "fast"), 2, "lies on the tier fast"),
        (("@far/llm",), 2, "no such tier"),
        (("",), 2, "RUN is empty"),
    ],
)
def test_what_cannot_be_rehearsed(
    arguments: tuple[str, ...], code: int, said: str, two: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:  # fmt: skip
    monkeypatch.chdir(two)
    done = ckptctl("drill", *arguments)
    assert (done.code, done.stdout, said in done.stderr) == (code, "", True), done.stderr


PROGRAM = """
import os, pathlib, signal, sys
from types import SimpleNamespace
from ckptctl.cli import drill, fetching
from ckptctl.cli.app import run
from ckptctl.transfer.sending import Sender
def killed(call):
    def wrapped(*arguments, **more):
        os.kill(os.getpid(), signal.SIGTERM)
        return call(*arguments, **more)
    return wrapped
case, into, config = sys.argv[1:]
if case == "between":
    fetching.SyncRun.synced = killed(fetching.SyncRun.synced)
elif case == "gone":
    own = fetching.SyncRun.synced
    def synced(self):
        pathlib.Path(into, "../fast/llm/step_6.pt").unlink(missing_ok=True)
        return own(self)
    fetching.SyncRun.synced = synced
elif case == "sending":
    Sender.send_one = killed(Sender.send_one)
else:
    drill.os.statvfs = lambda path: SimpleNamespace(f_bavail=1, f_frsize=100)
sys.exit(run(["drill", "llm", "--into", into, "-c", config, "-o", "paths"]))
"""


def changed(case: str, two: Path) -> subprocess.CompletedProcess[str]:
    """Drill with a program to which something happens."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, case, two / "into", two / "ckptctl.yaml"],
        env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_a_prune_takes_meanwhile_is_no_failure(two: Path) -> None:
    done = changed("gone", two)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{two}/fast/llm/step_5.pt\n{two}/slow/llm/step_5.pt\n"
    assert list((two / "into").iterdir()) == []


@pytest.mark.parametrize(("case", "code"), [("between", 143), ("sending", 143), ("full", 4)])
def test_nothing_is_left_of_one_that_ends_early(case: str, code: int, two: Path) -> None:
    before = read_tree(two)
    done = changed(case, two)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert read_tree(two) == before
    assert case != "full" or "has 100 B free, and step_6 of llm on fast has " in done.stderr


def test_from_a_bucket(tmp_path: Path, s3: Place, ckptctl: Ckptctl) -> None:
    """Up by sync, down by a drill and by --fetch: the bytes, the times and the pointer."""
    config = tiers(tmp_path, "fast")
    said = json.dumps({"url": s3.url, "storage_options": s3.options})
    config.write_text(config.read_text().rstrip("\n") + f"\n  cloud: {said}\n")
    run = make_tree(tmp_path / "fast" / "llm", like("hf-trainer", "checkpoint-3"))
    up = ckptctl("sync", run, "@cloud/llm", "-c", config, "--settle", "0s")
    assert up.code == 0, up.stdout + up.stderr
    with closing(s3.open()) as store:
        before = {path: entry.version for path, entry in store.listing().walk()}
        done = ckptctl("drill", "@cloud/llm", "--into", tmp_path, "-c", config, "--json")
        assert done.json["results"][0]["status"] == "ok", done.json
        assert {path: entry.version for path, entry in store.listing().walk()} == before
    shutil.rmtree(run)
    node = tmp_path / "node"
    down = ckptctl("resolve", "latest", "@fast/llm", "--fetch", node, "-c", config)
    assert (down.code, down.stdout) == (0, f"{node}/checkpoint-3\n"), down.stderr
    assert ckptctl("verify", node, "--level", "digest").code == 0
