"""`ckptctl annotate`: metrics that arrive later, tags and pins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import torch_zip
from tests.cli.test_processes import ENV
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.trees import make_tree, read_tree, set_age


def listed(ckptctl: Ckptctl, run: Path) -> dict[str, Any]:
    found = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    return {each["name"]: each for each in found}


def test_metrics_that_arrive_later_rank(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    assert ckptctl("annotate", "step_2", "loss=0.5", "acc=-1e-3", "--in", run).code == 0
    assert ckptctl("annotate", "step_3", "loss=nan", "a=b=inf", "--in", run).code == 0
    assert listed(ckptctl, run)["step_2"]["metrics"] == {"loss": 0.5, "acc": -0.001}
    assert listed(ckptctl, run)["step_3"]["metrics"] == {"loss": "nan", "a=b": "inf"}
    assert (
        ckptctl("prune", "--keep-best", "1", "--metric", "loss", "--await-metric", "0", run).code
        == 0
    )
    assert steps_left(run) == [2, 5]


def test_it_goes_before_the_sidecar_and_adds_to_what_was_recorded(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: 7.0, 2: 8.0})
    ckptctl("annotate", "step_1", "val_ppl=3", "--tag", "a", "--in", run)
    done = ckptctl("annotate", "step_1", "acc=0.9", "--tag", "b", "--pin", "--in", run, "--json")
    (result,) = done.json["results"]
    assert result["metrics"] == {"val_ppl": 3.0, "acc": 0.9}
    assert (result["tags"], result["pinned"]) == (["a", "b"], True)
    assert listed(ckptctl, run)["step_1"]["metrics"] == {"val_ppl": 3.0, "acc": 0.9}
    ckptctl("annotate", "step_1", "--untag", "a", "--unpin", "--in", run)
    after = listed(ckptctl, run)["step_1"]
    assert (after["tags"], after["pinned"]) == (["b"], False)


def test_pins_and_tags_keep(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    assert ckptctl("annotate", "step_1", "--pin", "--in", run).code == 0
    assert ckptctl("annotate", "step_2", "--tag", "release", "--in", run).code == 0
    assert ckptctl("prune", "--keep-last", "1", "--keep-tag", "release", run).code == 0
    assert steps_left(run) == [1, 2, 5]


def test_a_step_saved_anew_loses_its_metrics_and_keeps_pin_and_tags(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    ckptctl("annotate", "step_1", "loss=0.5", "--tag", "a", "--pin", "--in", run)
    set_age(run / "step_1.pt", 3600)
    after = listed(ckptctl, run)["step_1"]
    assert (after["metrics"], after["tags"], after["pinned"]) == ({}, ["a"], True)
    assert [problem["code"] for problem in after["problems"]] == ["stale-record"]
    ckptctl("annotate", "step_1", "--tag", "b", "--in", run)  # does not revive them
    assert listed(ckptctl, run)["step_1"]["metrics"] == {}
    ckptctl("annotate", "step_1", "acc=1", "--in", run)
    again = listed(ckptctl, run)["step_1"]
    assert (again["metrics"], again["tags"], again["problems"]) == ({"acc": 1.0}, ["a", "b"], [])


def test_a_sidecar_that_changes_does_not_void_a_record(tmp_path: Path, ckptctl: Ckptctl) -> None:
    tree: dict[str, bytes | str] = {
        "step_1/model.pt": torch_zip(),
        "step_1/metrics.json": '{"loss": 2}',
        "step_2/model.pt": torch_zip(),
        "step_2.json": "{}",
    }
    run = make_tree(tmp_path / "run", tree, age=7200)
    for name in ("step_1", "step_2"):
        ckptctl("annotate", name, "acc=1", "--in", run)
    (run / "step_1" / "metrics.json").write_text('{"loss": 33}')
    (run / "step_2.json").write_text('{"loss": 33}')
    for name in ("step_1", "step_2"):
        assert listed(ckptctl, run)[name]["metrics"] == {"acc": 1.0, "loss": 33}


def test_a_checkpoint_of_very_many_files_has_a_small_record(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    tree: dict[str, bytes | str] = {f"step_1/part{n}.pt": b"x" for n in range(1500)}
    run = make_tree(tmp_path / "run", {**tree, "step_2/model.pt": torch_zip()}, age=7200)
    ckptctl("annotate", "step_1", "acc=1", "--in", run)
    (record,) = (tmp_path / ".ckptctl" / "run" / "records").iterdir()
    assert record.stat().st_size < 1000
    assert listed(ckptctl, run)["step_1"]["metrics"] == {"acc": 1.0}


def test_what_a_sidecar_says_cannot_be_taken_back(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    (run / "step_1.json").write_text(json.dumps({"pinned": True, "tags": ["a"]}))
    for flags, words in (
        (("--unpin",), "the pin stands in step_1.json"),
        (("--untag", "a"), "the tag a stands in step_1.json"),
        (("--unpin", "--tag", "b"), "the pin"),
    ):
        done = ckptctl("annotate", "step_1", *flags, "--in", run)
        assert done.code == 4
        assert words in done.stderr
    assert not (tmp_path / ".ckptctl").exists()
    assert ckptctl("annotate", "step_1", "--untag", "other", "--in", run).code == 0


def test_what_another_state_directory_says_cannot_be_taken_back_either(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    state = tmp_path / "elsewhere"
    ckptctl("annotate", "step_1", "--tag", "a", "--in", run, "--state-dir", state)
    ckptctl("annotate", "step_1", "--pin", "--in", run)
    done = ckptctl("annotate", "step_1", "--unpin", "--in", run, "--state-dir", state)
    assert done.code == 4
    assert f"a record of {tmp_path}/.ckptctl/run" in done.stderr
    assert listed(ckptctl, run)["step_1"]["pinned"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to record"),
        (("loss",), "KEY=VALUE"),
        (("=1",), "KEY=VALUE"),
        (("loss=",), "KEY=VALUE"),
        (("loss=low",), "KEY=VALUE"),
        (("loss=1_0",), "KEY=VALUE"),
        (("acc=1", "loss=0x1"), "KEY=VALUE"),
        (("--tag", ""), "--tag"),
        (("--tag", "a", "--untag", "a"), "both --tag and --untag"),
        (("--pin", "--unpin"), "--pin and --unpin"),
    ],
)
def test_a_wrong_command_line_is_2_and_records_nothing(
    tmp_path: Path, ckptctl: Ckptctl, arguments: tuple[str, ...], words: str
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    done = ckptctl("annotate", "step_1", *arguments, "--in", run)
    assert done.code == 2
    assert words in done.stderr
    assert not (tmp_path / ".ckptctl").exists()


def test_many_at_once_lose_no_entry(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    program = [
        sys.executable,
        "-m",
        "ckptctl",
        "annotate",
        "step_1",
        "--in",
        str(run),
        "--lock-wait",
        "1m",
        "--tag",
    ]
    all_of_them = [
        subprocess.Popen([*program, f"t{n}", f"m{n}={n}"], env=ENV, stdout=subprocess.DEVNULL)
        for n in range(12)
    ]
    assert [process.wait() for process in all_of_them] == [0] * 12
    after = listed(ckptctl, run)["step_1"]
    assert sorted(after["tags"]) == sorted(f"t{n}" for n in range(12))
    assert after["metrics"] == {f"m{n}": float(n) for n in range(12)}
    state = tmp_path / ".ckptctl" / "run"
    assert sorted(path.name for path in state.iterdir()) == ["records", "run.json"]
    assert len(list((state / "records").iterdir())) == 1


def test_the_runs_own_directory_is_untouched(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    before, time_ns = read_tree(run), run.stat().st_mtime_ns
    ckptctl("annotate", "step_1", "loss=1", "--in", run)
    assert (read_tree(run), run.stat().st_mtime_ns) == (before, time_ns)


def test_a_record_that_cannot_be_understood_is_not_written_over(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    ckptctl("annotate", "step_1", "--pin", "--in", run)
    (record,) = (tmp_path / ".ckptctl" / "run" / "records").iterdir()
    record.write_text('{"schema": "ckptctl/record", "version": 2}')
    done = ckptctl("annotate", "step_1", "--tag", "a", "--in", run)
    assert done.code == 7
    assert record.name in done.stderr
    assert json.loads(record.read_text())["version"] == 2
