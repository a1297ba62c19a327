"""`ckptctl resolve --fetch`: what a job needs where it runs, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.cli.test_processes import ENV
from tests.cli.test_resolve import tiers
from tests.layouts import files
from tests.program import Ckptctl
from tests.saved import names_left, save
from tests.trees import make_tree, read_tree

TORN = torch_zip()[:-30]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that only the second of two tiers holds."""
    tiers(tmp_path, "fast", "slow")
    save(tmp_path / "slow" / "llm", {1: 3.0, 2: 2.0, 3: 1.0})
    return make_tree(tmp_path / "slow" / "llm", {"latest": "-> step_3.pt"})


def damage(file: Path) -> None:
    """Change a byte that no header shows, as a disk does."""
    was, content = file.stat(), bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def test_it_is_copied_with_its_pointers_and_nothing_else(run: Path, ckptctl: Ckptctl) -> None:
    node, config = run.parents[1] / "node" / "llm", ("-c", run.parents[1] / "ckptctl.yaml")
    before = read_tree(run)
    done = ckptctl("resolve", "latest", "@fast/llm", "--fetch", node, *config)
    assert (done.code, done.stdout, done.stderr) == (0, f"{node}/step_3.pt\n", "")
    assert names_left(node) == ["latest", "step_3.json", "step_3.pt"]
    assert os.readlink(node / "latest") == "step_3.pt"
    assert (node / "step_3.pt").read_bytes() == (run / "step_3.pt").read_bytes()
    assert (node / "step_3.pt").stat().st_mtime_ns == (run / "step_3.pt").stat().st_mtime_ns
    assert read_tree(run) == before
    (kept,) = [c for c in ckptctl("list", run, "--json").json["runs"][0]["checkpoints"] if c["step"] == 3]  # fmt: skip
    assert kept["holds"] == []
    # The next job on this node sends nothing.
    again = ckptctl("resolve", "latest", "@fast/llm", "--fetch", node, *config, "--json").json
    (result,) = again["results"]
    assert (result["path"], result["tier"]) == (f"{node}/step_3.pt", "slow")
    fetched = result["fetched"]
    assert (fetched["from"], fetched["status"], fetched["bytes_sent"]) == (f"{run}/step_3.pt", "equal", 0)  # fmt: skip


def test_what_lies_there_already_is_only_named(run: Path, ckptctl: Ckptctl) -> None:
    before = read_tree(run.parents[1])
    for there in (run, run.parent, run.parents[1] / "fast" / ".." / "slow"):
        done = ckptctl("resolve", "latest", run, "--fetch", there)
        assert (done.code, done.stdout) == (0, f"{run}/step_3.pt\n")
    assert read_tree(run.parents[1]) == before


def test_a_step_comes_with_all_its_files(tmp_path: Path, ckptctl: Ckptctl) -> None:
    names = [f"{part}_{step}.pt" for step in (1, 2) for part in ("model", "optim", "net")]
    run = make_tree(tmp_path / "run", files(*names))
    node = tmp_path / "node"
    done = ckptctl("resolve", "model_2", run, "--fetch", node)
    assert done.stdout == f"{node}/model_2.pt\n", done.stderr
    assert names_left(node) == ["model_2.pt", "net_2.pt", "optim_2.pt"]
    (run / "net_1.pt").write_bytes(TORN)
    done = ckptctl("resolve", "model_1", run, "--fetch", node)
    assert (done.code, done.stdout) == (0, f"{node}/model_1.pt\n"), done.stderr
    assert not (node / "net_1.pt").exists()


def test_another_one_of_its_name_starts_no_job(run: Path, ckptctl: Ckptctl) -> None:
    node = make_tree(run.parents[1] / "node", {"step_3.pt": torch_zip() + b"other"})
    before = read_tree(node)
    done = ckptctl("resolve", "latest", run, "--fetch", node)
    assert (done.code, done.stdout) == (5, "")
    assert f"another one than {run}/step_3.pt has this name there" in done.stderr
    assert {p: c for p, c in read_tree(node).items() if p in before} == before
    as_json = ckptctl("resolve", "latest", run, "--fetch", node, "--json")
    assert (as_json.code, as_json.json["code"]) == (5, 5)


def test_what_turns_out_damaged_falls_back_to_the_next(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    damage(run / "step_3.pt")
    node = run.parents[1] / "node"
    done = ckptctl("resolve", "latest", run, "--fetch", node)
    assert (done.code, done.stdout) == (0, f"{node}/step_2.pt\n")
    assert "passed over step_3 on slow: " in done.stderr
    assert "its bytes are not those that its manifest noted" in done.stderr
    assert names_left(node) == ["step_2.json", "step_2.pt"]
    for step in (1, 2):
        damage(run / f"step_{step}.pt")
    assert ckptctl("resolve", "latest", run, "--fetch", run.parents[1] / "other").code == 8


def test_a_damaged_copy_falls_back_to_that_of_the_next_tier(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path, "fast", "slow")
    for tier in ("fast", "slow"):
        save(tmp_path / tier / "llm", dict.fromkeys((1, 2)))
    ckptctl("verify", tmp_path / "fast" / "llm", "--record")
    damage(tmp_path / "fast" / "llm" / "step_2.pt")
    done = ckptctl("resolve", "latest", "@fast/llm", "--fetch", tmp_path / "node", "-c", config, "--json")  # fmt: skip
    assert done.json["results"][0]["fetched"]["from"] == f"{tmp_path}/slow/llm/step_2.pt"


def test_it_is_held_meanwhile_and_one_that_goes_falls_back(run: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from ckptctl.cli import fetching\n"
        "from ckptctl.cli.app import run\n"
        "own, (source, node) = fetching.SyncRun.synced, sys.argv[1:]\n"
        "def synced(self):\n"
        "    records = pathlib.Path(source, '../.ckptctl/llm/records').glob('*.json')\n"
        "    print(*[r.read_text() for r in records if '\"holds\": [{' in r.read_text()], file=sys.stderr)\n"
        "    pathlib.Path(source, 'step_3.pt').unlink(missing_ok=True)\n"
        "    return own(self)\n"
        "fetching.SyncRun.synced = synced\n"
        "run(['resolve', 'latest', source, '--fetch', node])\n"
    )
    node = run.parents[1] / "node"
    done = subprocess.run(
        [sys.executable, "-c", program, run, node], env=ENV, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{node}/step_2.pt\n", done.stderr
    held = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [one["path"] for one in held] == ["step_3.pt", "step_2.pt"]
    assert "step_3.pt: changed or went while it was copied" in done.stderr
    assert "looking anew" in done.stderr


def test_who_may_not_write_at_the_source_goes_on_without_a_hold(
    run: Path, ckptctl: Ckptctl
) -> None:
    for place in (run.parent, run):
        (place / ".ckptctl").write_text("a file, where the records would be")
    node = run.parents[1] / "node"
    done = ckptctl("resolve", "latest", run, "--fetch", node)
    assert (done.code, done.stdout, done.stderr) == (0, f"{node}/step_3.pt\n", "")


@pytest.mark.parametrize(
    ("there", "code", "said"),
    [
        ("", 2, "--fetch is empty"),
        ("slow/llm/inside", 2, "the destination lies inside the source"),
        ("file/node", 7, "cannot be made"),
    ],
)
def test_a_directory_that_cannot_be_one(
    there: str, code: int, said: str, run: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:
    monkeypatch.chdir(run.parents[1])
    Path("file").write_text("no directory")
    done = ckptctl("resolve", "latest", "slow/llm", "--fetch", there)
    assert (done.code, done.stdout, said in done.stderr) == (code, "", True), done.stderr
