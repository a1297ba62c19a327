"""`ckptctl sync --part K/N`: one checkpoint that lies in parts on several nodes comes whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ckptctl.cli.hosts import hosts
from ckptctl.cli.tasks import caller_of
from ckptctl.errors import UsageError
from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from ckptctl.parts.meeting import Meeting
from ckptctl.parts.part import Caller, Part
from ckptctl.parts.roll import Roll
from ckptctl.stores.local import LocalStore
from tests.faults.test_full_disk import in_small_file_system
from tests.layouts import EXAMPLES
from tests.program import Ckptctl, Done
from tests.trees import make_tree, read_tree, set_age

SHARD = b"x" * 4096
DCP = {
    "step-100/.metadata": dcp_metadata({"__0_0.distcp": 4096, "__1_0.distcp": 4096}),
    "step-100/__0_0.distcp": SHARD,
    "step-100/__1_0.distcp": SHARD,
}
HANDED = "--no-config"


@pytest.fixture
def nodes(tmp_path: Path) -> list[Path]:
    """Three nodes of a training, the third of which holds one shard more than the others."""
    dealt: list[dict[str, bytes | str]] = [
        {"step-100/.metadata": DCP["step-100/.metadata"]},
        {"step-100/__0_0.distcp": SHARD},
        {"step-100/__1_0.distcp": SHARD},
    ]
    return [
        make_tree(tmp_path / f"node{number}" / "run", tree, age=7200)
        for number, tree in enumerate(dealt)
    ]


def files(root: Path) -> dict[str, bytes]:
    return {p: c for p, c in read_tree(root).items() if ".ckptctl" not in p.split("/")}


def status(done: Done) -> dict[str, str]:
    assert "error" not in done.json, done.stdout
    return {r["checkpoint"]: r["status"] for r in done.json["results"] if r["action"] != "point"}


@pytest.fixture
def hand(ckptctl: Ckptctl, tmp_path: Path) -> Callable[..., Done]:
    """Call `sync --part`."""

    def call(run: Path, part: str, *more: str) -> Done:
        return ckptctl("sync", run, tmp_path / "to", "--part", part, "--json", *more)

    return call


def complete(ckptctl: Ckptctl, run: Path) -> list[str]:
    done = ckptctl("list", run, "--json")
    found = (c for r in done.json.get("runs", ()) for c in r["checkpoints"])
    return [c["name"] for c in found if c["state"] == "complete"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_of_three_nodes_makes_it_whole(
    order: tuple[int, ...], nodes: list[Path], hand: Callable[..., Done], ckptctl: Ckptctl,
    tmp_path: Path,
) -> None:  # fmt: skip
    to = tmp_path / "to"
    for number in order[:2]:
        done = hand(nodes[number], f"{number}/3")
        assert (done.code, status(done)) == (0, {"step-100": "part"})
        assert done.json["results"][0]["error"] is None
        assert files(to) == {}
        note = to.parent / f".ckptctl/to/staging/step-100.parts/{number}.json"
        said = json.loads(note.read_text())
        assert [file["bytes"] for file in said["files"]]
        assert all(file["digest"] for file in said["files"])
    done = hand(nodes[order[2]], f"{order[2]}/3")
    assert (done.code, status(done)) == (0, {"step-100": "done"})
    assert files(to) == DCP
    newest = nodes[0] / "step-100/.metadata"
    assert (to / "step-100/.metadata").stat().st_mtime_ns == newest.stat().st_mtime_ns
    assert complete(ckptctl, to) == ["step-100"]
    assert ckptctl("verify", to, "--level", "digest").code == 0
    for number in range(3):
        done = hand(nodes[number], f"{number}/3")
        assert (done.code, status(done)) == (0, {"step-100": "equal"})
    assert not list((to.parent / ".ckptctl/to/staging").glob("*.parts"))


def test_what_a_tracker_of_one_node_says_comes_with_it(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    zero = {
        "global_step5/mp_rank_00_model_states.pt": torch_zip(),
        "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
    }
    one = {"global_step5/zero_pp_rank_1_mp_rank_00_optim_states.pt": torch_zip()}
    first = make_tree(tmp_path / "a/run", {**zero, "latest": "global_step5"}, age=7200)
    second = make_tree(tmp_path / "b/run", one, age=7200)
    assert hand(first, "0/2").code == 0
    assert files(tmp_path / "to") == {}
    assert hand(second, "1/2").code == 0
    assert files(tmp_path / "to") == {**zero, **one, "latest": b"global_step5"}


def test_the_list_of_tensorflow_comes_with_what_it_names(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    tree = dict(EXAMPLES["tensorflow"])
    part = {path: tree.pop(path) for path in list(tree) if ".data-00001" in path}
    first = make_tree(tmp_path / "a/run", tree, age=7200)
    second = make_tree(tmp_path / "b/run", part, age=7200)
    assert hand(first, "0/2").code == 0
    assert hand(second, "1/2").code == 0
    assert files(tmp_path / "to") == {**tree, **part}


@pytest.mark.parametrize("when", ["first", "last"])
@pytest.mark.parametrize("there", [True, False])
def test_a_node_that_holds_nothing_keeps_nobody_waiting(
    when: str, *, there: bool, nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    empty = tmp_path / "node3" / "run"
    (empty if there else empty.parent).mkdir(parents=True)
    calls = [(empty, "3/4"), *((run, f"{number}/4") for number, run in enumerate(nodes))]
    if when == "last":
        calls.append(calls.pop(0))
    for run, part in calls:
        done = hand(run, part)
        assert done.code == 0, done.stdout
    assert files(tmp_path / "to") == DCP
    assert empty.exists() is there


def test_two_at_once_with_checkpoints_that_the_other_has_nothing_of_leave_none_waiting(
    tmp_path: Path,
) -> None:
    for number in range(3):  # a race: each is another chance to see it lost
        base = tmp_path / str(number)
        (base / "to").mkdir(parents=True)
        calls = []
        for node in (0, 1):
            run = make_tree(base / str(node) / "run", {f"step_{node}.pt": torch_zip()}, age=7200)
            call = ("sync", "--part", f"{node}/2", run, base / "to", "--no-config", "-q")
            calls.append(subprocess.Popen([sys.executable, "-m", "ckptctl", *call]))
        assert [call.wait(timeout=60) for call in calls] == [0, 0]
        assert sorted(files(base / "to")) == ["step_0.pt", "step_1.pt"]


def test_the_whole_grid_of_a_format_waits_for_nobody(
    nodes: list[Path], hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    """The index names all data files: a fourth node, which never comes, can have none."""
    said = [status(hand(run, f"{number}/4")) for number, run in enumerate(nodes)]
    assert said == [{"step-100": "part"}, {"step-100": "part"}, {"step-100": "done"}]
    assert files(tmp_path / "to") == DCP
    assert complete(ckptctl, tmp_path / "to") == ["step-100"]


def published_early(nodes: list[Path], hand: Callable[..., Done]) -> None:
    for number, run in enumerate(nodes):
        hand(run, f"{number}/4")


def test_what_a_late_caller_has_besides_is_added(
    nodes: list[Path], hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    published_early(nodes, hand)
    more = {"step-100/optim_rank3.pt": torch_zip(), "step-100/extra/data.json": b"{}"}
    late = make_tree(tmp_path / "node3/run", {**more, "step-100/__1_0.distcp": SHARD}, age=7200)
    done = hand(late, "3/4")
    assert (done.code, status(done)) == (0, {"step-100": "done"})
    assert files(tmp_path / "to") == {**DCP, **more}
    assert status(hand(late, "3/4")) == {"step-100": "equal"}
    assert status(hand(nodes[0], "0/4")) == {"step-100": "equal"}
    assert ckptctl("verify", tmp_path / "to", "--level", "digest").code == 0
    added = tmp_path / "to/step-100/extra/data.json"  # its digest is known, too
    before = added.stat()
    added.write_bytes(b"[]")
    os.utime(added, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ckptctl("verify", tmp_path / "to", "--level", "digest").code == 6


@pytest.mark.parametrize("age", [7200, 86400])
def test_a_late_caller_whose_files_no_format_knows_alone_is_no_other(
    age: int, nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    published_early(nodes, hand)
    late = make_tree(tmp_path / "node3/run", {"step-100/loader_3.json": b"{}"}, age=age)
    done = hand(late, "3/4")
    fits = age == 7200
    expected = (0, {"step-100": "done"}) if fits else (5, {"step-100": "conflict"})
    assert (done.code, status(done)) == expected
    assert ("step-100/loader_3.json" in files(tmp_path / "to")) is fits


@pytest.mark.parametrize("wrong", ["torn", "other", "yesterday", "early"])
def test_nothing_else_is_added(
    wrong: str, nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    published_early(nodes, hand)
    late = make_tree(tmp_path / "node3/run", {"step-100/optim_rank3.pt": torch_zip()}, age=7200)
    if wrong == "torn":
        (late / "step-100/optim_rank3.pt").write_bytes(torch_zip()[:-20])
    elif wrong == "other":  # than that of the others
        make_tree(late, {"step-100/__1_0.distcp": b"y" * 4096}, age=7200)
    set_age(late, 86400 if wrong == "yesterday" else 7200)
    done = hand(late, "1/4" if wrong == "early" else "3/4")  # 1 has come already
    expected = "failed" if wrong == "torn" else "conflict"
    assert (done.code, status(done)) == (5, {"step-100": expected})
    assert files(tmp_path / "to") == DCP


def test_shards_of_a_model_prove_nothing_of_an_optimizer(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    model = {f"step-5/model-0000{n}-of-00002.safetensors": safetensors("w") for n in (1, 2)}
    first = make_tree(tmp_path / "a/run", model, age=7200)
    second = make_tree(tmp_path / "b/run", {"step-5/optimizer.pt": torch_zip()}, age=7200)
    assert status(hand(first, "0/2")) == {"step-5": "part"}
    assert files(tmp_path / "to") == {}
    assert status(hand(second, "1/2")) == {"step-5": "done"}
    assert len(files(tmp_path / "to")) == 3


def test_files_of_which_each_rank_has_one_are_waited_for(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    make_tree(nodes[1], {"step-100/rng_state_1.pth": torch_zip()}, age=7200)
    make_tree(tmp_path / "node3/run", {"step-100/rng_state_3.pth": torch_zip()}, age=7200)
    for number, run in enumerate(nodes):
        assert status(hand(run, f"{number}/4")) == {"step-100": "part"}
    assert files(tmp_path / "to") == {}
    assert status(hand(tmp_path / "node3/run", "3/4")) == {"step-100": "done"}
    assert "step-100/rng_state_3.pth" in files(tmp_path / "to")


def test_a_node_whose_disk_is_not_mounted_is_no_node_without_files(
    hand: Callable[..., Done], tmp_path: Path, nodes: list[Path]
) -> None:
    assert hand(nodes[0], "0/2").code == 0
    assert hand(tmp_path / "nvme/user/run", "1/2").code == 7


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_of_a_tree_of_runs_a_node_may_lack_some(
    order: tuple[int, ...], tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """Only the first node saves the one run, only the second another; the third has nothing at all."""
    whole = {"step-1/__0_0.distcp": SHARD, "step-1/.metadata": dcp_metadata({"__0_0.distcp": 4096})}
    make_tree(tmp_path / "node0/all/a/llm", whole, age=7200)
    make_tree(tmp_path / "node1/all/vision", whole, age=7200)
    (tmp_path / "node2").mkdir()
    to = tmp_path / "to"
    for number in order:
        source = tmp_path / f"node{number}/all"
        done = ckptctl("sync", "-r", source, to, "--part", f"{number}/3", "--json")
        assert done.code == 0, done.stdout
    assert complete(ckptctl, to / "a/llm") == complete(ckptctl, to / "vision") == ["step-1"]
    assert files(to / "a/llm") == files(to / "vision") == whole


@pytest.mark.parametrize("run", ["../outside", "/outside", "a/../../outside", ".", 7])
def test_what_others_say_they_have_leads_nowhere_else(
    run: object, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """The notes lie on a shared file system, where more than one may write."""
    make_tree(tmp_path / "node0/all/llm", DCP, age=7200)
    (tmp_path / "node1/all").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    call = ("sync", "-r", tmp_path / "node1/all", tmp_path / "to", "--part", "1/2")
    assert ckptctl(*call).code == 0
    (note,) = tmp_path.glob(".ckptctl/to/staging/parts/1-of-2.runs.json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "runs": [run]}))
    done = ckptctl("sync", "-r", tmp_path / "node0/all", tmp_path / "to", "--part", "0/2", "--json")
    assert {one["run"] for one in done.json["results"]} == {"llm"}
    assert not list(tmp_path.glob("**/.ckptctl/outside"))
    assert not list((tmp_path / "outside").iterdir())
    assert ckptctl(*call).code == 0  # its next call says it anew


def test_what_no_format_knows_in_a_run_of_others_is_no_lack_of_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    parts = {"__0_0.distcp": SHARD, "__1_0.distcp": SHARD}
    first = {
        "step-1/.metadata": dcp_metadata(dict.fromkeys(parts, 4096)),
        "step-1/__0_0.distcp": SHARD,
    }
    make_tree(tmp_path / "node0/all/llm", first, age=7200)
    make_tree(tmp_path / "node1/all/llm", {"step-1/rng.bin": b"r"}, age=7200)
    make_tree(tmp_path / "node2/all/llm", {"step-1/__1_0.distcp": SHARD}, age=7200)
    to = tmp_path / "to"
    unknown = make_tree(tmp_path / "none/run", {"step-1/random.state": b"r"}, age=7200)
    alone = ckptctl("sync", unknown, tmp_path / "x", "--part", "1/3", "--json")
    (problem,) = alone.json["runs"][0]["problems"]
    assert problem["code"] == "parts-unknown"
    assert "step-1" in problem["text"]
    for number in (1, 0, 2, 1):
        source = tmp_path / f"node{number}/all"
        done = ckptctl("sync", "-r", source, to, "--part", f"{number}/3", "--json")
        assert done.code == 0, done.stdout
    assert files(to / "llm") == {**first, "step-1/__1_0.distcp": SHARD, "step-1/rng.bin": b"r"}


def test_a_run_behind_a_link_is_no_lack_of_it(tmp_path: Path, ckptctl: Ckptctl) -> None:
    make_tree(tmp_path / "node0/all/llm", {"step-1/rank_0.pt": torch_zip()}, age=7200)
    make_tree(tmp_path / "elsewhere", {"step-1/rank_1.pt": torch_zip()}, age=7200)
    (tmp_path / "node1/all").mkdir(parents=True)
    (tmp_path / "node1/all/llm").symlink_to(tmp_path / "elsewhere")
    for number in (1, 0):
        source = tmp_path / f"node{number}/all"
        done = ckptctl("sync", "-r", source, tmp_path / "to", "--part", f"{number}/2", "--json")
    assert status(done) == {"step-1": "part"}
    assert files(tmp_path / "to") == {}


def test_one_file_in_two_parts_is_one_if_equal(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    shutil.copy(nodes[0] / "step-100/.metadata", nodes[1] / "step-100/.metadata")
    set_age(nodes[1], 7000)
    assert [hand(run, f"{n}/3").code for n, run in enumerate(nodes)] == [0, 0, 0]
    assert files(tmp_path / "to") == DCP


def test_one_file_that_differs_in_two_parts_is_a_conflict(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    make_tree(nodes[1], {"step-100/__1_0.distcp": b"y" * 4096, "step-100/rng_state_1.pth": b"r"})
    set_age(nodes[1], 7000)  # of random states there may be more, so that all three are waited for
    assert [hand(run, f"{n}/3").code for n, run in enumerate(nodes[:2])] == [0, 0]
    done = hand(nodes[2], "2/3")
    assert (done.code, status(done)) == (5, {"step-100": "conflict"})
    assert "__1_0.distcp" in done.json["results"][0]["error"]
    assert files(tmp_path / "to") == {}


def test_parts_of_two_saves_never_make_one(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    """A node died after two had handed in; the training goes back and saves the same step anew."""
    for number in (0, 1):
        hand(nodes[number], f"{number}/3")
    parts = tmp_path / ".ckptctl/to/staging/step-100.parts"
    for note in parts.glob("*.json"):
        said = json.loads(note.read_text())
        said["looked_ns"] -= 3600 * 10**9
        note.write_text(json.dumps(said))
    anew = b"z" * 4096
    for number, name in ((1, "__0_0.distcp"), (2, "__1_0.distcp")):
        (nodes[number] / "step-100" / name).write_bytes(anew)
    done = hand(nodes[2], "2/3")
    assert (done.code, status(done)) == (0, {"step-100": "part"})
    assert files(tmp_path / "to") == {}
    assert status(hand(nodes[1], "1/3")) == {"step-100": "part"}
    assert status(hand(nodes[0], "0/3")) == {"step-100": "part"}  # its index is of the first save
    set_age(nodes[0], 0)
    assert status(hand(nodes[0], "0/3")) == {"step-100": "part"}  # the others looked before it
    assert status(hand(nodes[1], "1/3")) == {"step-100": "part"}
    assert status(hand(nodes[2], "2/3")) == {"step-100": "done"}
    both = {"step-100/__0_0.distcp": anew, "step-100/__1_0.distcp": anew}
    assert files(tmp_path / "to") == {**DCP, **both}


def test_who_looked_before_the_save_is_no_node_without_files(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    """All nodes sync every half minute: what each is about to write is nothing that it lacks."""
    nodes = [make_tree(tmp_path / f"n{number}/run", {}) for number in range(3)]
    now = ("--settle", "0s")
    for number in range(3):
        assert hand(nodes[number], f"{number}/3", *now).code == 0
    for number in range(3):
        # Saved within the minute after the others' calls; each looks after its own rank is there.
        make_tree(nodes[number], {f"step_100/model_rank{number}.pt": torch_zip()})
    done = hand(nodes[0], "0/3", *now)
    assert (done.code, status(done)) == (0, {"step_100": "part"})
    (problem,) = done.json["runs"][0]["problems"]
    assert "1, 2 looked before all was written" in problem["text"]
    assert status(hand(nodes[1], "1/3", *now)) == {"step_100": "part"}
    assert files(tmp_path / "to") == {}
    assert status(hand(nodes[2], "2/3", *now)) == {"step_100": "done"}
    assert len(files(tmp_path / "to")) == 3


def test_what_a_rank_may_still_be_writing_is_not_published(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    """Of a plain directory no marker says that all is written: a plain sync waits, and so do parts."""
    whole = {"step_100/model.pt": torch_zip(), "step_100/data.bin": b"1234"}
    first = make_tree(tmp_path / "a/run", whole)
    second = make_tree(tmp_path / "b/run", {"step_100/more.bin": b"12"})
    assert hand(first, "0/2").code == 0
    done = hand(second, "1/2")
    assert (done.code, status(done)) == (0, {"step_100": "part"})
    (problem,) = done.json["runs"][0]["problems"]
    assert "changed within the settle time" in problem["text"]
    assert files(tmp_path / "to") == {}
    (second / "step_100/more.bin").write_bytes(b"1234")
    for node in (first, second):
        set_age(node, 7200)
    assert status(hand(first, "0/2")) == {"step_100": "part"}
    assert status(hand(second, "1/2")) == {"step_100": "done"}
    assert files(tmp_path / "to")["step_100/more.bin"] == b"1234"


def test_a_rank_that_begins_to_write_last_is_waited_for(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    """DeepSpeed says nowhere how many ranks there are: a node that has no file yet is none without."""
    rank = "global_step5/zero_pp_rank_{}_mp_rank_00_optim_states.pt"
    zero = {"global_step5/mp_rank_00_model_states.pt": torch_zip(), rank.format(0): torch_zip()}
    first, second = make_tree(tmp_path / "a/run", zero), make_tree(tmp_path / "b/run", {})
    assert hand(second, "1/2").code == 0  # after all of rank 0 was written
    assert status(hand(first, "0/2")) == {"global_step5": "part"}
    assert files(tmp_path / "to") == {}
    make_tree(second, {rank.format(1): torch_zip()})
    assert status(hand(second, "1/2")) == {"global_step5": "part"}
    done = hand(first, "0/2", "--settle", "0s")  # the training is over
    assert status(done) == {"global_step5": "done"}
    assert len(files(tmp_path / "to")) == 3


def test_a_save_written_over_between_two_calls_is_never_mixed(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    """However soon: `last` is written over every minute."""
    for number in (0, 1):
        hand(nodes[number], f"{number}/3")
    (nodes[2] / "step-100/__1_0.distcp").write_bytes(b"z" * 4096)
    assert status(hand(nodes[2], "2/3")) == {"step-100": "part"}
    assert files(tmp_path / "to") == {}


def test_what_came_whole_while_it_was_handed_in_again_is_no_failure(
    nodes: list[Path], hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    """As where a step and an epilog call at the same time."""
    for number in (0, 1):
        hand(nodes[number], f"{number}/3")
    last = ["sync", nodes[2], tmp_path / "to", "--part", "2/3", "--no-config"]
    done = ckptctl(
        "sync", nodes[0], tmp_path / "to", "--part", "0/3", "--json",
        env={"OTHER": json.dumps(list(map(str, last)))}, module=("tests.faults.outrun",),
    )  # fmt: skip
    assert (done.code, status(done)) == (0, {"step-100": "equal"})
    assert files(tmp_path / "to") == DCP


def test_a_part_of_yesterdays_save_is_none_of_todays(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    """A node that did not save this time still has the step of that name from before a rollback."""
    set_age(nodes[1], 86400)
    for number, run in enumerate(nodes):
        done = hand(run, f"{number}/3")
        assert (done.code, status(done)) == (0, {"step-100": "part"})
    (problem,) = done.json["runs"][0]["problems"]
    assert "what 1 has is of an earlier save" in problem["text"]
    assert files(tmp_path / "to") == {}
    set_age(nodes[1], 7000)
    assert status(hand(nodes[1], "1/3")) == {"step-100": "done"}


def test_a_node_without_files_that_calls_again_counts_from_then(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    first = make_tree(tmp_path / "a/run", {"step_100/model_rank0.pt": torch_zip()})
    now = ("--settle", "0s")
    second, none = tmp_path / "b/run", make_tree(tmp_path / "c/run", {})
    hand(first, "0/3", *now)
    hand(none, "2/3", *now)
    make_tree(second, {"step_100/model_rank1.pt": torch_zip()})
    assert status(hand(second, "1/3", *now)) == {"step_100": "part"}
    assert status(hand(none, "2/3", *now)) == {"step_100": "part"}
    assert status(hand(first, "0/3", *now)) == {"step_100": "done"}


def test_what_a_node_had_of_yesterdays_save_keeps_nobody_waiting_for_todays(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    """The training began anew with another layout, and that node saves nothing any more."""
    second = make_tree(tmp_path / "b/run", {"step_100/model_rank1.pt": torch_zip()}, age=86400)
    hand(second, "1/2")
    shutil.rmtree(second / "step_100")
    first = make_tree(tmp_path / "a/run", {"step_100/model_rank0.pt": torch_zip()}, age=7200)
    assert status(hand(first, "0/2")) == {"step_100": "part"}
    assert status(hand(second, "1/2")) == {"step_100": "done"}
    assert list(files(tmp_path / "to")) == ["step_100/model_rank0.pt"]


@pytest.mark.parametrize(
    "layout", ["global_step{}/mp_rank_00_model_states.pt", "ckpt_step{}_rank0.pt"]
)
def test_a_rank_that_others_of_the_family_have_is_missed(
    layout: str, tmp_path: Path, hand: Callable[..., Done], ckptctl: Ckptctl
) -> None:
    """The node with the last ranks died, and the one in its place has an empty disk."""
    ranks = "global_step{}/zero_pp_rank_{}_mp_rank_00_optim_states.pt", "ckpt_step{}_rank{}.pt"
    rank = ranks[layout.startswith("ckpt")]
    for step, nodes in ((100, (0, 1)), (200, (0,))):
        for node in nodes:
            names = {rank.format(step, node), *([layout.format(step)] if not node else ())}
            make_tree(tmp_path / f"{node}/run", dict.fromkeys(names, torch_zip()))
        if step != 100:
            shutil.rmtree(tmp_path / "1")
            (tmp_path / "1").mkdir()
        done = [hand(tmp_path / f"{node}/run", f"{node}/2", "--settle", "0s") for node in (0, 1)]
    name = done[1].json["results"][0]["checkpoint"]
    assert (done[1].code, status(done[1])) == (5, {name: "failed"})
    assert "its family ha" in done[1].json["results"][0]["error"]
    assert len(complete(ckptctl, tmp_path / "to")) == 1
    assert not any("200" in path for path in files(tmp_path / "to"))


def test_a_rank_that_one_of_the_same_call_has_is_missed(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    """Node 1 was killed while it saved the first, and the training went on from elsewhere."""
    rank, model = "zero_pp_rank_{}_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt"
    for node, names in enumerate(((rank.format(0), model), (rank.format(1),))):
        for step in (100, 200) if node == 0 else (200,):
            tree: dict[str, bytes | str] = {f"global_step{step}/{n}": torch_zip() for n in names}
            make_tree(tmp_path / f"{node}/run", tree, age=7200)
        done = hand(tmp_path / f"{node}/run", f"{node}/2")
    assert done.code == 5
    assert status(done) == {"global_step200": "done", "global_step100": "failed"}
    assert not any("100" in path for path in files(tmp_path / "to"))


def test_what_a_node_had_of_this_save_stays_though_its_disk_is_gone(
    tmp_path: Path, hand: Callable[..., Done]
) -> None:
    trees = {k: make_tree(tmp_path / f"{k}/run", {f"step_100/model_rank{k}.pt": torch_zip()},
                          age=7200) for k in (0, 1)}  # fmt: skip
    hand(trees[1], "1/2")
    shutil.rmtree(trees[1] / "step_100")
    hand(trees[1], "1/2")
    assert status(hand(trees[0], "0/2")) == {"step_100": "done"}
    assert len(files(tmp_path / "to")) == len(trees)


def test_all_parts_that_are_no_whole_are_a_failure(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    (nodes[1] / "step-100/__0_0.distcp").write_bytes(b"torn")
    set_age(nodes[1], 7000)
    assert [hand(run, f"{n}/3").code for n, run in enumerate(nodes[:2])] == [0, 0]
    done = hand(nodes[2], "2/3")
    assert (done.code, status(done)) == (5, {"step-100": "failed"})
    assert "not whole" in done.json["results"][0]["error"]
    assert files(tmp_path / "to") == {}


def test_who_sees_the_same_files_sends_a_share_of_them(
    hand: Callable[..., Done], tmp_path: Path
) -> None:
    """A step of several tasks on one shared file system."""
    run = make_tree(tmp_path / "shared/run", DCP, age=7200)
    sent = []
    for number in range(3):
        done = hand(run, f"{number}/3")
        assert done.code == 0
        sent.append(sum(r["bytes_sent"] for r in done.json["results"]))
    assert files(tmp_path / "to") == DCP
    assert sum(sent) == sum(map(len, DCP.values()))


def test_rank_files_of_a_node_each_are_one_group(
    hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    for number in range(3):
        tree = {f"model_step_{step}_rank{number}.pt": torch_zip() for step in (100, 200)}
        run = make_tree(tmp_path / f"node{number}/run", tree, age=7200)
        assert hand(run, f"{number}/3").code == 0
        assert bool(files(tmp_path / "to")) is (number == 2)
    done = ckptctl("list", tmp_path / "to", "--json")
    kinds = [(c["kind"], c["step"], c["state"]) for c in done.json["runs"][0]["checkpoints"]]
    assert kinds == [("group", 100, "complete"), ("group", 200, "complete")]


def test_files_that_no_format_knows_alone_are_part_of_what_others_have(
    hand: Callable[..., Done], tmp_path: Path
) -> None:
    """A rank whose share is an unknown file: its node must not count as one that has nothing."""
    whole = {"step_100/model.pt": torch_zip(), "step_100/optimizer.pt": torch_zip()}
    odd = {"step_100/host3/trace.log": b"trace"}
    first = make_tree(tmp_path / "a/run", whole, age=7200)
    second = make_tree(tmp_path / "b/run", odd, age=7200)
    assert hand(second, "1/2").code == 0
    assert hand(first, "0/2").code == 0
    assert files(tmp_path / "to") == {}
    assert hand(second, "1/2").code == 0
    assert files(tmp_path / "to") == {**whole, **odd}


def test_move_deletes_what_a_whole_one_holds_and_never_the_newest(
    hand: Callable[..., Done], tmp_path: Path, nodes: list[Path]
) -> None:
    for run in nodes:
        for path in list((run / "step-100").iterdir()):
            make_tree(run, {f"step-200/{path.name}": path.read_bytes()})
        set_age(run, 7200)
    (nodes[0] / "latest").write_text("step-200")
    for number, run in enumerate(nodes[:2]):
        assert hand(run, f"{number}/3", "--move").code == 0
        assert {p.name for p in run.glob("step-*")} == {"step-100", "step-200"}
    for number in (2, 1, 0):
        done = hand(nodes[number], f"{number}/3", "--move")
        assert done.code == 0, done.stdout
        assert {p.name for p in nodes[number].glob("step-*")} == {"step-200"}
    there = {path.split("/")[0] for path in files(tmp_path / "to")}
    assert there == {"step-100", "step-200", "latest"}


def test_a_pinned_part_stays(
    hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path, nodes: list[Path]
) -> None:
    for run in nodes:
        shutil.copytree(run / "step-100", run / "step-200")
        set_age(run, 7200)
    assert ckptctl("annotate", nodes[2] / "step-100", "--pin").code == 0
    for number, run in enumerate(nodes):
        assert hand(run, f"{number}/3", "--move").code == 0
    assert (nodes[2] / "step-100").exists()
    pinned = ckptctl("list", tmp_path / "to", "--json").json["runs"][0]["checkpoints"]
    assert [c["pinned"] for c in pinned if c["name"] == "step-100"] == [True]


def test_a_tier_of_each_node_is_left_by_sync_in_parts_alone(
    ckptctl: Ckptctl, tmp_path: Path, nodes: list[Path]
) -> None:
    config = tmp_path / "tiers.yaml"
    config.write_text(
        f"version: 1\ntiers:\n  nvme: {{url: {nodes[0].parent}, per_node: true}}\n"
        f"  lustre: {{url: {tmp_path}/lustre}}\n"
    )
    (tmp_path / "lustre").mkdir()
    ends = ("@nvme/run", "@lustre/run", "-c", config)
    assert ckptctl("prune", "@nvme/run", "--keep-last", "1", "-c", config).code == 2
    refused = ckptctl("sync", *ends)
    assert refused.code == 2
    assert "--part" in refused.stderr
    assert ckptctl("sync", *ends, "--part", "0/2").code == 0
    assert (nodes[0] / "step-100/.metadata").exists()


def test_nothing_on_a_tier_of_each_node_is_complete_by_itself(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    make_tree(tmp_path / "nvme/run", DCP, age=7200)
    (tmp_path / "lustre").mkdir()
    config = tmp_path / "tiers.yaml"
    config.write_text(
        f"version: 1\ntiers:\n  nvme: {{url: {tmp_path}/nvme, per_node: true}}\n"
        f"  lustre: {{url: {tmp_path}/lustre}}\n"
        "runs: [{match: '*', policy: all}]\npolicies: {all: {tiers: {nvme: {copy_to: lustre}}}}\n"
    )
    (run,) = ckptctl("list", "@nvme/run", "-c", config, "--json").json["runs"]
    (one,) = run["checkpoints"]
    assert one["state"] == "incomplete"
    assert "part-of-node" in {problem["code"] for problem in one["problems"]}
    for level, said in (("names", "part"), ("structure", "part"), ("digest", "unrecorded")):
        done = ckptctl("verify", "@nvme/run", "-c", config, "--json", "--level", level)
        assert (done.code, [r["status"] for r in done.json["results"]]) == (0, [said])
    for selector in ("latest", "step-100"):
        done = ckptctl("promote", selector, "@nvme/run", "-c", config)
        assert (done.code, done.stdout) == (8, ""), selector
        assert ckptctl("resolve", selector, "@nvme/run", "-c", config).code == 8
    assert not (tmp_path / "nvme/.ckptctl/run/records").exists()
    (found,) = ckptctl("status", "@nvme/run", "-c", config, "--json").json["runs"]
    assert found["copies"] is None
    said = ckptctl("status", "-c", config, "--json").json["runs"]
    assert [each for each in said if each["tier"] == "nvme"] == []


def test_what_is_wrong_with_a_nodes_own_files_is_told(ckptctl: Ckptctl, tmp_path: Path) -> None:
    config = tmp_path / "tiers.yaml"
    config.write_text(f"version: 1\ntiers: {{nvme: {{url: {tmp_path}/nvme, per_node: true}}}}\n")
    run, key = tmp_path / "nvme/run", {"step-100/.metadata": DCP["step-100/.metadata"]}
    for own, code, said in (
        ({**key, "step-100/__0_0.distcp": SHARD}, 0, "part"),
        ({**key, "step-100/__0_0.distcp": SHARD[:100]}, 6, "damaged"),
        ({"step-100/__0_0.distcp": SHARD}, 0, "part"),
    ):
        shutil.rmtree(run, ignore_errors=True)
        make_tree(run, own, age=7200)
        done = ckptctl("verify", "@nvme/run", "-c", config, "--json", "--level", "digest")
        assert (done.code, [r["status"] for r in done.json["results"]]) == (code, [said]), (
            own.keys()
        )


@pytest.mark.parametrize("part", ["3/3", "0/0", "-1/3", "1", "a/b", "1/2/3"])
def test_a_part_that_cannot_be_is_refused(
    part: str, hand: Callable[..., Done], nodes: list[Path]
) -> None:
    done = hand(nodes[0], part)
    assert done.code == 2
    assert "--part" in done.stdout + done.stderr


@pytest.mark.parametrize("more", ["--overwrite", "--on-conflict=both"])
def test_parts_replace_nothing(more: str, hand: Callable[..., Done], nodes: list[Path]) -> None:
    assert hand(nodes[0], "0/3", more).code == 2


def test_another_one_of_that_name_is_a_conflict(
    hand: Callable[..., Done], nodes: list[Path], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    other = {**DCP, "step-100/__0_0.distcp": b"o" * 4096}
    make_tree(tmp_path / "other/run", other, age=9000)
    assert ckptctl("sync", tmp_path / "other/run", tmp_path / "to").code == 0
    done = hand(nodes[1], "1/3")
    assert (done.code, status(done)) == (5, {"step-100": "conflict"})
    assert files(tmp_path / "to") == other


def test_a_dry_run_changes_nothing(
    hand: Callable[..., Done], nodes: list[Path], tmp_path: Path
) -> None:
    done = hand(nodes[0], "0/3", "-n")
    assert (done.code, status(done)) == (0, {"step-100": "planned"})
    assert not (tmp_path / "to").exists()
    assert not (tmp_path / ".ckptctl").exists()


@pytest.mark.parametrize(
    ("slurm", "expected"),
    [
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "3"}, "part"),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, None),
        # the shell of salloc where LaunchParameters=use_interactive_step
        (
            {
                "SLURM_STEP_ID": "4294967290", "SLURM_PROCID": "0", "SLURM_NTASKS": "3",
                "SLURM_STEP_NUM_TASKS": "1",
            },
            None,
        ),
    ],
)  # fmt: skip
def test_a_task_of_a_step_of_several_has_a_part(
    slurm: dict[str, str], expected: str | None, nodes: list[Path], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    done = ckptctl("sync", nodes[1], tmp_path / "to", "--json", env=slurm)
    assert done.code == 0
    assert status(done).get("step-100") == expected


@pytest.mark.parametrize("of", ["99999999999999999999", "2000000", "0", "-1", "x", "3 "])
def test_a_step_of_a_number_of_tasks_that_cannot_be_is_no_step_of_one(
    of: str, nodes: list[Path], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    """What one node has would be copied as if it were all."""
    slurm = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": of}
    done = ckptctl("sync", nodes[1], tmp_path / "to", env=slurm)
    assert (done.code, "SLURM_STEP_NUM_TASKS" in done.stderr) == (2, True)
    assert not (tmp_path / "to").exists()
    with pytest.raises(UsageError, match="more than 1,000,000"):
        caller_of("0/2000000", {})


def test_of_very_many_callers_who_has_come_is_listed_and_all_are_asked_in_the_end(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    class Counting(LocalStore):
        def read(self, path: str, limit: int) -> bytes:
            asked.append(path)
            return super().read(path, limit)

    count = 2000
    with closing(Counting(str(tmp_path))) as state:
        meeting = Meeting(state, time.time_ns)
        few = Caller(7, count), Caller(1999, count)
        for caller in few:
            meeting.note(Part(key="a", name="a", roots=(), caller=caller, by="x", looked_ns=1))
            meeting.call(Roll(caller=caller, looked_ns=1, keys=(), names=()))
        assert list(meeting.parts("a", count)) == list(meeting.called(count)) == [7, 1999]
        assert len(asked) == 2
        assert list(meeting.announced(count)) == []
        for number in range(count // 10):
            (tmp_path / "staging/a.parts" / f"{number}.json").write_text("{")
        # No listing says any more that nobody else can have come.
        meeting.parts("a", count)
        assert len(asked) == 2 + count


@pytest.mark.parametrize("number", ["", "3", "-1", "x"])
def test_a_step_of_several_that_does_not_say_which_task_this_is_is_refused(number: str) -> None:
    """What one node has would be copied as if it were all."""
    slurm = {"SLURM_STEP_ID": "0", "SLURM_PROCID": number, "SLURM_STEP_NUM_TASKS": "3"}
    with pytest.raises(UsageError, match="step of 3 tasks"):
        caller_of(None, slurm)
    assert caller_of("0/1", slurm) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("login", ["login"]),
        ("gpu[07,10],login", ["gpu07", "gpu10", "login"]),
        ("a[1-2]b[08-09]", ["a1b08", "a1b09", "a2b08", "a2b09"]),
        ("n[1-2]-ib,x[3]", ["n1-ib", "n2-ib", "x3"]),
    ],
)
def test_the_nodes_of_a_list_as_slurm_writes_it(names: str, expected: list[str]) -> None:
    assert list(hosts(names)) == expected


@pytest.mark.parametrize("names", ["a[1,,2]", "a[1-]", "a[", "a[x]", "a]1", "a[0-9999999]"])
def test_a_list_of_nodes_that_is_none_is_refused(names: str) -> None:
    with pytest.raises(UsageError, match="SLURM's list of nodes"):
        list(hosts(names))


def test_a_node_of_a_job_is_counted_by_its_name(
    nodes: list[Path], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    """An epilog: no step, and no program of SLURM's may be called."""
    for number, name in enumerate(("gpu07", "gpu10", "login")):
        slurm = {"SLURM_NODELIST": "gpu[07,10],login", "SLURMD_NODENAME": name}
        done = ckptctl("sync", nodes[number], tmp_path / "to", "--part", "node", env=slurm)
        assert done.code == 0, done.stderr
    assert files(tmp_path / "to") == DCP
    assert ckptctl("sync", nodes[0], tmp_path / "to", "--part", "node").code == 2


@pytest.mark.parametrize(("title", "expected"), [("7.batch", None), ("7.0", Caller(1, 3))])
def test_a_batch_script_is_no_task_of_the_step_in_which_it_was_submitted(
    title: str, expected: Caller | None, tmp_path: Path
) -> None:
    """sbatch hands on all variables that it has, those of a step too."""
    stat = "42 (job (1) x) S 17 42 42"
    make_tree(tmp_path, {"42/stat": stat, "17/cmdline": f"slurmstepd: [{title}]\0"})
    environ = {
        "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "3", "SLURM_TASK_PID": "42",
    }  # fmt: skip
    assert caller_of(None, environ, str(tmp_path)) == expected
    for unknown in ("", "43", "../42"):
        assert caller_of(None, {**environ, "SLURM_TASK_PID": unknown}, str(tmp_path)) == (1, 3)


def test_the_nodes_of_a_heterogeneous_job_are_those_of_all_its_components() -> None:
    environ = {
        "SLURM_JOB_ID": "8", "SLURMD_NODENAME": "b2", "SLURM_JOB_NODELIST": "b[1-2]",
        "SLURM_JOB_ID_HET_GROUP_0": "7", "SLURM_JOB_NODELIST_HET_GROUP_0": "a",
        "SLURM_JOB_ID_HET_GROUP_1": "8", "SLURM_JOB_NODELIST_HET_GROUP_1": "b[1-2]",
    }  # fmt: skip
    assert caller_of("node", environ) == (2, 3)
    assert caller_of("node", {**environ, "SLURM_JOB_ID": "9"}) == (1, 2)  # submitted in that one
    epilog = {"SLURM_HET_JOB_ID": "7", "SLURMD_NODENAME": "a", "SLURM_NODELIST": "a"}
    with pytest.raises(UsageError, match="heterogeneous"):
        caller_of("node", epilog)


def test_a_step_on_some_of_the_jobs_nodes_takes_no_parts_from_a_tier_of_each(
    nodes: list[Path], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    (tmp_path / "ckptctl.yaml").write_text(
        f"version: 1\ntiers: {{nvme: {{url: {nodes[0].parent}, per_node: true}}}}\n"
    )
    two = {
        "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-3]",
    }  # fmt: skip
    config = ("-c", tmp_path / "ckptctl.yaml")
    to = tmp_path / "to"
    refused = ckptctl("sync", "@nvme/run", to, *config, env=two)
    assert refused.code == 2
    assert "2 of the job's 3 nodes" in refused.stderr
    assert not to.exists()
    warned = ckptctl("sync", nodes[1], to, *config, env=two)
    assert warned.code == 0
    assert "2 of the job's 3 nodes" in warned.stderr
    for more in ({"SLURM_STEP_NUM_NODES": "3"}, {"SLURM_JOB_NODELIST": "n[1-2]"}):
        assert ckptctl("sync", "@nvme/run", to, *config, env=two | more).code == 0
    assert ckptctl("sync", "@nvme/run", to, *config, "--part", "0/2", env=two).code == 0


def test_one_task_that_calls_for_all_is_told_how(hand: Callable[..., Done], tmp_path: Path) -> None:
    """Rank 0 of a training of many: SLURM's variables say that it is one of them."""
    tree = {**DCP, "step-100/rng_state_0.pth": torch_zip()}  # of which others may have one too
    run = make_tree(tmp_path / "shared/run", tree, age=7200)
    waits = hand(run, "0/3").json["runs"][0]["problems"][0]["text"]
    assert "one that calls for all, and sees the files of all, is --part 0/1" in waits
    assert status(hand(run, "0/1")) == {"step-100": "done"}


def test_a_note_that_others_have_broken_is_a_part_that_is_missing(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    for number in (0, 1):
        hand(nodes[number], f"{number}/3")
    note = tmp_path / ".ckptctl/to/staging/step-100.parts/1.json"
    said = json.loads(note.read_text())
    (tmp_path / ".ckptctl/to/staging/parts/1-of-3.json").write_text("[" * 100_000)
    for bad in ("", "{", "[]", json.dumps({**said, "files": [{"path": "../../x"}]})):
        note.write_text(bad)
        assert status(hand(nodes[2], "2/3")) == {"step-100": "part"}
    assert status(hand(nodes[1], "1/3")) == {"step-100": "done"}


def test_a_part_of_which_a_file_went_is_handed_in_again(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    for number in (0, 1):
        hand(nodes[number], f"{number}/3")
    staged = tmp_path / ".ckptctl/to/staging/step-100.parts/1.files/step-100/__0_0.distcp"
    staged.unlink()
    done = hand(nodes[2], "2/3")
    assert (done.code, status(done)) == (0, {"step-100": "part"})
    assert "part 1 has to be handed in again" in done.json["runs"][0]["problems"][0]["text"]
    assert status(hand(nodes[1], "1/3")) == {"step-100": "done"}
    assert files(tmp_path / "to") == DCP


def test_what_a_call_that_died_had_brought_together_is_not_sent_again(
    nodes: list[Path], hand: Callable[..., Done], tmp_path: Path
) -> None:
    for number in (0, 1):
        hand(nodes[number], f"{number}/3")
    parts = tmp_path / ".ckptctl/to/staging/step-100.parts"
    (parts / "whole/step-100").mkdir(parents=True)
    (parts / "1.files/step-100/__0_0.distcp").rename(parts / "whole/step-100/__0_0.distcp")
    assert hand(nodes[1], "1/3").json["results"][0]["bytes_sent"] == 0
    # Saved anew, it comes in the place of what lies there.
    make_tree(nodes[1], {"step-100/new": SHARD}, age=7200)
    (nodes[1] / "step-100/new").rename(nodes[1] / "step-100/__0_0.distcp")
    assert hand(nodes[1], "1/3").json["results"][0]["bytes_sent"] == len(SHARD)
    assert status(hand(nodes[2], "2/3")) == {"step-100": "done"}
    assert files(tmp_path / "to") == DCP


def test_a_full_disk_keeps_nothing_of_a_part(tmp_path: Path) -> None:
    script = """
        mkdir -p $HOME/src/step_1
        for i in 1 2 3; do head -c 200k /dev/urandom > $HOME/src/step_1/model_rank$i.pt; done
        mkdir $DISK/to
        $CKPTCTL sync --no-verify --settle 0s $HOME/src $DISK/to --part 0/2 --json || echo "code $?"
        find $DISK -name '*.pt' | wc -l
    """
    done = in_small_file_system(tmp_path, "size=500k", script)
    assert "No space left" in done.stdout, done.stderr
    assert done.stdout.endswith("code 5\n0\n"), done.stdout


def test_what_nobody_goes_on_with_is_swept_after_a_week(
    nodes: list[Path], hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    hand(nodes[0], "0/3")
    staging = tmp_path / ".ckptctl/to/staging"
    other = make_tree(tmp_path / "other/run", {"step_7.pt": torch_zip()}, age=7200)
    assert ckptctl("sync", other, tmp_path / "to").code == 0
    assert (staging / "step-100.parts/0.json").exists()
    set_age(staging, 8 * 24 * 3600)
    make_tree(other, {"step_8.pt": torch_zip()})
    time.sleep(0.01)
    assert ckptctl("sync", other, tmp_path / "to", "--settle", "0s").code == 0
    assert not read_tree(staging)


def test_a_plain_sync_gives_no_name_to_what_others_have_more_of(
    hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    """One rank alone looks like a whole grid."""
    ranks = {f"step_100_rank_{rank}.pt": torch_zip() for rank in range(3)}
    nodes = [
        make_tree(tmp_path / f"node{number}" / "run", {path: content}, age=7200)
        for number, (path, content) in enumerate(ranks.items())
    ]
    to = tmp_path / "to"
    assert status(hand(nodes[1], "1/3")) == {"step_100_rank_1": "part"}
    for more in (("--dry-run",), ()):
        done = ckptctl("sync", nodes[0], to, "--json", *more)
        assert status(done) == {"step_100_rank_0": "conflict"}
        assert (done.code, files(to)) == (5, {})
        assert "--part K/3" in done.json["results"][0]["error"]
    for number in (0, 2):
        assert hand(nodes[number], f"{number}/3").code == 0
    assert files(to) == ranks
    # Who has all of it needs no parts, and who wants just this says so.
    for own, flags in ((3, ()), (1, ("--overwrite",))):
        there = tmp_path / f"to{own}"
        assert ckptctl("sync", nodes[1], there, "--part", "1/3").code == 0
        run = make_tree(tmp_path / f"run{own}", dict([*ranks.items()][:own]), age=7200)
        assert ckptctl("sync", run, there, *flags).code == 0
        assert len(files(there)) == own


def test_a_part_of_an_earlier_save_holds_up_no_plain_sync(
    hand: Callable[..., Done], ckptctl: Ckptctl, tmp_path: Path
) -> None:
    old = make_tree(tmp_path / "old", {"step_100_rank_1.pt": torch_zip()}, age=90_000)
    assert hand(old, "1/2").code == 0
    run = make_tree(tmp_path / "run", {"step_100_rank_0.pt": torch_zip()}, age=7200)
    assert ckptctl("sync", run, tmp_path / "to").code == 0
