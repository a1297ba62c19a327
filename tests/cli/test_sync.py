"""`ckptctl sync` on disks, as its users run it: what is there afterwards, and what it says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from tests.faults.test_full_disk import in_small_file_system
from tests.program import Ckptctl, Done
from tests.saved import save, steps_left
from tests.trees import make_tree, read_tree, set_age


def times(root: Path) -> dict[str, int]:
    """Return when each file, link and directory below was written."""
    return {
        str(path.relative_to(root)): path.lstat().st_mtime_ns
        for path in root.rglob("*")
        if ".ckptctl" not in path.parts
    }


def statuses(done: Done) -> dict[str, str]:
    """Return how each checkpoint and pointer ended."""
    return {r["checkpoint"]: r["status"] for r in done.json["results"]}


def files(root: Path) -> dict[str, bytes]:
    """Return what lies below, our own state aside."""
    return {p: c for p, c in read_tree(root).items() if not p.startswith(".ckptctl")}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three steps with losses."""
    return save(tmp_path / "run", {1: 3.0, 2: 2.0, 3: 1.0})


def test_a_copy_is_the_same_to_the_nanosecond_and_the_second_call_sends_nothing(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run, there = tmp_path / "run", tmp_path / "deep" / "er" / "there"
    make_tree(
        run,
        {
            "step_1/model.pt": torch_zip(),
            "step_1/empty.txt": b"",
            "step_1/hollow/": b"",
            "step_1/link": "-> model.pt",
            "step_1/out": "-> ../../elsewhere",
            "step_2/model.pt": torch_zip(),
        },
    )
    (run / "step_1/again.pt").hardlink_to(run / "step_1/model.pt")
    set_age(run, 7200)
    done = ckptctl("sync", run, there, "--json")
    assert done.code == 0, done.stdout
    assert statuses(done) == {"step_2": "done", "step_1": "done"}
    assert [r["checkpoint"] for r in done.json["results"]] == ["step_2", "step_1"]  # newest first
    assert files(there) == files(run)
    here = times(run)
    assert times(there) == here
    assert (there / "step_1/again.pt").samefile(there / "step_1/model.pt")
    again = ckptctl("sync", run, there, "--json")
    assert statuses(again) == {"step_2": "equal", "step_1": "equal"}
    assert sum(r["bytes_sent"] for r in again.json["results"]) == 0
    assert ckptctl("verify", there, "--level", "digest").code == 0


def test_on_a_disk_the_disk_says_what_links_there_are_and_not_an_older_manifest(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    tree: dict[str, bytes | str] = {"step_1/model.pt": torch_zip(), "step_1/link": "-> model.pt"}
    run, there = make_tree(tmp_path / "run", tree, age=7200), tmp_path / "there"
    assert ckptctl("verify", run, "--record").code == 0
    (run / "step_1/link").unlink()
    set_age(run, 3600)
    assert ckptctl("sync", run, there).code == 0
    assert files(there) == files(run)
    assert times(there) == times(run)


def test_what_is_not_complete_stays_and_what_is_no_checkpoint_too(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    make_tree(run, {"step_4.pt": torch_zip()[:-30], "notes.txt": "mine"})
    there = tmp_path / "there"
    done = ckptctl("sync", run, there, "--json")
    assert done.code == 0
    assert set(files(there)) == {f"step_{n}.{e}" for n in (1, 2, 3) for e in ("pt", "json")}
    named = ckptctl("sync", run, there, "--name", "step_4", "--json")
    assert named.code == 5
    assert "saving" in named.json["results"][0]["error"]
    assert ckptctl("sync", run, there, "--name", "step_9").code == 8


def test_settle_says_when_what_has_no_marker_is_complete(tmp_path: Path, ckptctl: Ckptctl) -> None:
    source = tmp_path / "run"
    make_tree(source, {"step_1/layer_00.safetensors": safetensors()})
    set_age(source, 60)
    waiting = ckptctl("sync", source, tmp_path / "there", "--json")
    assert statuses(waiting) == {}
    assert statuses(ckptctl("sync", source, tmp_path / "there", "--settle", "1s", "--json")) == {
        "step_1": "done"
    }


def test_a_torn_one_that_looks_complete_is_found_before_it_is_copied(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    torn = run / "step_1.pt"
    torn.write_bytes(torch_zip()[:-30])
    set_age(torn, 80000)
    there = tmp_path / "there"
    done = ckptctl("sync", run, there, "--json")
    assert done.code == 5
    assert statuses(done) == {"step_3": "done", "step_2": "done", "step_1": "failed"}
    assert not (there / "step_1.pt").exists()


def test_rules_choose_and_a_dry_run_writes_nothing(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    rules = ("--keep-best", "1", "--metric", "val_ppl")
    dry = ckptctl("sync", run, there, *rules, "-n", "--json")
    assert dry.json["dry_run"] is True
    assert statuses(dry) == {"step_3": "planned"}
    assert not there.exists()
    assert not (tmp_path / ".ckptctl").exists()
    assert ckptctl("sync", run, there, *rules).code == 0
    assert set(files(there)) == {"step_3.pt", "step_3.json"}


def another(there: Path) -> bytes:
    """Write another checkpoint under a name that the source has."""
    content = torch_zip({"data/0": b"otherone"})
    make_tree(there, {"step_2.pt": content}, age=3600)
    return content


def test_another_one_of_its_name_is_a_conflict_and_stays(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    content = another(there)
    done = ckptctl("sync", run, there, "--json")
    assert done.code == 5
    assert statuses(done) == {"step_3": "done", "step_2": "conflict", "step_1": "done"}
    assert (there / "step_2.pt").read_bytes() == content
    both = ckptctl("sync", run, there, "--on-conflict", "both", "--json")
    assert both.code == 0
    assert (there / "step_2.pt").read_bytes() == content
    assert (there / "step_2~2.pt").read_bytes() == (run / "step_2.pt").read_bytes()
    before = files(there)
    assert ckptctl("sync", run, there, "--on-conflict", "both").code == 0
    assert files(there) == before


def test_overwrite_puts_the_older_one_into_the_trash(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    content = another(there)
    ckptctl("annotate", "step_2", "--pin", "--in", there)
    pinned = ckptctl("sync", run, there, "--overwrite", "--json")
    assert pinned.code == 5
    assert (there / "step_2.pt").read_bytes() == content
    ckptctl("annotate", "step_2", "--unpin", "--in", there)
    assert ckptctl("sync", run, there, "--overwrite").code == 0
    assert (there / "step_2.pt").read_bytes() == (run / "step_2.pt").read_bytes()
    (there / "step_2.pt").rename(tmp_path / "aside")
    (there / "step_2.json").rename(tmp_path / "aside.json")
    assert ckptctl("undo", there).code == 0
    assert (there / "step_2.pt").read_bytes() == content


def test_what_is_pinned_there_meanwhile_is_not_replaced(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    content = another(there)
    pins = {"MEDDLE": "pin"}
    meddling = ("tests.faults.meddling",)
    done = ckptctl(
        str(there), "sync", run, there, "--overwrite", "--json", env=pins, module=meddling
    )
    assert done.code == 5
    assert statuses(done) == {"step_3": "done", "step_2": "conflict", "step_1": "done"}
    assert (there / "step_2.pt").read_bytes() == content


def test_what_went_between_the_listing_and_the_turn_of_its_run_is_no_failure(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """With several runs a prune, or another apply, may be at the next one meanwhile."""
    for name in ("a", "b"):
        save(tmp_path / "all" / name, dict.fromkeys(range(1, 4)))
    done = ckptctl(
        str(tmp_path / "all/b"), "sync", "-r", tmp_path / "all", tmp_path / "to", "--json",
        env={"MEDDLE": "gone"}, module=("tests.faults.meddling",),
    )  # fmt: skip
    assert done.code == 0, done.stdout
    assert len(steps_left(tmp_path / "all/b")) == 2
    assert steps_left(tmp_path / "to/b") == steps_left(tmp_path / "all/b")
    told = [one["checkpoint"] for one in done.json["results"] if one["run"] == "b"]
    assert sorted(told) == [f"step_{step}" for step in steps_left(tmp_path / "all/b")]


def test_what_is_being_saved_is_not_replaced_and_replaces_nothing(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    content = another(there)
    meddling = ("tests.faults.meddling",)
    done = ckptctl(
        str(run),
        "sync",
        run,
        there,
        "--overwrite",
        "--json",
        env={"MEDDLE": "save"},
        module=meddling,
    )
    assert done.code == 5
    assert statuses(done) == {"step_3": "done", "step_2": "failed", "step_1": "done"}
    assert (there / "step_2.pt").read_bytes() == content
    set_age(run / "step_2.pt", 3600)
    half = content[:-30]
    (there / "step_2.pt").write_bytes(half)
    done = ckptctl("sync", run, there, "--overwrite", "--json")
    assert statuses(done) == {"step_3": "equal", "step_2": "conflict", "step_1": "equal"}
    assert "changed a short while ago" in done.json["results"][1]["error"]
    assert (there / "step_2.pt").read_bytes() == half
    set_age(there / "step_2.pt", 3600)
    assert ckptctl("sync", run, there, "--overwrite").code == 0
    assert (there / "step_2.pt").read_bytes() == (run / "step_2.pt").read_bytes()


def test_what_is_no_checkpoint_there_is_never_replaced(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    tree = {"step_2.pt/mine.txt": "mine", "step_1.pt": "-> step_2.pt/mine.txt"}
    there = make_tree(tmp_path / "there", tree)
    os.mkfifo(there / "step_3.pt")
    for more in ((), ("--overwrite",)):
        done = ckptctl("sync", run, there, "--json", *more)
        assert done.code == 5
        assert set(statuses(done).values()) == {"conflict"}
        assert sum(r["bytes_sent"] for r in done.json["results"]) == 0
        assert (there / "step_2.pt/mine.txt").read_text() == "mine"
        assert (there / "step_1.pt").is_symlink()


def test_a_copy_made_by_hand_is_read_and_then_known(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for path in run.iterdir():
        (there / path.name).write_bytes(path.read_bytes())  # other times
    set_age(there, 3600)
    done = ckptctl("sync", run, there, "--json")
    assert set(statuses(done).values()) == {"equal"}
    assert (tmp_path / ".ckptctl/there/manifests").is_dir()
    flipped = bytearray((run / "step_1.pt").read_bytes())
    flipped[60] ^= 1
    (there / "step_1.pt").write_bytes(flipped)
    set_age(there / "step_1.pt", 1800)
    assert statuses(ckptctl("sync", run, there, "--json"))["step_1"] == "conflict"


def test_named_copies_come_last_and_replace_older_ones_only(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    there = tmp_path / "there"
    run = make_tree(
        tmp_path / "run",
        {"epoch=1-step=10.ckpt": torch_zip(), "last.ckpt": torch_zip({"data/0": b"old.old."})},
        age=7200,
    )
    done = ckptctl("sync", run, there, "--json")
    assert [r["checkpoint"] for r in done.json["results"]] == ["epoch=1-step=10", "last"]
    newer = torch_zip({"data/0": b"new.new."})
    (run / "last.ckpt").write_bytes(newer)
    set_age(run / "last.ckpt", 3600)
    assert statuses(ckptctl("sync", run, there, "--json"))["last"] == "done"
    assert (there / "last.ckpt").read_bytes() == newer
    set_age(run / "last.ckpt", 9000)
    (run / "last.ckpt").write_bytes(torch_zip({"data/0": b"old.old."}))
    set_age(run / "last.ckpt", 9000)
    back = ckptctl("sync", run, there, "--json")
    assert (back.code, statuses(back)["last"]) == (5, "conflict")
    assert (there / "last.ckpt").read_bytes() == newer


def test_pins_tags_metrics_and_sidecars_follow_equal_ones_too(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    assert ckptctl("sync", run, there).code == 0
    ckptctl("annotate", "step_1", "bleu=7.5", "--pin", "--tag", "paper", "--in", run)
    (run / "step_2.json").write_text(json.dumps({"step": 2, "val_ppl": 1.25}))
    assert ckptctl("sync", run, there).code == 0
    listed = ckptctl("list", there, "--json").json["runs"][0]["checkpoints"]
    known = {c["name"]: c for c in listed}
    assert known["step_1"]["pinned"] is True
    assert known["step_1"]["tags"] == ["paper"]
    assert known["step_1"]["metrics"]["bleu"] == 7.5
    assert known["step_2"]["metrics"]["val_ppl"] == 1.25


def test_a_sidecar_that_is_newer_there_stays(tmp_path: Path, ckptctl: Ckptctl, run: Path) -> None:
    there, known = tmp_path / "there", tmp_path / "known"
    shutil.copytree(run, there)  # by hand, so that both are read and compared
    assert ckptctl("sync", run, known).code == 0
    newer = json.dumps({"step": 2, "val_ppl": 9.125})
    for place in (there, known):
        (place / "step_2.json").write_text(newer)
        done = ckptctl("sync", run, place, "--json")
        assert set(statuses(done).values()) == {"equal"}
        assert (place / "step_2.json").read_text() == newer
        assert ckptctl("verify", place, "--level", "digest").code == 0
        set_age(place / "step_2.json", 10**6)
        assert ckptctl("sync", run, place).code == 0
        assert (place / "step_2.json").read_text() == (run / "step_2.json").read_text()


def test_damage_at_the_source_is_not_passed_on(tmp_path: Path, ckptctl: Ckptctl, run: Path) -> None:
    assert ckptctl("verify", run, "--record").code == 0
    file = run / "step_2.pt"
    seen = file.stat()
    flipped = bytearray(file.read_bytes())
    flipped[60] ^= 1
    with file.open("r+b") as stream:
        stream.write(flipped)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    there = tmp_path / "there"
    done = ckptctl("sync", run, there, "--json")
    assert done.code == 5
    assert statuses(done)["step_2"] == "failed"
    assert (
        "damaged" in next(r for r in done.json["results"] if r["checkpoint"] == "step_2")["error"]
    )
    assert not (there / "step_2.pt").exists()


@pytest.mark.parametrize("where", ["run", "run/sub", "."])
def test_source_and_destination_may_not_contain_each_other(
    tmp_path: Path, ckptctl: Ckptctl, run: Path, where: str
) -> None:
    before = read_tree(tmp_path)
    done = ckptctl("sync", run, tmp_path / where)
    assert done.code == 2
    assert "nothing was copied" in done.stderr
    assert read_tree(tmp_path) == before


def test_a_link_to_the_source_is_the_source(tmp_path: Path, ckptctl: Ckptctl, run: Path) -> None:
    (tmp_path / "alias").symlink_to(run)
    assert ckptctl("sync", run, tmp_path / "alias").code == 2
    assert ckptctl("sync", run, tmp_path / "alias" / "step_1.pt" / "x").code == 2


def test_wrong_words(tmp_path: Path, ckptctl: Ckptctl, run: Path) -> None:
    for more in (
        ("--order", "any"),
        ("--bwlimit", "0"),
        ("--bwlimit", "fast"),
        ("--on-conflict", "maybe"),
        ("--overwrite", "--on-conflict", "both"),
    ):
        assert ckptctl("sync", run, tmp_path / "there", *more).code == 2
    assert ckptctl("sync", tmp_path / "absent", tmp_path / "there").code == 7
    assert not (tmp_path / "there").exists()


def test_an_empty_place_is_nothing_to_copy(tmp_path: Path, ckptctl: Ckptctl) -> None:
    (tmp_path / "none").mkdir()
    assert ckptctl("sync", tmp_path / "none", tmp_path / "there").code == 0


def test_a_run_that_is_locked_there_is_3(tmp_path: Path, ckptctl: Ckptctl, run: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    import fcntl  # noqa: PLC0415 - for this test alone

    fd = os.open(there, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        done = ckptctl("sync", run, there)
        assert (done.code, done.stdout) == (3, "no checkpoint was copied and proven\n")
    finally:
        os.close(fd)
    assert files(there) == {}


def test_moving_leaves_what_guards_keep(tmp_path: Path, ckptctl: Ckptctl, run: Path) -> None:
    ckptctl("annotate", "step_1", "--pin", "--in", run)
    there = tmp_path / "there"
    whole = files(run)
    dry = ckptctl("sync", run, there, "--move", "-n", "--json")
    assert (dry.code, files(run), there.exists()) == (0, whole, False)
    assert {r["checkpoint"]: (r["action"], r["status"]) for r in dry.json["results"]} == {
        "step_3": ("copy", "planned"),
        "step_2": ("move", "planned"),
        "step_1": ("copy", "planned"),
    }
    assert "1 to be deleted here" in ckptctl("sync", run, there, "--move", "-n").stdout
    done = ckptctl("sync", run, there, "--move", "--json")
    assert done.code == 0, done.stdout
    assert done.json["runs"][0]["problems"] == dry.json["runs"][0]["problems"]
    actions = {r["checkpoint"]: (r["action"], r["status"]) for r in done.json["results"]}
    assert actions == {
        "step_3": ("copy", "done"),
        "step_2": ("move", "done"),
        "step_1": ("copy", "done"),
    }
    assert set(files(run)) == {"step_3.pt", "step_3.json", "step_1.pt", "step_1.json"}
    assert files(there) == whole
    assert [p["code"] for p in done.json["runs"][0]["problems"]] == ["stays-here"] * 2


def test_copies_that_went_while_the_rest_was_copied_are_no_success(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """Somebody moves the directory away and makes a new one, as a job that starts anew does."""
    run = make_tree(tmp_path / "run", {f"step_{n}.pt": torch_zip() for n in (1, 2, 3)}, age=7200)
    there, log = tmp_path / "there", tmp_path / "log"
    done = ckptctl(
        there, "sync", run, there, "--move", "--json", "--log-file", log,
        env={"MEDDLE": "moved"}, module=("tests.faults.meddling",),
    )  # fmt: skip
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["checkpoint"]: line["status"] for line in said} == {
        f"step_{n}": "failed" for n in (1, 2, 3)
    }  # the last word on each
    assert (done.code, set(statuses(done).values())) == (5, {"failed"})
    assert len(files(run)) == 3
    assert set(statuses(ckptctl("sync", run, there, "--json")).values()) == {"done"}


def test_nothing_can_be_deleted_there_while_it_is_deleted_here_for_the_sake_of_that_copy(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    there = tmp_path / "there"
    meddling = ("tests.faults.meddling",)
    done = ckptctl(
        str(there), "sync", run, there, "--move", env={"MEDDLE": "lock"}, module=meddling
    )
    assert done.code == 0, done.stderr
    assert set(files(run)) == {"step_3.pt", "step_3.json"}
    assert (tmp_path / "there.locked").read_text() == "yes"


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = """
        mkdir -p $HOME/src && head -c 600k /dev/urandom > $HOME/src/step_1.pt
        touch -d '2 hours ago' $HOME/src/step_1.pt
        $CKPTCTL sync --no-verify $HOME/src $DISK/there --json || echo "code $?"
        find $DISK -name '*.pt' | wc -l
    """
    done = in_small_file_system(tmp_path, "size=400k", script)
    assert "No space left" in done.stdout, done.stderr
    assert done.stdout.endswith("code 5\n0\n")


def test_a_copy_whose_manifest_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The last free inode was that of its file."""
    script = """
        mkdir -p $HOME/src && head -c 6k /dev/urandom > $HOME/src/step_1.pt
        touch -d '2 hours ago' $HOME/src/step_1.pt
        mkdir $DISK/there
        $CKPTCTL sync --no-verify $HOME/src $DISK/there --json || echo "code $?"
    """
    done = in_small_file_system(tmp_path, "size=4m,nr_inodes=9", script)
    (result,) = json.loads(done.stdout.splitlines()[0])["results"]
    assert (result["checkpoint"], result["status"]) == ("step_1", "failed")
    assert "manifest" in result["error"]
    assert done.stdout.endswith("code 7\n")


def test_bytes_are_sent_no_faster_than_asked(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", {"step_1.pt": torch_zip({"data/1": bytes(2**20)})}, age=7200)
    done = ckptctl("sync", run, tmp_path / "there", "--bwlimit", "2MiB/s", "--json")
    assert done.json["results"][0]["seconds"] >= 0.35  # a limit, not a speed


def test_nothing_of_an_older_save_comes_along_with_a_newer_one(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run, there = tmp_path / "run", tmp_path / "there"
    make_tree(
        run,
        {"step_1/a.pt": torch_zip({"data/1": bytes(2**20)}), "step_1/old/b.pt": torch_zip()},
        age=7200,
    )
    died = ckptctl("kill", "75", "sync", run, there, module=("tests.faults.dying",))
    assert died.code == -9
    stage = next((tmp_path / ".ckptctl/there/staging").glob("*[!n]"))
    (stage / "step_1/old").mkdir(parents=True, exist_ok=True)
    (stage / "step_1/old/b.pt").write_bytes(b"of an older save")
    note = {"schema": "ckptctl/staging", "version": 1, "path": "step_1", "began_ns": 0, "files": {}}
    stage.with_suffix(".json").write_text(json.dumps(note))
    (run / "step_1/old/b.pt").unlink()
    (run / "step_1/old").rmdir()
    set_age(run, 3600)
    assert ckptctl("sync", run, there).code == 0
    assert files(there) == files(run)
    assert times(there) == times(run)


def test_state_on_another_file_system_is_said_before_anything_is_sent(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    done = ckptctl(
        "sync", run, tmp_path / "there", "--state-dir", f"/dev/shm/{os.getpid()}", "--json"
    )
    try:
        assert done.code == 5, done.stdout
        assert {r["bytes_sent"] for r in done.json["results"]} == {0}
        assert "--state-dir" in done.json["results"][0]["error"]
    finally:
        shutil.rmtree(f"/dev/shm/{os.getpid()}", ignore_errors=True)


def test_damage_that_a_copy_finds_is_recorded_at_the_source(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    assert ckptctl("verify", run, "--record").code == 0
    file = run / "step_2.pt"
    before, content = file.stat(), bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = ckptctl("sync", run, tmp_path / "there", "--json")
    assert (done.code, statuses(done)["step_2"]) == (5, "failed")
    listed = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert {c["step"]: c["state"] for c in listed} == {1: "complete", 2: "damaged", 3: "complete"}
    assert set(statuses(ckptctl("sync", run, tmp_path / "there", "--json"))) == {"step_3", "step_1"}


def test_a_sidecar_of_any_size_goes_along_in_little_memory(
    tmp_path: Path, ckptctl: Ckptctl, run: Path
) -> None:
    os.truncate(run / "step_2.json", 160 * 2**20)
    set_age(run / "step_2.json", 7200)
    there, peak = tmp_path / "there", tmp_path / "peak"
    done = ckptctl(peak, "sync", run, there, "--json", module=("tests.measured",))
    assert done.code == 0, done.stdout
    assert int(peak.read_text()) < 200 * 2**20
    assert (there / "step_2.json").stat().st_size == 160 * 2**20
    assert times(there)["step_2.json"] == times(run)["step_2.json"]
    assert set(statuses(ckptctl("sync", run, there, "--json")).values()) == {"equal"}


def test_a_destination_in_the_state_directory_is_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    """Nobody looks for a run there, so that with --move all would seem to be gone."""
    run = save(tmp_path / "run", {1: None, 2: None})
    for to in (tmp_path / ".ckptctl/run", tmp_path / "a/.ckptctl"):
        done = ckptctl("sync", "--move", run, to)
        assert (done.code, "ckptctl's own" in done.stderr) == (2, True), done.stderr
        assert not to.exists()
    assert steps_left(run) == [1, 2]
