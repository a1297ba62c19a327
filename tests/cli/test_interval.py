"""`ckptctl interval` as a user calls it."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.saved import save

HOUR = 3600
GIVEN = ("interval", "--save-cost", "60s", "--mtbf", "11135.083532s")
ANSWER = (1155.945511, 1116.291548, 1116.296368)


def _at(path: Path, when: float) -> None:
    os.utime(path, (when, when))


def _run(root: Path, hours_ago: Sequence[float], steps: Sequence[int] = ()) -> Path:
    """A run of single files; hours ago as given."""
    for index, hours in enumerate(hours_ago):
        step = steps[index] if steps else 1000 * (index + 1)
        path = root / f"step_{step}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(torch_zip())
        _at(path, time.time() - hours * HOUR)
    return root


def _folders(root: Path, count: int, seconds: float) -> Path:
    """A run of Hugging Face checkpoints, one an hour, each written in that many seconds."""
    now = time.time()
    for n in range(count):
        folder = root / f"checkpoint-{1000 * (n + 1)}"
        folder.mkdir(parents=True)
        then = now - (count - n) * HOUR
        for name, content in (
            ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}      "),
            ("config.json", b"{}"),
            ("trainer_state.json", f'{{"global_step": {1000 * (n + 1)}}}'.encode()),
        ):
            (folder / name).write_bytes(content)
            _at(folder / name, then)
        _at(folder / "model.safetensors", then - seconds)
    return root


def test_the_vector_of_the_contract(ckptctl: Ckptctl) -> None:
    done = ckptctl(*GIVEN, "--json")
    assert (done.code, done.stderr) == (0, "")
    found = done.json
    assert (found["schema"], found["version"]) == ("ckptctl/interval", 1)
    assert (found["young_s"], found["daly_s"], found["optimal_s"]) == pytest.approx(
        ANSWER, rel=1e-9
    )
    assert found["mtbf_from"] == "given"
    assert found["runs"] == []


def test_overhead_and_lost_work_at_the_optimum(ckptctl: Ckptctl) -> None:
    found = ckptctl(*GIVEN, "--restart-cost", "10m", "--json").json
    assert 100 * found["overhead"] == pytest.approx(17.2951, abs=5e-5)
    assert found["lost_s"] == pytest.approx(577.795, abs=1e-3)
    assert found["optimal_s"] == pytest.approx(ANSWER[2], rel=1e-9)  # a restart moves no optimum


def test_nodes_divide_the_mtbf_of_one(ckptctl: Ckptctl) -> None:
    found = ckptctl(
        "interval", "--save-cost", "60s", "--nodes", "100", "--node-mtbf", "1113508.3532s", "--json"
    ).json
    assert found["mtbf_s"] == pytest.approx(11135.083532)
    assert found["optimal_s"] == pytest.approx(ANSWER[2], rel=1e-9)
    assert found["mtbf_from"] == "nodes"


def test_what_blocks_is_the_cost_where_saves_are_asynchronous(ckptctl: Ckptctl) -> None:
    blocking = ckptctl(
        "interval", "--save-cost", "10m", "--blocking", "60s", "--mtbf", "11135.083532s", "--json"
    ).json
    assert blocking["optimal_s"] == pytest.approx(ANSWER[2], rel=1e-9)
    assert (blocking["save_cost_s"], blocking["save_duration_s"]) == (60, 600)


def test_no_save_begins_before_the_last_has_ended(ckptctl: Ckptctl) -> None:
    flags = ("interval", "--save-cost", "1h", "--blocking", "5s", "--mtbf", "3h")
    found = ckptctl(*flags, "--json").json
    assert found["optimal_s"] < 400
    assert found["every"] == {"seconds": 3595, "steps": None}
    assert "should not begin before it has ended" in " ".join(ckptctl(*flags).stdout.split())


def test_the_what_if_table_has_the_optimum_in_its_middle(ckptctl: Ckptctl) -> None:
    table = ckptctl(*GIVEN, "--json").json["what_if"]
    assert len(table) == 15
    middle = table[7]
    assert (middle["save_cost_s"], middle["mtbf_s"]) == (60, 11135.083532)
    assert middle["optimal_s"] == pytest.approx(ANSWER[2], rel=1e-9)
    dearer = [row["overhead"] for row in table if row["mtbf_s"] == 11135.083532]
    assert dearer == sorted(dearer)
    rarer = [row["overhead"] for row in table if row["save_cost_s"] == 60]
    assert rarer == sorted(rarer, reverse=True)


def test_for_people(ckptctl: Ckptctl) -> None:
    done = ckptctl(*GIVEN, "--restart-cost", "10m")
    lines = done.stdout.splitlines()
    assert lines[0] == "save after every 18m 36s of computing"
    assert "17.3% more time" in lines[1]
    assert "Young 19m 16s, Daly 18m 36s, exact 18m 36s" in done.stdout
    rows = [re.split("  +", line.strip()) for line in lines]
    assert ["1m", "12m 58s (29.5%)", "18m 36s (17.3%)", "26m 35s (10.7%)"] in rows
    assert "planned stops" in done.stdout
    assert done.stderr == ""


def test_the_text_fits_a_narrow_terminal(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", [999, 888, 777, 666])
    done = ckptctl("interval", run, "--save-cost", "9999s", env={"COLUMNS": "80"})
    title, *lines = done.stdout.splitlines()
    assert title == f"run  {run}"
    assert len(lines) > 15
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "flags",
    [
        ("--save-cost", "0", "--mtbf", "1h"),
        ("--save-cost", "0s", "--mtbf", "1h"),
        ("--save-cost", "-5s", "--mtbf", "1h"),
        ("--save-cost", "nan", "--mtbf", "1h"),
        ("--save-cost", "60", "--mtbf", "1h"),
        ("--save-cost", "60s", "--mtbf", "0"),
        ("--save-cost", "60s", "--mtbf", "-1h"),
        ("--save-cost", "60s", "--mtbf", "inf"),
        ("--save-cost", "60s", "--mtbf", "NaN"),
        ("--save-cost", "60s", "--mtbf", "1h", "--restart-cost", "-1s"),
        ("--save-cost", "60s", "--nodes", "0", "--node-mtbf", "1h"),
        ("--save-cost", "60s", "--nodes", "-3", "--node-mtbf", "1h"),
        ("--save-cost", "60s", "--nodes", "3", "--node-mtbf", "0"),
        ("--save-cost", "60s", "--nodes", "3"),
        ("--save-cost", "60s", "--node-mtbf", "3h"),
        ("--save-cost", "60s", "--mtbf", "1h", "--nodes", "3", "--node-mtbf", "1h"),
        ("--save-cost", "60s", "--blocking", "61s", "--mtbf", "1h"),
        ("--save-cost", "60s", "--blocking", "0", "--mtbf", "1h"),
        ("--save-cost", "60s", "--mtbf", "1h", "-o", "csv"),
    ],
)
def test_what_cannot_be_is_refused(ckptctl: Ckptctl, flags: tuple[str, ...]) -> None:
    done = (
        ckptctl("interval", *flags, "--json") if "-o" not in flags else ckptctl("interval", *flags)
    )
    assert done.code == 2
    if "-o" not in flags:
        assert (done.json["schema"], done.json["kind"]) == ("ckptctl/error", "usage")


@pytest.mark.parametrize("flags", [(), ("--save-cost", "60s"), ("--mtbf", "3h")])
def test_nothing_given_and_no_run_is_refused(
    ckptctl: Ckptctl, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = ckptctl("interval", tmp_path, *flags)
    assert (done.code, done.stdout) == (2, "")
    assert "no run to read from" in done.stderr


def test_a_location_that_is_missing_is_unreadable(ckptctl: Ckptctl, tmp_path: Path) -> None:
    assert ckptctl("interval", tmp_path / "no").code == 7


def test_all_is_read_from_a_run_that_shows_it(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _folders(tmp_path / "run", 6, 90)
    done = ckptctl("interval", run, "--json")
    assert done.code == 0, done.stderr
    seen = done.json["runs"][0]["observed"]
    assert seen["period_s"] == pytest.approx(3600, abs=1)
    assert seen["save_s"] == pytest.approx(90, abs=0.1)
    assert (seen["steps_per_save"], seen["restarts"]) == (1000, 0)
    assert done.json["save_cost_s"] == pytest.approx(90, abs=0.1)
    assert done.json["mtbf_from"] == "bound"
    assert done.json["mtbf_s"] == pytest.approx(5 * HOUR / 2.9957, rel=1e-3)
    assert done.json["mtbf_high_s"] is None
    assert done.json["present"]["interval_s"] == pytest.approx(3510, abs=1)
    assert done.json["present"]["overhead"] > done.json["overhead"]


def test_the_answer_is_in_steps_or_time_whichever_comes_first(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = _run(tmp_path / "run", [9, 8, 7, 6])
    flags = ("interval", run, "--save-cost", "60s", "--mtbf", "11135.083532s")
    # 1000 steps take an hour less the minute of the save: 1116.3 s are 315 steps.
    every = ckptctl(*flags, "--json").json["every"]
    assert every == {"seconds": pytest.approx(1116.296368), "steps": 310}
    done = ckptctl(*flags)
    assert "save every 310 steps or 18m 36s of computing, whichever comes first" in done.stdout
    assert "now: a save after every 59m of computing: " in done.stdout


def test_few_restarts_are_said_to_be_few(ckptctl: Ckptctl, tmp_path: Path) -> None:
    hours = [30, 29, 28, 27, 20, 19, 18, 10, 9, 8]
    run = _run(tmp_path / "run", hours)
    found = ckptctl("interval", run, "--save-cost", "60s", "--json").json
    assert found["runs"][0]["observed"]["restarts"] == 2
    assert found["mtbf_from"] == "restarts"
    assert found["mtbf_s"] == pytest.approx(9 * HOUR / 2, rel=1e-3)
    assert found["mtbf_low_s"] == pytest.approx(9 * HOUR / 7.2247, rel=1e-3)
    assert found["mtbf_high_s"] == pytest.approx(9 * HOUR / 0.2422, rel=1e-3)
    assert found["optimal_s"] == pytest.approx(math.sqrt(120 * found["mtbf_s"]), rel=0.05)
    said = " ".join(ckptctl("interval", run, "--save-cost", "60s").stdout.split())
    assert "2 restarts in 9h of work fit one failure in 1h 14m to 1d 13h as well (95%)" in said
    assert "if some were planned, failures are rarer: --mtbf D" in said


def test_no_restart_is_only_a_bound_and_said_to_be(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", [9, 8, 7, 6])
    said = " ".join(ckptctl("interval", run, "--save-cost", "60s").stdout.split())
    assert "no restart in 3h of work says only that failures are rarer than one in 1h (95%)" in said


def test_jobs_in_a_log_are_restarts(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", [9, 8, 7, 6])
    (run / "log.csv").write_text("step,loss,slurm_job_id\n1,2,70\n1500,2,71\n2500,1,72\n")
    found = ckptctl(
        "interval", run, "--save-cost", "60s", "--metrics-from", "log.csv", "--json"
    ).json
    assert found["runs"][0]["observed"]["restarts"] == 2
    assert found["mtbf_s"] == pytest.approx(1.5 * HOUR, rel=1e-3)


def test_a_step_that_goes_back_is_a_restart(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", [9, 8, 7, 6, 5], [1000, 2000, 3000, 2500, 3500])
    found = ckptctl("interval", run, "--save-cost", "60s", "--json").json
    assert found["runs"][0]["observed"]["restarts"] == 1


def test_what_the_run_does_not_show_has_to_be_given(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", [9, 8, 7])
    done = ckptctl("interval", run)
    assert done.code == 2
    assert "what a save costs cannot be seen" in done.stderr
    assert "3 saves, one each 1,000 steps, 1h" in done.stdout
    one = ckptctl("interval", _run(tmp_path / "one", [9]), "--save-cost", "60s", "--json")
    assert (one.code, one.json["schema"]) == (2, "ckptctl/error")
    assert "how often the job fails cannot be seen" in one.json["message"]
    assert one.json["runs"][0]["observed"]["saves"] == 1


def test_a_copy_without_its_times_is_said_to_be_one(ckptctl: Ckptctl, tmp_path: Path) -> None:
    done = ckptctl("interval", _run(tmp_path / "run", [1, 1, 1, 1]), "--save-cost", "60s")
    assert done.code == 2
    assert "its files have the times of a copy" in done.stderr


def test_flags_count_more_than_the_run(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = _folders(tmp_path / "run", 6, 90)
    found = ckptctl("interval", run, "--save-cost", "30s", "--mtbf", "3h", "--json").json
    assert (found["save_cost_s"], found["mtbf_s"], found["mtbf_from"]) == (30, 3 * HOUR, "given")


def test_each_of_several_runs_gets_an_answer(ckptctl: Ckptctl, tmp_path: Path) -> None:
    _run(tmp_path / "a", [9, 8, 7, 6])
    _run(tmp_path / "b", [5])
    done = ckptctl("interval", tmp_path, "--save-cost", "60s", "--json")
    assert done.code == 5
    first, second = done.json["runs"]
    assert (first["name"], first["error"]) == ("a", None)
    assert first["optimal_s"] > 0
    assert (second["name"], second["error"]["kind"]) == ("b", "usage")
    assert done.json["optimal_s"] is None
    text = ckptctl("interval", tmp_path, "--save-cost", "60s")
    assert text.code == 5
    assert "save every " in text.stdout


def test_it_changes_nothing(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    before = sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    assert ckptctl("interval", run, "--save-cost", "60s").code == 0
    assert sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
