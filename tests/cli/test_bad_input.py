"""Whatever lies in a run, or happens to it: the exit code of the contract, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.nemo import Nemo
from tests.program import Ckptctl, Done
from tests.saved import names_left, save, steps_left
from tests.trees import make_tree, read_tree

NOBODY = 65534


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory that belongs to an ordinary user, at a place that everybody reaches."""
    base = Path(tempfile.mkdtemp(prefix="ckptctl-theirs-"))
    yield base
    for folder, _, _ in os.walk(base):
        os.chmod(folder, 0o700)
    shutil.rmtree(base)


def give_away(base: Path) -> None:
    if os.geteuid() == 0:
        for folder, folders, files in os.walk(base):
            for name in (*folders, *files):
                os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)
        os.chown(base, NOBODY, NOBODY)


def as_nobody(ckptctl: Ckptctl, *arguments: str | os.PathLike[str]) -> Done:
    return ckptctl(str(NOBODY), *arguments, module=("tests.faults.unprivileged",))


KEEP_LAST = ("prune", "--keep-last", "1")


@pytest.mark.parametrize("hidden", ["step_2", "step_2/part", "step_1.json", "latest"])
def test_what_cannot_be_read_of_a_run_means_that_nothing_of_it_is_deleted(
    theirs: Path, ckptctl: Ckptctl, hidden: str
) -> None:
    tree = {f"step_{n}/part/model.pt": torch_zip() for n in (1, 2, 3)} | {
        "step_1.json": b"{}",
        "latest": b"step_1",
    }
    run = make_tree(theirs / "run", tree, age=7200)
    (run / hidden).chmod(0)
    give_away(theirs)
    done = as_nobody(ckptctl, *KEEP_LAST, run, "--json")
    assert (done.code, done.json["code"]) == (7, 7)
    assert "Permission denied" in done.json["message"]
    (run / hidden).chmod(0o700)
    assert sorted(read_tree(run)) == sorted(tree)


def test_an_unreadable_stranger_is_only_a_problem(theirs: Path, ckptctl: Ckptctl) -> None:
    run = save(theirs / "run", {1: None, 2: None, 3: None})
    make_tree(run, {"private/x": b""})
    (run / "private").chmod(0)
    give_away(theirs)
    done = as_nobody(ckptctl, *KEEP_LAST, run, "--json")
    assert done.code == 0
    assert steps_left(run) == [3]
    assert [p["code"] for p in done.json["runs"][0]["problems"]] == ["folder-unreadable"]


def test_a_tensor_file_that_cannot_be_opened_for_its_proof(theirs: Path, ckptctl: Ckptctl) -> None:
    run = save(theirs / "run", {1: None, 2: None, 3: None, 4: None})
    (run / "step_3.pt").chmod(0)
    give_away(theirs)
    done = as_nobody(ckptctl, "prune", "--keep-last", "2", run)
    assert done.code == 7
    assert "step_3.pt" in done.stderr
    assert steps_left(run) == [1, 2, 3, 4]


def test_a_directory_where_nothing_may_be_deleted(theirs: Path, ckptctl: Ckptctl) -> None:
    run = save(theirs / "run", {1: None, 2: None, 3: None})
    give_away(theirs)
    run.chmod(0o555)
    done = as_nobody(ckptctl, *KEEP_LAST, run, "--json")
    assert done.code == 5
    assert {o["status"] for o in done.json["runs"][0]["outcomes"]} == {"failed"}
    assert "Permission denied" in done.json["runs"][0]["outcomes"][0]["error"]
    assert done.json["freed_bytes"] == 0
    assert steps_left(run) == [1, 2, 3]


def test_no_place_for_the_state_is_7_and_a_scanning_trainer_2(
    theirs: Path, ckptctl: Ckptctl
) -> None:
    run = save(theirs / "run", {1: None, 2: None, 3: None})
    give_away(theirs)
    theirs.chmod(0o555)
    assert as_nobody(ckptctl, *KEEP_LAST, run).code == 0  # then it lies in the run
    assert (run / ".ckptctl" / "run.json").exists()
    theirs.chmod(0o755)
    first = next(path for path in Nemo.example if "weights" in path).split("/")[0]
    nemo = "gpt--val_loss=1.20-step={0}-consumed_samples={0}.0"
    tree = {
        p.replace(first, nemo.format(n), 1): content
        for n in (1, 2, 3)
        for p, content in Nemo.example.items()
    }
    other = make_tree(theirs / "nemo", tree, age=7200)
    give_away(theirs)
    theirs.chmod(0o555)
    done = as_nobody(ckptctl, *KEEP_LAST, other)
    assert done.code == 2, done.stdout
    assert "--state-dir" in done.stderr
    assert names_left(other) == [nemo.format(n) for n in (1, 2, 3)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, so root; CI is root")
def test_a_state_directory_of_somebody_else_is_passed_over(theirs: Path, ckptctl: Ckptctl) -> None:
    run = save(theirs / "run", {1: None, 2: None, 3: None})
    give_away(theirs)
    make_tree(theirs / ".ckptctl" / "run", {"lock": b'{"expires_ns": 9000000000000000000}'})
    for path in (theirs / ".ckptctl", theirs / ".ckptctl" / "run"):
        os.chown(path, 12345, 12345)
    done = as_nobody(ckptctl, *KEEP_LAST, run, "--json")
    assert done.code == 0, done.stdout
    assert [p["code"] for p in done.json["runs"][0]["problems"]] == ["state-passed-over"]
    assert steps_left(run) == [3]
    assert (theirs / ".ckptctl" / "run" / "lock").exists()


def test_loops_pipes_sockets_and_names_that_hurt(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: None})
    (run / "loop").symlink_to("..")
    (run / "round").symlink_to("round")
    os.mkfifo(run / "step_4.pt")
    os.mkfifo(run / "step_3.json")
    with socket.socket(socket.AF_UNIX) as server, chdir(run):  # whose own path may be too long
        server.bind("step_5.pt")
    hostile = [
        b"new\nline_step_7.pt",
        b"esc\x1b]0;owned\x07_step_7.pt",
        b"bad\xff\xfe_step_7.pt",
        b"-rf_step_7.pt",
        b"x" * 243 + b"_step_777.pt",
    ]
    for name in hostile:
        with open(os.fsencode(run) + b"/" + name, "wb") as file:
            file.write(torch_zip())
        os.utime(os.fsencode(run) + b"/" + name, (0, 0))
    for arguments in (("list",), ("prune", "--keep-last", "1", "-n")):
        for output in ("table", "json", "jsonl", "csv", "paths"):
            done = ckptctl(*arguments, run, "-o", output)
            assert done.code == 0, done.stderr
            assert "\x1b]0" not in done.stderr
            if output in {"table", "json", "jsonl"}:
                assert "\x1b" not in done.stdout
    zero = ckptctl("list", run, "-0").stdout.split("\0")
    assert {
        os.fsencode(path).removeprefix(os.fsencode(run) + b"/") for path in zero if path
    } >= set(hostile)
    assert ckptctl(*KEEP_LAST, run).code == 0
    left = {name for name in os.listdir(os.fsencode(run)) if name != b".ckptctl"}
    assert left == {
        *hostile,
        b"loop",
        b"round",
        b"step_3.json",
        b"step_3.pt",
        b"step_4.pt",
        b"step_5.pt",
    }  # each the newest of its family


@pytest.mark.parametrize(
    "sidecar",
    [b"", b"\xff\x00binary", b"[1]", b"[" * 50_000, b"{" + b" " * (17 * 2**20)],
    ids=["empty", "binary", "list", "deep", "huge"],
)
def test_a_sidecar_that_cannot_be_understood_keeps_its_checkpoint(
    tmp_path: Path, ckptctl: Ckptctl, sidecar: bytes
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: None})
    (run / "step_1.json").write_bytes(sidecar)
    done = ckptctl(*KEEP_LAST, run, "--json")
    assert done.code == 0
    assert steps_left(run) == [1, 3]
    (kept,) = [d for d in done.json["runs"][0]["decisions"] if d["checkpoint"]["name"] == "step_1"]
    assert [r["rule"] for r in kept["reasons"]] == ["unread"]
    assert kept["checkpoint"]["problems"][0]["code"] == "sidecar-unreadable"


def test_steps_with_20_digits_order_as_numbers(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {9: None, 10**19: None, 10**20 - 1: None})
    assert ckptctl(*KEEP_LAST, run).code == 0
    assert steps_left(run) == [10**20 - 1]


def test_a_clock_in_the_future_neither_deletes_nor_protects_the_wrong_ones(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: None, 4: None})
    future = time.time() + 10**6
    os.utime(run / "step_2.pt", (future, future))
    done = ckptctl("prune", "--keep-within", "30m", run, "--json")
    assert done.code == 0
    assert steps_left(run) == [2, 4]  # 2 because its time says nothing, 4 as the last
    kept = {d["checkpoint"]["name"]: d for d in done.json["runs"][0]["decisions"]}
    assert [p["code"] for p in kept["step_2"]["checkpoint"]["problems"]] == ["future-time"]


def test_two_checkpoints_of_one_step_share_a_place(tmp_path: Path, ckptctl: Ckptctl) -> None:
    make_tree(
        tmp_path / "run",
        {f"epoch={n}-step={n}0{v}.ckpt": torch_zip() for n in (1, 2, 3) for v in ("", "-v1")},
        age=7200,
    )
    assert ckptctl("prune", "--keep-last", "2", tmp_path / "run").code == 0
    assert names_left(tmp_path / "run") == sorted(
        f"epoch={n}-step={n}0{v}.ckpt" for n in (2, 3) for v in ("", "-v1")
    )


def test_a_checkpoint_that_changes_between_decision_and_deletion_is_skipped(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 8)))
    done = ckptctl(str(run), *KEEP_LAST, run, "--json", module=("tests.faults.meddling",))
    assert done.code == 5, done.stderr
    outcomes = {
        o["checkpoint"]: (o["status"], o["error"]) for o in done.json["runs"][0]["outcomes"]
    }
    assert outcomes["step_1"] == ("done", None)
    assert outcomes["step_2"][0] == "skipped"
    assert "changed" in outcomes["step_2"][1]
    assert "pinned" in outcomes["step_3"][1] or "changed" in outcomes["step_3"][1]
    assert "pointer" in outcomes["step_4"][1]
    assert "gone" in outcomes["step_5"][1]
    assert outcomes["step_6"] == ("done", None)
    assert steps_left(run) == [2, 3, 4, 7]


def test_when_the_newest_vanishes_the_rest_is_left_alone(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    done = ckptctl(
        str(run),
        *KEEP_LAST,
        run,
        "--json",
        module=("tests.faults.meddling",),
        env={"MEDDLE": "newest"},
    )
    assert done.code == 5
    statuses = [o["status"] for o in done.json["runs"][0]["outcomes"]]
    assert statuses == ["done", "skipped", "skipped", "skipped"]
    assert "newest" in done.json["runs"][0]["outcomes"][1]["error"]
    assert steps_left(run) == [2, 3, 4]


def test_an_empty_temporary_directory_that_a_framework_just_made_is_no_leftover(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    (run / "tmp-checkpoint-3").mkdir()
    assert ckptctl(*KEEP_LAST, "--delete-incomplete", "1h", run).code == 0
    assert (run / "tmp-checkpoint-3").is_dir()


def test_state_made_by_root_gets_owner_and_mode_of_the_run(theirs: Path, ckptctl: Ckptctl) -> None:
    run = save(theirs / "run", {1: None, 2: None, 3: None})
    give_away(theirs)
    run.chmod(0o750)
    assert ckptctl(*KEEP_LAST, run).code == 0
    model = run.stat()
    for path in (
        theirs / ".ckptctl",
        theirs / ".ckptctl" / "run",
        theirs / ".ckptctl" / "run" / "run.json",
    ):
        made = path.stat()
        assert (made.st_uid, made.st_gid) == (model.st_uid, model.st_gid)
        assert stat.S_IMODE(made.st_mode) & ~stat.S_IMODE(model.st_mode) == 0


def test_errors_are_json_where_json_was_asked_for(tmp_path: Path, ckptctl: Ckptctl) -> None:
    for arguments in (
        ("list", tmp_path / "gone"),
        ("list", "--bogus"),
        ("nonsense",),
        ("prune", tmp_path),
    ):
        done = ckptctl(*arguments, "--json")
        assert done.code in {2, 7}
        assert set(json.loads(done.stdout)) == {
            "schema",
            "version",
            "code",
            "kind",
            "message",
            "hint",
        }


def test_times_of_everything_that_stays_are_untouched(tmp_path: Path, ckptctl: Ckptctl) -> None:
    tree = {f"step_{n}/model.pt": torch_zip() for n in range(1, 5)}
    run = make_tree(tmp_path / "run", tree, age=7200)
    kept = [run / "step_4", run / "step_4" / "model.pt"]
    before = [path.stat() for path in kept]
    assert ckptctl(*KEEP_LAST, run).code == 0
    after = [path.stat() for path in kept]
    assert [(s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in before] == [
        (s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in after
    ]


def test_a_state_directory_inside_a_checkpoint_is_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(
        tmp_path / "run", {f"step_{n}/model.pt": torch_zip() for n in (1, 2, 3)}, age=7200
    )
    before = read_tree(run)
    done = ckptctl(*KEEP_LAST, "--state-dir", run / "step_3" / "state", run)
    assert done.code == 2
    assert "inside the checkpoint step_3" in done.stderr
    assert read_tree(run) == before


def test_a_directory_too_deep_to_look_into_is_a_problem_and_inside_a_checkpoint_unread(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(
        tmp_path / "run", {f"step_{n}/model.pt": torch_zip() for n in (1, 2, 3)}, age=7200
    )
    deep = "/".join(["d"] * 150)
    (run / "data" / deep).mkdir(parents=True)
    done = ckptctl(*KEEP_LAST, run, "-n", "--json")
    assert done.code == 0
    assert [p["code"] for p in done.json["runs"][0]["problems"]] == ["folder-unreadable"]
    (run / "step_1" / deep).mkdir(parents=True)
    assert ckptctl(*KEEP_LAST, run).code == 7
    assert len(list(run.iterdir())) == 4


def test_links_among_our_own_directories_are_not_followed(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1, 2, 3)))
    elsewhere = make_tree(tmp_path / "elsewhere", {"precious": b"p"})
    (tmp_path / ".ckptctl").symlink_to(elsewhere)
    done = ckptctl(*KEEP_LAST, run)
    assert done.code == 0
    assert read_tree(elsewhere) == {"precious": b"p"}
    assert steps_left(run) == [3]


@pytest.mark.parametrize(
    "mount", ["mount --bind $GOLD $RUN/step_1/m", "mount -t tmpfs none $RUN/step_1/m"]
)
def test_what_is_mounted_inside_a_checkpoint_is_safe(tmp_path: Path, mount: str) -> None:
    run = make_tree(
        tmp_path / "run", {f"step_{n}/model.pt": torch_zip() for n in (1, 2, 3)}, age=7200
    )
    gold = make_tree(tmp_path / "gold", {"data.bin": b"g"}, age=7200)
    (run / "step_1" / "m").mkdir()
    script = f"{mount}; touch -d yesterday $GOLD $GOLD/* $RUN/step_1 $RUN/step_1/m; {sys.executable} -m ckptctl prune --keep-last 1 $RUN --json"
    env = {
        **os.environ,
        "RUN": str(run),
        "GOLD": str(gold),
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
    }
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "is mounted in it" in done.stdout
    assert read_tree(gold) == {"data.bin": b"g"}
    assert sorted(path.name for path in run.iterdir()) == ["step_1", "step_3"]


def test_a_tracker_that_is_emptied_to_be_rewritten_stops_what_it_may_name(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    (run / "latest").write_text("step_5")
    done = ckptctl(
        str(run),
        *KEEP_LAST,
        run,
        "--json",
        module=("tests.faults.meddling",),
        env={"MEDDLE": "tracker"},
    )
    assert done.code == 5
    outcomes = done.json["runs"][0]["outcomes"]
    assert [o["status"] for o in outcomes] == ["done", "skipped", "skipped", "skipped"]
    assert "latest" in outcomes[1]["error"]
    assert steps_left(run) == [2, 3, 4, 5]
