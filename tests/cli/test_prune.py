"""`ckptctl prune` on local disks, run as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.formats.flax import Flax
from ckptctl.formats.levanter import Levanter
from ckptctl.formats.olmo_core import OlmoCore
from ckptctl.formats.stable_baselines3 import StableBaselines3
from tests.program import Ckptctl
from tests.saved import names_left, save, steps_left
from tests.trees import make_tree, read_tree, set_age

LOSSES: dict[int, float | None] = {
    1000: 20.0, 2000: 9.0, 3000: 12.0, 4000: 8.5, 5000: 30.0, 6000: 11.0, 7000: 10.0, 8000: 10.5,
}  # fmt: skip
KEEP = ("--keep-last", "3", "--keep-best", "2", "--metric", "val_ppl")


def test_a_cron_job_leaves_exactly_the_last_and_the_best_and_a_second_call_deletes_nothing(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", LOSSES)
    first = ckptctl("prune", *KEEP, run, "--json")
    assert first.code == 0
    assert steps_left(run) == [2000, 4000, 6000, 7000, 8000]
    assert names_left(run) == sorted(
        f"step_{n}.{e}" for n in (2000, 4000, 6000, 7000, 8000) for e in ("pt", "json")
    )
    assert sorted(o["checkpoint"] for o in first.json["runs"][0]["outcomes"]) == [
        "step_1000",
        "step_3000",
        "step_5000",
    ]
    assert first.json["freed_bytes"] > 0
    before = read_tree(run)
    second = ckptctl("prune", *KEEP, run, "--json")
    assert (second.code, second.json["runs"][0]["outcomes"], second.json["freed_bytes"]) == (
        0,
        [],
        0,
    )
    assert read_tree(run) == before


def test_the_human_output_says_why_for_each(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", LOSSES)
    done = ckptctl("prune", *KEEP, run, "--dry-run")
    assert done.code == 0
    assert "#1 by val_ppl (8.5)" in done.stdout
    assert (
        "best #6 by val_ppl (12): kept by --keep-best 6" in done.stdout
    )  # what it would have taken
    assert steps_left(run) == sorted(LOSSES)


def test_a_dry_run_writes_nothing_at_all(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", LOSSES)
    before, times = (
        read_tree(tmp_path),
        {p: p.stat().st_mtime_ns for p in [tmp_path, *tmp_path.rglob("*")]},
    )
    for command in (("prune", *KEEP, "-n"), ("list",)):
        assert ckptctl(*command, run).code == 0
    assert read_tree(tmp_path) == before
    assert {p: p.stat().st_mtime_ns for p in [tmp_path, *tmp_path.rglob("*")]} == times


def test_a_torn_newest_is_never_counted_and_never_deleted(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1000, 2000, 3000, 4000), 10.0))
    torn = run / "step_4000.pt"
    torn.write_bytes(torch_zip()[:-30])
    set_age(torn, 3600)
    done = ckptctl("prune", "--keep-last", "1", run, "--json")
    assert done.code == 0
    assert steps_left(run) == [3000, 4000]
    states = {
        d["checkpoint"]["name"]: d["checkpoint"]["state"] for d in done.json["runs"][0]["decisions"]
    }
    assert states["step_4000"] == "incomplete"


def test_a_torn_one_in_the_middle_is_found_before_anything_rests_on_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", LOSSES)
    best = run / "step_4000.pt"
    best.write_bytes(torch_zip()[:-30])
    set_age(best, 5 * 3600)
    done = ckptctl("prune", *KEEP, run, "--json")
    assert done.code == 0
    assert steps_left(run) == [
        2000,
        4000,
        6000,
        7000,
        8000,
    ]  # 7000 is second best now, 4000 is kept as incomplete
    reasons = {
        d["checkpoint"]["name"]: [r["rule"] for r in d["reasons"]]
        for d in done.json["runs"][0]["decisions"]
    }
    assert reasons["step_4000"] == ["incomplete"]
    assert "best" in reasons["step_7000"]


def test_what_is_being_written_is_left_alone(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: None})
    (run / "step_4.pt").write_bytes(torch_zip()[:-30])
    done = ckptctl("prune", "--keep-last", "1", run, "--json")
    assert done.code == 0
    assert steps_left(run) == [3, 4]
    assert [d["checkpoint"]["state"] for d in done.json["runs"][0]["decisions"]][-1] == "saving"


def test_pins_tags_pointers_and_unreadable_sidecars_keep(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {n: 10.0 + n for n in range(1, 9)})
    (run / "step_1.json").write_text('{"pinned": true}')
    (run / "step_2.json").write_text('{"tags": ["release"]}')
    (run / "step_3.json").write_text("{torn")
    (run / "latest").write_text("step_4.pt\n")
    (run / "good.pt").symlink_to("step_5.pt")
    done = ckptctl("prune", "--keep-last", "1", "--keep-tag", "release", run)
    assert done.code == 0
    assert steps_left(run) == [1, 2, 3, 4, 5, 8]


def test_unknown_files_are_never_touched(tmp_path: Path, ckptctl: Ckptctl) -> None:
    strangers = {
        "exp_12/model.pt": b"x", "train_0001.bin": b"x", "version_3/a.pt": b"x", "fold_1/model.pt": b"x",
        "resnet_50.pth": b"x", "sample_17.pt": b"x", "1000.pt": b"x", "model-00001-of-00004.safetensors": b"x",
        "vocab.pt": b"x", "unet/weights.pt": b"x", "step_1.txt": b"x", "checkpoint-500-best/model.safetensors": b"x",
        "iter_0001000.bak/model.pt": b"x", "ckpt_20260102.pt": b"x", "step_1.pt.tmp": b"x", "config.json": b"{}",
    }  # fmt: skip
    run = save(tmp_path / "run", dict.fromkeys(range(10, 16)))
    make_tree(run, strangers)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    left = read_tree(run)
    assert {path: left.get(path) for path in strangers} == strangers
    assert steps_left(run, "step_1?.pt") == [15]


def test_several_runs_need_recursive_and_are_decided_one_by_one(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    for name in ("a", "b"):
        save(tmp_path / "runs" / name, {n: 10.0 + n for n in range(1, 5)})
    save(tmp_path / "runs" / "c", dict.fromkeys(range(1, 5)))  # without the metric
    refused = ckptctl("prune", "--keep-best", "1", "--metric", "val_ppl", tmp_path / "runs")
    assert refused.code == 2
    assert str(tmp_path / "runs" / "a") in refused.stderr
    done = ckptctl(
        "prune", "--keep-best", "1", "--metric", "val_ppl", "-r", tmp_path / "runs", "--json"
    )
    assert done.code == 5
    assert [run["name"] for run in done.json["runs"]] == ["a", "b", "c"]
    assert done.json["runs"][2]["error"]["code"] == 2
    assert [steps_left(tmp_path / "runs" / name) for name in "abc"] == [
        [1, 4],
        [1, 4],
        [1, 2, 3, 4],
    ]


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        (("--max-delete", "2"), "--max-delete 5"),
        (("--max-delete", "50%"), "--max-delete 5"),
        (("--max-delete-bytes", "1"), "--max-delete-bytes"),
    ],
)
def test_over_a_limit_nothing_goes_and_the_message_says_what_lets_it_through(
    tmp_path: Path, ckptctl: Ckptctl, flags: tuple[str, ...], flag: str
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 9)))
    done = ckptctl("prune", "--keep-last", "3", *flags, run)
    assert done.code == 4
    assert flag in done.stderr
    assert steps_left(run) == list(range(1, 9))


def test_usage_errors(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", LOSSES)
    for arguments, words in (
        ((), "no rule"),
        (("--keep-last", "0"), "--keep-last"),
        (("--keep-best", "1"), "metric"),
        (("--keep-best", "1", "--metric", "val_speed"), "val_speed:min or val_speed:max"),
        (("--keep-best", "1", "--metric", "nothing:min"), "val_ppl"),
        (("--keep-last", "1", "--require-copies", "1"), "no configuration with tiers"),
        (("--keep-last", "1", "--verify-copies", "digest"), "no configuration with tiers"),
        (("--keep-last", "1", "--verify-copies", "names"), "must be digest"),
        (("--keep-last", "1", "--require-copies", "-1"), "at least 0"),
        (("--kep-last", "1"), "--kep-last"),
    ):
        done = ckptctl("prune", run, *arguments)
        assert (done.code, done.stdout) == (2, ""), arguments
        assert words in done.stderr, arguments
        machine = ckptctl("prune", run, *arguments, "--json")
        assert (machine.code, machine.json["code"]) == (2, 2)
        assert machine.json["schema"] == "ckptctl/error"
    assert steps_left(run) == sorted(LOSSES)


def test_locations_that_are_missing_empty_or_a_checkpoint(tmp_path: Path, ckptctl: Ckptctl) -> None:
    missing = ckptctl("prune", "--keep-last", "1", tmp_path / "gone")
    assert missing.code == 7
    assert "does not exist" in missing.stderr
    (tmp_path / "empty").mkdir()
    assert ckptctl("prune", "--keep-last", "1", tmp_path / "empty").code == 0
    run = make_tree(
        tmp_path / "run",
        {"step_1/model.pt": torch_zip(), "step_1/deep/x.txt": b"", "step_2/model.pt": torch_zip()},
        age=7200,
    )
    inside = ckptctl("prune", "--keep-last", "1", run / "step_1" / "deep")
    assert inside.code == 2
    assert str(run) in inside.stderr
    part = run / "step_1" / "global_step1"
    make_tree(part, {"mp_rank_00_model_states.pt": torch_zip()})
    for command in (("prune", "--keep-last", "1"), ("list",)):
        nested = ckptctl(*command, part)
        assert nested.code == 2
        assert f"lies inside the checkpoint step_1 of the run {run};" in nested.stderr
    itself = ckptctl("prune", "--keep-last", "1", run / "step_1")
    assert itself.code == 2
    assert ckptctl("list", run / "step_1", "-o", "paths").stdout == f"{run}/step_1\n"


def test_rules_that_keep_nothing_are_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: None})
    done = ckptctl("prune", "--keep-tag", "none-has-this", run)
    assert done.code == 4
    assert steps_left(run) == [1, 2, 3]


def test_shared_sidecars_go_with_the_last_that_needs_them(tmp_path: Path, ckptctl: Ckptctl) -> None:
    tree: dict[str, bytes | str] = {}
    for step in (1, 2, 3):
        tree |= {
            f"step_{step}.pt": torch_zip(),
            f"step_{step}.ckpt": torch_zip(),
            f"step_{step}.json": json.dumps({"loss": step}),
        }
    run = make_tree(tmp_path / "run", tree, age=7200)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert names_left(run) == ["step_3.ckpt", "step_3.json", "step_3.pt"]


def test_hard_links_free_nothing_until_the_last_goes(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: None})
    os.link(run / "step_1.pt", tmp_path / "elsewhere.pt")
    done = ckptctl("prune", "--keep-last", "1", run, "--json")
    sizes = {o["checkpoint"]: o["bytes"] for o in done.json["runs"][0]["outcomes"]}
    assert sizes["step_1"] == 0
    assert sizes["step_2"] > 0
    assert (tmp_path / "elsewhere.pt").exists()


def test_the_state_lies_beside_the_run_and_is_found_again_after_a_rename(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert (tmp_path / ".ckptctl" / "run" / "run.json").exists()
    assert not (run / ".ckptctl").exists()
    run.rename(tmp_path / "renamed")
    save(tmp_path / "renamed", dict.fromkeys(range(10, 13)))
    assert ckptctl("prune", "--keep-last", "1", tmp_path / "renamed").code == 0
    assert sorted(path.name for path in (tmp_path / ".ckptctl").iterdir()) == ["run"]


def test_a_named_state_directory_on_another_file_system(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    make_tree(run, {"step_7/model.pt": torch_zip(), "step_8/model.pt": torch_zip()}, age=7000)
    state = Path("/dev/shm") / f"ckptctl-test-{os.getpid()}"
    try:
        done = ckptctl("prune", "--keep-last", "1", "--state-dir", state, run)
        assert done.code == 0
        assert steps_left(run) == [3]
        assert names_left(run) == ["step_3.pt", "step_8"]
        assert not (tmp_path / ".ckptctl").exists()
        assert (state / "run" / "run.json").exists()
    finally:
        shutil.rmtree(state, ignore_errors=True)


def test_a_rule_flag_given_twice_is_two_rules(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(10, 80, 10)), hours_apart=8)
    assert (
        ckptctl(
            "prune",
            run,
            "--keep-every",
            "30",
            "--keep-every",
            "24h",
            "--keep-last",
            "1",
            "--keep-last",
            "2",
        ).code
        == 0
    )
    assert steps_left(run) == [10, 30, 40, 60, 70]


def test_a_log_that_was_named_and_is_not_there_stops_a_prune(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None, 3: 9.0})
    done = ckptctl(
        "prune", run, "--keep-best", "1", "--metric", "val_ppl", "--metrics-from", "typo.csv"
    )
    assert done.code == 7
    assert "typo.csv" in done.stderr
    assert steps_left(run) == [1, 2, 3]


def test_metrics_come_from_a_log_beside_the_run(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    (tmp_path / "metrics.csv").write_text("step,val_ppl\n1,9\n2,3\n3,nan\n4,7\n5,8\n")
    assert (
        ckptctl(
            "prune",
            run,
            "--keep-best",
            "1",
            "--metric",
            "val_ppl",
            "--metrics-from",
            "../metrics.csv",
        ).code
        == 0
    )
    assert steps_left(run) == [2, 5]


def test_a_sidecar_inside_is_not_covered_by_the_marker(
    tmp_path: Path, ckptctl: Ckptctl, corpus: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(corpus / "hf-trainer", run)
    (run / "checkpoint-40" / "metrics.json").write_text('{"eval_bleu": 3}')
    listed = {c["name"]: c for c in ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]}
    assert listed["checkpoint-40"]["state"] == "complete"
    assert listed["checkpoint-40"]["metrics"]["eval_bleu"] == 3


def test_the_one_that_a_sidecar_says_was_saved_last_is_looked_at(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    (run / "step_1.pt").write_bytes(torch_zip()[:-30])
    set_age(run / "step_1.pt", 3 * 86400)
    (run / "step_1.json").write_text(json.dumps({"saved_at": time.time() - 60}))
    states = {
        c["name"]: c["state"] for c in ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    }
    assert states == {"step_1": "incomplete", "step_2": "complete"}


def test_what_only_the_others_tell_of_is_never_deleted_as_incomplete(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """A run that went on with more ranks: the earlier ones may be whole."""
    run = tmp_path / "run"
    for step, ranks in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 2)):
        states = {f"random_states_{rank}.pkl": torch_zip() for rank in range(ranks)}
        tree = {"model.safetensors": safetensors("w"), "optimizer.bin": torch_zip(), **states}
        make_tree(run / f"checkpoint_{step}", tree)
    (run / "checkpoint_3" / "model.safetensors").unlink()
    for step in range(1, 6):
        set_age(run / f"checkpoint_{step}", (10 - step) * 3600)
    done = ckptctl("prune", "--keep-last", "1", "--delete-incomplete", "1h", run, "--json")
    assert done.code == 0
    reasons = [
        d["reasons"] for d in done.json["runs"][0]["decisions"] if d["checkpoint"]["step"] == 1
    ]
    assert reasons == [[{"rule": "incomplete", "text": "not complete, or saved in fewer parts than others of its family: kept for you to look at"}]]  # fmt: skip
    assert names_left(run) == ["checkpoint_1", "checkpoint_2", "checkpoint_5"]


def test_what_a_run_began_to_save_later_condemns_nothing_that_was_saved_before(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """Without a replay buffer at first, with fewer ranks at first: each is whole, and may be all there is."""
    run = tmp_path / "run"
    agent = StableBaselines3.example["rl_model_1000_steps.zip"]
    for step in (1000, 2000, 3000):
        tree = {path.replace("1000", f"{step}"): b for path, b in OlmoCore.example.items()}
        tree[f"rl_model_{step}_steps.zip"] = agent
        if step > 1000:
            tree[f"step{step}/train/rank1.pt"] = torch_zip()
            tree[f"rl_model_replay_buffer_{step}_steps.pkl"] = b"\x80\x05N."
        make_tree(run, tree)
        for top in {path.partition("/")[0] for path in tree}:
            set_age(run / top, (10 - step // 1000) * 3600)
    before = read_tree(run)
    done = ckptctl("prune", "--keep-last", "9", "--delete-incomplete", "1h", run, "--json")
    assert done.code == 0
    assert read_tree(run) == before
    assert done.json["runs"][0]["outcomes"] == []


def test_of_a_group_with_a_directory_no_empty_one_is_left_and_undo_restores_its_times(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """Flax would find the directory of arrays in its way when it saves that step anew."""
    run = tmp_path / "run"
    array = {path.partition("/")[2]: b for path, b in Levanter.example.items() if "weight" in path}
    for step in (1000, 2000, 3000):
        make_tree(run, {f"checkpoint_{step}": Flax.example["checkpoint_1000"]})
        make_tree(run / f"checkpoint_{step}_gda", array)
        for top in (f"checkpoint_{step}", f"checkpoint_{step}_gda"):
            set_age(run / top, (10 - step // 1000) * 3600)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    for grace in (("--grace", "1d"), ()):
        assert ckptctl("prune", "--keep-last", "1", run, *grace).code == 0
        assert names_left(run) == ["checkpoint_3000", "checkpoint_3000_gda"]
        if grace:
            assert ckptctl("undo", run).code == 0
            assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
