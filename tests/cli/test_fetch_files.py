"""`resolve --fetch DIR --files GLOB`: some files of a checkpoint, which nothing takes for a whole one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from tests.cli.test_fetch import damage
from tests.cli.test_resolve import tiers
from tests.program import Ckptctl, Done
from tests.stores.places import Place
from tests.trees import make_tree, read_tree, set_age

SHARD = b"x" * 4096
DCP = {
    "step-100/.metadata": dcp_metadata({"__0_0.distcp": 4096, "__1_0.distcp": 4096}),
    "step-100/__0_0.distcp": SHARD,
    "step-100/__1_0.distcp": b"y" * 4096,
}
RANKS = {f"step_100_rank_{rank}.pt": torch_zip() for rank in range(4)}


def files(root: Path) -> dict[str, bytes]:
    return {p: c for p, c in read_tree(root).items() if ".ckptctl" not in p.split("/")}


def states(ckptctl: Ckptctl, run: Path) -> list[str]:
    done = ckptctl("list", run, "--json")
    return [c["state"] for r in done.json.get("runs", ()) for c in r["checkpoints"]]


def picked(tree: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {path: content for path, content in tree.items() if path.rpartition("/")[2] in names}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return tmp_path / "node" / "run"


def fetch(ckptctl: Ckptctl, run: Path | str, node: Path, *more: str, **env: str) -> Done:
    return ckptctl("resolve", "latest", run, "--fetch", node, *more, env=env)


@pytest.mark.parametrize(
    ("tree", "globs", "names"),
    [
        (DCP, [".metadata", "__1_*"], [".metadata", "__1_0.distcp"]),
        # Ranks 0 and 1 alone would be a whole grid of two.
        (RANKS, ["*_rank_[01].pt"], ["step_100_rank_0.pt", "step_100_rank_1.pt"]),
        (RANKS, ["*_rank_3.pt"], ["step_100_rank_3.pt"]),
    ],
)
def test_just_those_come_and_nothing_takes_them_for_a_checkpoint(
    tree: dict[str, bytes], globs: list[str], names: list[str], tmp_path: Path, node: Path, ckptctl: Ckptctl,
) -> None:  # fmt: skip
    run = make_tree(tmp_path / "run", {**tree, "step_99.pt": torch_zip()}, age=7200)
    more = [word for glob in globs for word in ("--files", glob)]
    done = fetch(ckptctl, run, node, *more, "--json")
    assert done.code == 0, done.stdout
    (result,) = done.json["results"]
    assert (result["fetched"]["status"], result["fetched"]["files"]) == ("done", len(names))
    assert os.path.exists(result["path"])
    assert files(node) == picked(tree, *names)
    for path in files(node):
        assert (node / path).stat().st_mtime_ns == (run / path).stat().st_mtime_ns
    assert set(states(ckptctl, node)) <= {"incomplete"}
    assert ckptctl("resolve", "latest", node).code == 8
    assert ckptctl("verify", node, "--level", "digest", "--record").code in {0, 6}
    assert ckptctl("sync", node, tmp_path / "elsewhere").code == 0
    assert files(tmp_path / "elsewhere") == {}
    assert set(states(ckptctl, node)) <= {"incomplete"}
    # A prune keeps it, and counts it for nothing.
    make_tree(node, {"step_98.pt": torch_zip(), "step_97.pt": torch_zip()}, age=9000)
    assert ckptctl("prune", node, "--keep-last", "1").code == 0
    assert sorted(files(node)) == sorted([*picked(tree, *names), "step_98.pt"])
    again = fetch(ckptctl, run, node, *more, "--json").json["results"][0]["fetched"]
    assert (again["status"], again["bytes_sent"]) == ("equal", 0)


def test_more_of_it_joins_what_is_there_and_all_of_it_is_no_part(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", DCP, age=7200)
    assert fetch(ckptctl, run, node, "--files", "__0*").code == 0
    assert fetch(ckptctl, run, node, "--files", "__1*").code == 0
    assert files(node) == picked(DCP, "__0_0.distcp", "__1_0.distcp")
    assert "complete" not in states(ckptctl, node)
    assert fetch(ckptctl, run, node, "--files", ".metadata").code == 0
    assert files(node) == DCP
    assert "complete" not in states(ckptctl, node)
    assert fetch(ckptctl, run, node).code == 0
    assert states(ckptctl, node) == ["complete"]
    whole = tmp_path / "whole"
    assert fetch(ckptctl, run, whole, "--files", "*").code == 0
    assert states(ckptctl, whole) == ["complete"]
    assert fetch(ckptctl, run, whole, "--files", "__0*").code == 0
    assert states(ckptctl, whole) == ["complete"]


def test_what_is_there_of_another_save_or_by_another_hand_is_left_alone(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", DCP, age=7200)
    for there in ({"step-100/__0_0.distcp": b"z" * 4096}, {"step-100/__1_0.distcp": SHARD}):
        shutil.rmtree(node, ignore_errors=True)
        make_tree(node, there)
        done = fetch(ckptctl, run, node, "--files", "__0*")
        assert (done.code, done.stdout) == (5, "")
        assert files(node) == there


def test_what_a_trainer_saves_in_its_place_is_a_checkpoint(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", DCP, age=7200)
    assert fetch(ckptctl, run, node, "--files", "__0*").code == 0
    make_tree(node, DCP, age=3600)
    assert states(ckptctl, node) == ["complete"]


def test_new_times_make_no_checkpoint_of_a_part(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    # Ranks 0 and 1 alone would be a whole grid of two.
    run = make_tree(tmp_path / "run", RANKS, age=7200)
    assert fetch(ckptctl, run, node, "--files", "*_rank_[01].pt").code == 0
    for path in node.iterdir():
        os.utime(path, (1.7e9, 1.7e9))
    copied = tmp_path / "copied"
    shutil.copytree(node.parent, copied, copy_function=shutil.copyfile)
    for there in (node, copied / "run"):
        assert states(ckptctl, there) == ["incomplete"]
        assert ckptctl("resolve", "latest", there).code == 8
        assert ckptctl("sync", there, tmp_path / "elsewhere").code == 0
        assert files(tmp_path / "elsewhere") == {}
    # What a trainer saves there has another rank, or another size.
    make_tree(node, RANKS, age=3600)
    assert states(ckptctl, node) == ["complete"]


def test_a_part_is_as_old_as_its_fetch_to_what_removes_the_incomplete(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    newer = {path.removeprefix("step-100/"): content for path, content in DCP.items()}
    run = make_tree(tmp_path / "run", DCP, age=5 * 86400)
    assert fetch(ckptctl, run, node, "--files", "__0*").code == 0
    make_tree(node / "step-200", newer, age=4 * 86400)
    prune = ["prune", str(node), "--keep-last", "1", "--delete-incomplete", "24h"]
    assert ckptctl(*prune).code == 0
    assert (node / "step-100/__0_0.distcp").exists()
    (note,) = (node.parent / ".ckptctl/run/partial").iterdir()
    set_age(note, 2 * 86400)
    set_age(node / "step-200", 86400)  # saved after that
    assert ckptctl(*prune).code == 0
    assert files(node) == {f"step-200/{path}": content for path, content in newer.items()}


def test_a_part_on_a_fast_tier_hides_no_whole_one_on_another(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    trained = {
        "model.safetensors": safetensors("w"),
        "optimizer.pt": torch_zip(),
    }
    config = tiers(tmp_path, "nvme", "big")
    for age, step in ((9000, 100), (7200, 200)):
        make_tree(tmp_path / f"big/llm/checkpoint-{step}", {**trained, "trainer_state.json": json.dumps({"global_step": step}).encode()}, age=age)  # fmt: skip
    (tmp_path / "nvme").mkdir(exist_ok=True)
    done = fetch(ckptctl, "@big/llm", tmp_path / "nvme/llm", "-c", str(config), "--files", "*.safetensors", "--files", "*.json")  # fmt: skip
    assert done.code == 0, done.stderr
    for selector in ("latest", "saved"):
        done = ckptctl("resolve", selector, "@nvme/llm", "-c", config)
        assert (done.code, done.stdout) == (0, f"{tmp_path}/big/llm/checkpoint-200\n"), done.stderr
        assert "passed over checkpoint-200 on nvme" in done.stderr
        assert "was saved after" not in done.stderr  # the run did not go back
    shutil.rmtree(tmp_path / "big/llm/checkpoint-100")
    assert ckptctl("resolve", "latest", "@nvme/llm", "-c", config).code == 0  # not 8: begin anew


def test_the_numbers_of_task_and_node_stand_in_the_pattern(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", RANKS, age=7200)
    slurm = {"SLURM_PROCID": "2", "SLURM_NODEID": "1"}
    assert fetch(ckptctl, run, node, "--files", "*_rank_%t.pt", "--files", "*_rank_%n.*", **slurm).code == 0  # fmt: skip
    assert sorted(files(node)) == ["step_100_rank_1.pt", "step_100_rank_2.pt"]
    for bad in ("*_rank_%x.pt", "", "*_rank_%t.pt", "*_rank_9.pt"):
        done = fetch(ckptctl, run, tmp_path / "other", "--files", bad)
        assert (done.code, done.stdout) == (2, ""), bad
    assert ckptctl("resolve", "latest", run, "--files", "*").code == 2
    assert not (tmp_path / "other").exists()


def test_a_damaged_file_of_it_falls_back_and_an_unneeded_one_is_not_read(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    older = {path.replace("100", "90"): content for path, content in DCP.items()}
    run = make_tree(tmp_path / "run", {**DCP, **older}, age=7200)
    assert ckptctl("verify", run, "--record").code == 0
    damage(run / "step-100/__1_0.distcp")
    assert fetch(ckptctl, run, node, "--files", "__0*").stdout == f"{node}/step-100\n"
    assert fetch(ckptctl, run, node, "--files", "__1*").stdout == f"{node}/step-90\n"
    assert sorted(files(node)) == ["step-100/__0_0.distcp", "step-90/__1_0.distcp"]


def test_from_a_bucket_only_those_are_read(node: Path, ckptctl: Ckptctl, s3: Place) -> None:
    for path, content in DCP.items():
        s3.put(f"run/{path}", content)
    options = [word for key, value in s3.options.items() if key != "engine" for word in ("--storage-option", f"{key}={value}")]  # fmt: skip
    done = fetch(ckptctl, f"{s3.url}/run", node, "--files", "__1*", "--json", *options)
    assert done.code == 0, done.stdout
    assert files(node) == picked(DCP, "__1_0.distcp")
    assert done.json["results"][0]["fetched"]["bytes_sent"] == 4096
    assert "complete" not in states(ckptctl, node)


def test_a_note_that_cannot_be_understood_stops_what_deletes(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", RANKS, age=7200)
    assert fetch(ckptctl, run, node, "--files", "*_rank_0.pt").code == 0
    (note,) = (node.parent / ".ckptctl/run/partial").iterdir()
    assert json.loads(note.read_text())["files"].keys() == {"step_100_rank_0.pt"}
    note.write_text("{")
    make_tree(node, {"step_98.pt": torch_zip(), "step_97.pt": torch_zip()}, age=9000)
    assert ckptctl("prune", node, "--keep-last", "1").code == 7


def test_a_part_never_looks_whole_whichever_state_directory_a_later_call_names(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", RANKS, age=7200)
    mine, other = ("--state-dir", str(tmp_path / "mine")), ("--state-dir", str(tmp_path / "other"))
    assert fetch(ckptctl, run, node, "--files", "*_rank_0.pt", *mine).code == 0
    for state in ((), mine, other):
        assert ckptctl("list", node, *state, "--json").json["runs"][0]["checkpoints"][0]["state"] == "incomplete"  # fmt: skip
        assert ckptctl("resolve", "latest", node, *state).code == 8
    # And others may join it, wherever the state of that call is.
    assert fetch(ckptctl, run, node, "--files", "*_rank_1.pt", *other).code == 0
    assert fetch(ckptctl, run, node, "--files", "*_rank_2.pt").code == 0
    assert len(files(node)) == 3
    assert states(ckptctl, node) == ["incomplete"]


def test_where_no_later_call_would_look_nothing_is_fetched_in_part(
    tmp_path: Path, node: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", RANKS, age=7200)
    node.mkdir(parents=True)
    (node.parent / ".ckptctl").write_text("no directory")
    (node / ".ckptctl").write_text("no directory")
    done = fetch(ckptctl, run, node, "--files", "*_rank_0.pt", "--state-dir", str(tmp_path / "s"))
    assert (done.code, done.stdout) == (7, "")
    assert "--state-dir" not in done.stderr
    assert [path.name for path in node.iterdir()] == [".ckptctl"]
