"""`ckptctl resolve --fetch`: what a job needs where it runs, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, torch_zip
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


SHARDS = {
    "step-100/.metadata": dcp_metadata({"__0_0.distcp": 4096, "__1_0.distcp": 4096}),
    "step-100/__0_0.distcp": b"x" * 4096,
    "step-100/__1_0.distcp": b"y" * 4096,
}
RANKS = {f"step_100_rank_{rank}.pt": torch_zip() for rank in range(3)}


def part_of(tree: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {path: tree[path] for path in tree if path.endswith(names)}


@pytest.mark.parametrize(
    ("tree", "own"),
    [
        (SHARDS, (".metadata", "__0_0.distcp")),
        (SHARDS, ("__1_0.distcp",)),
        (RANKS, ("rank_0.pt",)),
        (RANKS, ("rank_1.pt", "rank_2.pt")),
    ],
)
def test_the_part_that_a_node_has_of_it_is_completed(
    tree: dict[str, bytes], own: tuple[str, ...], tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", tree, age=7200)
    # The times of a node's own files are those that its trainer wrote them at.
    mine = part_of(tree, *own)
    node = make_tree(tmp_path / "nvme" / "run", mine, age=7300)
    before = {path: (node / path).stat() for path in mine}
    done = ckptctl("resolve", "latest", run, "--fetch", node, "--json")
    assert done.code == 0, done.stdout
    fetched = done.json["results"][0]["fetched"]
    assert fetched["bytes_sent"] == sum(len(tree[path]) for path in tree.keys() - mine.keys())
    assert {p: c for p, c in read_tree(node).items() if p in tree} == tree
    for path, was in before.items():
        now = (node / path).stat()
        assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)
    (listed,) = ckptctl("list", node, "--json").json["runs"][0]["checkpoints"]
    assert listed["state"] == "complete"
    again = ckptctl("resolve", "latest", run, "--fetch", node, "--json").json["results"][0]
    assert again["fetched"]["status"] == "equal"
    # What a trainer saves there later is no part that was fetched.
    make_tree(node, mine, age=3600)
    (listed,) = ckptctl("list", node, "--json").json["runs"][0]["checkpoints"]
    assert listed["state"] == "complete"


@pytest.mark.parametrize("more", [(), ("--files", "__1_*")])
@pytest.mark.parametrize(
    "there",
    [
        {"step-100/__0_0.distcp": b"z" * 4096},
        {"step-100/__0_0.distcp": b"x" * 4095},
        {"step-100/__0_0.distcp": b"x" * 4096, "step-100/__2_0.distcp": b"x"},
        {"step-100/__0_0.distcp": b"x" * 4096, "step-100/optim": "-> /tmp"},
        {"step-100": b"a file"},
    ],
)
def test_what_is_no_part_of_it_is_a_conflict(
    there: dict[str, bytes | str], more: tuple[str, ...], tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", SHARDS, age=7200)
    node = make_tree(tmp_path / "node", there, age=7300)
    before = read_tree(node)
    done = ckptctl("resolve", "latest", run, "--fetch", node, *more)
    assert (done.code, done.stdout) == (5, "")
    assert {p: c for p, c in read_tree(node).items() if not p.startswith(".ckptctl")} == before


def test_only_some_files_join_a_nodes_own_part(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", RANKS, age=7200)
    node = make_tree(tmp_path / "node", part_of(RANKS, "rank_0.pt"), age=7200)
    # With rank 1 alone it would be a whole grid of two.
    done = ckptctl("resolve", "latest", run, "--fetch", node, "--files", "*_rank_1.pt")
    assert done.code == 0, done.stderr
    (listed,) = ckptctl("list", node, "--json").json["runs"][0]["checkpoints"]
    assert (listed["state"], len(listed["files"])) == ("incomplete", 2)
    assert ckptctl("resolve", "latest", run, "--fetch", node).code == 0
    (listed,) = ckptctl("list", node, "--json").json["runs"][0]["checkpoints"]
    assert (listed["state"], len(listed["files"])) == ("complete", 3)
