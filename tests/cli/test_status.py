"""`ckptctl status` as a monitor and a person call it."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.saved import save
from tests.trees import make_tree, set_age

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop root")


def _losses(count: int) -> dict[int, float | None]:
    return dict.fromkeys(range(1, count + 1))


def _metrics(text: str) -> dict[str, float]:
    """The samples of a text in Prometheus's format; every line is one that its parsers take."""
    found = {}
    declared: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            assert kind in {"HELP", "TYPE"}
            assert rest == "gauge" if kind == "TYPE" else rest.endswith(".")
            declared.add(name)
            continue
        sample = re.fullmatch(
            r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? ([0-9.]+)', line
        )
        assert sample, line
        assert sample[1] in declared
        found[sample[1] + (sample[2] or "")] = float(sample[3])
    assert text.endswith("\n")
    return found


def test_for_people(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "llm-7b", _losses(3), newest_hours_ago=7.2)
    done = ckptctl("status", run)
    assert (done.code, done.stderr) == (0, "")
    head, row = done.stdout.splitlines()
    assert head.split() == ["run", "newest", "age", "complete", "size", "free"]
    assert row.split()[:5] == ["llm-7b", "step_3", "7h", "12m", "3"]


def test_the_table_fits_the_terminal(ckptctl: Ckptctl, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(tmp_path / f"a-project-with-a-long-name/{name}-of-the-runs-in-it", _losses(2))
    done = ckptctl("status", tmp_path, env={"COLUMNS": "70"})
    *table, note = done.stdout.splitlines()
    assert max(map(len, table)) <= 70
    assert len({row.split()[0] for row in table}) == 3
    assert note.startswith("names are shortened here")


def test_in_json(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(3), newest_hours_ago=7)
    torn = run / "step_4.pt"
    torn.write_bytes((run / "step_3.pt").read_bytes()[:-30])
    done = ckptctl("status", run, "--json")
    assert done.code == 0
    assert (done.json["schema"], done.json["version"]) == ("ckptctl/status", 1)
    (found,) = done.json["runs"]
    assert (found["name"], found["location"], found["error"]) == ("run", str(run), None)
    assert (found["newest"], found["step"], found["level"]) == ("step_3", 3, None)
    assert found["age_seconds"] == pytest.approx(7 * 3600, abs=600)
    assert found["checkpoints"] == {"complete": 3, "saving": 1, "incomplete": 0, "damaged": 0}
    assert found["bytes"] == sum(path.stat().st_size for path in run.iterdir())
    assert found["trash"] == {"entries": 0, "bytes": 0, "gone_bytes": 0}
    disk = os.statvfs(run)
    assert found["disk"]["size"] == disk.f_blocks * disk.f_frsize
    assert 0 < found["disk"]["free"] <= found["disk"]["size"]


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        (("--warn", "8h"), 0, "OK"),
        (("--warn", "7h"), 1, "WARNING"),
        (("--critical", "8h"), 0, "OK"),
        (("--critical", "7h"), 2, "CRITICAL"),
        (("--warn", "6h", "--critical", "7h"), 2, "CRITICAL"),
        (("--warn", "6h", "--critical", "8h"), 1, "WARNING"),
        (("--warn", "0", "--critical", "8h"), 1, "WARNING"),
    ],
)
def test_the_exit_code_and_first_line_are_nagioss(
    ckptctl: Ckptctl, tmp_path: Path, flags: tuple[str, ...], code: int, word: str
) -> None:
    run = save(tmp_path / "llm-7b", _losses(2), newest_hours_ago=7.2)
    done = ckptctl("status", run, *flags)
    assert done.code == code
    said, _, numbers = done.stdout.splitlines()[0].partition(" | ")
    assert said == f"{word}: run llm-7b: newest complete checkpoint is 7h 12m old"
    age = numbers.split()[0]
    assert re.fullmatch(r"age_seconds=2[56]\d\d\d(;\d*)?(;\d+)?", age)
    as_json = ckptctl("status", run, *flags, "--json")
    assert as_json.code == code
    assert as_json.json["level"] == as_json.json["runs"][0]["level"] == word.lower()


def test_performance_data_has_the_limits(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(2), newest_hours_ago=7)
    line = ckptctl("status", run, "--warn", "6h", "--critical", "8h").stdout.splitlines()[0]
    numbers = dict(each.split("=") for each in line.partition(" | ")[2].split())
    assert numbers["age_seconds"].split(";")[1:] == ["21600", "28800"]
    assert numbers["bytes"] == f"{sum(path.stat().st_size for path in run.iterdir())}B"
    assert set(numbers) == {"age_seconds", "bytes", "free_bytes"}


@pytest.mark.parametrize("flag", ["--warn", "--critical"])
def test_a_run_without_a_complete_checkpoint_is_critical(
    ckptctl: Ckptctl, tmp_path: Path, flag: str
) -> None:
    run = save(tmp_path / "run", _losses(1))
    path = run / "step_1.pt"
    path.write_bytes(path.read_bytes()[:-30])
    done = ckptctl("status", run, flag, "100w")
    assert done.code == 2
    first = done.stdout.splitlines()[0]
    assert first.startswith("CRITICAL: run run: no complete checkpoint | age_seconds=U;")
    assert ckptctl("status", run).code == 0


def test_a_location_without_checkpoints_is_critical_where_a_limit_is_given(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    assert ckptctl("status", tmp_path).code == 0
    done = ckptctl("status", tmp_path, "--warn", "1h")
    assert done.code == 2
    assert done.stdout.splitlines()[0] == f"CRITICAL: no checkpoints in {tmp_path}"


def test_an_error_is_unknown_to_a_monitor(ckptctl: Ckptctl, tmp_path: Path) -> None:
    missing = tmp_path / "no"
    assert ckptctl("status", missing).code == 7
    done = ckptctl("status", missing, "--critical", "1h")
    assert done.code == 3
    assert done.stdout.startswith(f"UNKNOWN: {missing}: does not exist")
    as_json = ckptctl("status", missing, "--critical", "1h", "--json")
    assert as_json.code == 3
    assert as_json.json["kind"] == "unreadable"


def test_the_worst_of_several_runs_counts_and_is_named(ckptctl: Ckptctl, tmp_path: Path) -> None:
    save(tmp_path / "young", _losses(2), newest_hours_ago=1)
    save(tmp_path / "old", _losses(2), newest_hours_ago=5)
    save(tmp_path / "older", _losses(2), newest_hours_ago=9)
    done = ckptctl("status", tmp_path, "--warn", "4h", "--critical", "8h")
    assert done.code == 2
    first, *table = done.stdout.splitlines()
    assert first.startswith(
        "CRITICAL: 1 of 3 runs: run older: newest complete checkpoint is 9h old | "
    )
    assert "'young age_seconds'=36" in first
    assert [row.split()[:2] for row in table[1:]] == [
        ["old", "warning"], ["older", "critical"], ["young", "ok"],
    ]  # fmt: skip
    assert ckptctl("status", tmp_path / "young", tmp_path / "old", "--warn", "4h").code == 1


def test_of_several_locations_one_that_is_missing_stops_nothing(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", _losses(2))
    missing = tmp_path / "no"
    done = ckptctl("status", missing, run, "--json")
    assert done.code == 5
    assert [each["error"] and each["error"]["kind"] for each in done.json["runs"]] == [
        "unreadable", None,
    ]  # fmt: skip
    assert ckptctl("status", missing, run, "--warn", "20h").code == 3
    assert ckptctl("status", missing, run, "--critical", "1h").code == 2  # that is known


def test_a_checkpoint_from_the_future_does_not_look_young_for_years(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", _losses(2), newest_hours_ago=7)
    (run / "step_2.json").write_text('{"step": 2, "saved_at": "2199-01-01T00:00:00Z"}')
    assert ckptctl("status", run, "--critical", "6h").code == 2


@pytest.mark.parametrize("others", [1, 0])
def test_files_from_the_future_hide_no_training_that_saves_nothing(
    others: int, ckptctl: Ckptctl, tmp_path: Path
) -> None:
    """The clock of a node was wrong once; nothing but the files' own time says when it saved."""
    run = save(tmp_path / "run", _losses(others), newest_hours_ago=7)
    ahead = make_tree(run, {"step_9.pt": torch_zip()}) / "step_9.pt"
    os.utime(ahead, (time.time() + 30 * 86400,) * 2)
    done = ckptctl("status", run, "--critical", "6h")
    assert done.code == 2
    assert "step_9: its files are of a time that is ahead of the clock" in " ".join(
        (done.stdout + done.stderr).split()
    )
    os.utime(ahead, (time.time() + 60,) * 2)  # as clocks differ
    assert ckptctl("status", run, "--critical", "6h").code == 0


def test_a_name_cannot_pass_for_performance_data_or_a_second_line(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    save(tmp_path / "a|b=1\nOK: fine", _losses(1), newest_hours_ago=9)
    done = ckptctl("status", tmp_path, "--critical", "1h")
    first = done.stdout.splitlines()[0]
    assert first.startswith("CRITICAL: run a\\x7cb=1 OK: fine: newest")
    assert first.count("|") == 1
    assert not any(line.startswith("OK") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "flags",
    [
        ("--warn", "soon"),
        ("--critical", "-1h"),
        ("--warn", "2h", "--critical", "1h"),
        ("--purge-after", "soon"),
        ("--purge-after", "0"),
        ("--purge-after", "1d", "--purge-by", "ctime"),
        ("--purge-after", "1d", "--purge-warn", "2d"),
        ("--purge-by", "atime"),
        ("-o", "csv"),
    ],
)
def test_a_wrong_command_line_is_refused(
    ckptctl: Ckptctl, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    assert ckptctl("status", tmp_path, *flags).code == 2


def test_a_run_a_line(ckptctl: Ckptctl, tmp_path: Path) -> None:
    save(tmp_path / "a", _losses(1))
    save(tmp_path / "b", _losses(1))
    lines = ckptctl("status", tmp_path, "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a", "b"]


def test_trash_is_what_can_come_back_and_the_rest_stands_apart(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", _losses(2))
    trash: dict[str, bytes | str] = {
        ".ckptctl/run/trash/20260101-1/info.json": "{}",
        ".ckptctl/run/trash/20260101-1/0": b"x" * 700,
        ".ckptctl/run/trash/20260101-2/0/model.pt": b"x" * 300,
        ".ckptctl/run/trash/gone-3/0": b"x" * 50,
    }
    make_tree(tmp_path, trash)
    (found,) = ckptctl("status", run, "--json").json["runs"]
    assert found["trash"] == {"entries": 2, "bytes": 1000, "gone_bytes": 50}
    text = ckptctl("status", run).stdout
    assert "1.00 kB" in text
    assert "50 B are deleted, and their bytes still to be removed" in text


def test_state_elsewhere_is_found_by_its_flag(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(2))
    make_tree(tmp_path / "state", {"run/trash/1/0": b"x" * 9})
    (found,) = ckptctl("status", run, "--state-dir", tmp_path / "state", "--json").json["runs"]
    assert found["trash"]["bytes"] == 9


def test_leftovers_of_unfinished_saves_are_counted(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(1))
    make_tree(run, {"checkpoint-5/config.json": "{}", "checkpoint-5/trainer_state.json": "{}"})
    make_tree(run, {"tmp-checkpoint-6/model.safetensors": b"x" * 40})
    set_age(run / "tmp-checkpoint-6", 9999)
    (found,) = ckptctl("status", run, "--json").json["runs"]
    assert found["leftovers"] == {"entries": 1, "bytes": 40}


def test_metrics_for_prometheus(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "runs" / "run", _losses(3), newest_hours_ago=7)
    file = tmp_path / "out" / "ckptctl.prom"
    file.parent.mkdir()
    done = ckptctl("status", run, "--prometheus", file)
    assert (done.code, done.stderr) == (0, "")
    found = _metrics(file.read_text())
    who = f'run="run",location="{run}"'
    assert found[f"ckptctl_newest_complete_age_seconds{{{who}}}"] == pytest.approx(25200, abs=600)
    saved = found[f"ckptctl_newest_complete_timestamp_seconds{{{who}}}"]
    assert saved == pytest.approx((run / "step_3.pt").stat().st_mtime, abs=0.01)
    assert found[f'ckptctl_checkpoints{{{who},state="complete"}}'] == 3
    assert found[f"ckptctl_bytes{{{who}}}"] == sum(p.stat().st_size for p in run.iterdir())
    assert found[f"ckptctl_run_error{{{who}}}"] == 0
    assert found["ckptctl_status_timestamp_seconds"] == pytest.approx(time.time(), abs=600)
    assert [path.name for path in file.parent.iterdir()] == ["ckptctl.prom"]


def test_labels_are_escaped(ckptctl: Ckptctl, tmp_path: Path) -> None:
    name = 'a"b\\c\nd\udcff'
    save(tmp_path / "runs" / name, _losses(1))
    file = tmp_path / "m.prom"
    assert ckptctl("status", tmp_path / "runs", "--prometheus", file).code == 0
    found = _metrics(file.read_bytes().decode())  # UTF-8, whatever a name holds
    assert any('run="a\\"b\\\\c\\nd\\\\udcff"' in key for key in found)


def test_a_run_without_complete_checkpoints_has_no_age(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(1))
    (run / "step_1.pt").write_bytes(b"PK\x03\x04 torn")
    file = tmp_path / "m.prom"
    assert ckptctl("status", run, "--prometheus", file).code == 0
    keys = "".join(_metrics(file.read_text()))
    assert "newest_complete" not in keys
    assert 'state="complete"' in keys


def test_a_location_that_cannot_be_read_is_an_error_in_the_metrics(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", _losses(1))
    file = tmp_path / "m.prom"
    missing = tmp_path / "no"
    assert ckptctl("status", missing, run, "--prometheus", file).code == 5
    found = _metrics(file.read_text())
    assert found[f'ckptctl_run_error{{run="{missing}",location="{missing}"}}'] == 1


def test_the_metrics_are_replaced_by_one_rename(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(1))
    file = tmp_path / "out" / "m.prom"
    make_tree(file.parent, {"m.prom": "old"})
    with file.open() as reader:
        assert ckptctl("status", run, "--prometheus", file).code == 0
        assert reader.read() == "old"  # who has it open reads the old one to its end
    assert file.read_text().startswith("# HELP")
    assert [path.name for path in file.parent.iterdir()] == ["m.prom"]


def test_a_link_is_replaced_and_what_it_names_left_alone(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(1))
    make_tree(tmp_path, {"precious": "mine", "m.prom": "-> precious"})
    assert ckptctl("status", run, "--prometheus", tmp_path / "m.prom").code == 0
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "m.prom").is_symlink()


def test_metrics_that_cannot_be_written_are_refused_before_anything(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", _losses(1))
    done = ckptctl("status", run, "--prometheus", tmp_path / "no" / "m.prom")
    assert (done.code, done.stdout) == (2, "")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for special in (fifo, tmp_path, Path("/dev/null")):
        assert ckptctl("status", run, "--prometheus", special).code == 2
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert not Path("/dev/null").is_file()
    assert ckptctl("status", run, "--warn", "1h", "--prometheus", fifo).code == 3


@ROOT
def test_root_writes_the_metrics_and_another_user_reads_the_runs(
    ckptctl: Ckptctl, reachable: Path
) -> None:
    run = save(reachable / "run", _losses(1))
    (run / "step_1.pt").chmod(0o644)
    run.chmod(0o755)
    out = reachable / "roots"
    make_tree(out, {"m.prom": "old"})
    out.chmod(0o755)
    hidden = reachable / "hidden"
    save(hidden, _losses(1))
    hidden.chmod(0o700)
    done = ckptctl(
        "65534", "status", run, hidden, "--as-user", "65534", "--prometheus", out / "m.prom",
        module=("tests.faults.preloaded",),
    )  # fmt: skip
    assert done.code == 5, (done.stdout, done.stderr)
    found = _metrics((out / "m.prom").read_text())
    assert found[f'ckptctl_run_error{{run="run",location="{run}"}}'] == 0
    assert found[f'ckptctl_run_error{{run="{hidden}",location="{hidden}"}}'] == 1  # root would read
    assert (out / "m.prom").stat().st_uid == 0
    assert (out / "m.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in out.iterdir()] == ["m.prom"]


@ROOT
def test_state_that_may_not_be_read_hides_the_trash_and_not_the_age(
    ckptctl: Ckptctl, reachable: Path
) -> None:
    run = save(reachable / "run", _losses(1), newest_hours_ago=9)
    run.chmod(0o755)
    (run / "step_1.pt").chmod(0o644)
    state = make_tree(reachable / ".ckptctl", {"run/trash/1/0": b"x"}) / "run"
    state.parent.chmod(0o755)
    state.chmod(0o700)
    done = ckptctl(
        "65534", "status", run, "--as-user", "65534", "--critical", "8h",
        module=("tests.faults.preloaded",),
    )  # fmt: skip
    assert done.code == 2, (done.stdout, done.stderr)
    assert done.stdout.startswith("CRITICAL: run run: newest complete checkpoint is 9h old | ")
    assert "(trash-unseen)" in done.stdout


@ROOT
def test_where_the_user_may_not_be_dropped_to_the_metrics_stay(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", _losses(1))
    make_tree(tmp_path / "out", {"m.prom": "old"})
    file = tmp_path / "out" / "m.prom"
    assert ckptctl("status", run, "--as-user", "root", "--prometheus", file).code == 2
    assert file.read_text() == "old"
    assert [path.name for path in file.parent.iterdir()] == ["m.prom"]


def test_it_changes_nothing(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", _losses(3))
    before = sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    assert ckptctl("status", run, "--warn", "1h").code == 1
    assert sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_of_several_saved_at_one_time_the_last_in_order_is_the_newest(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys((5, 40, 10)), hours_apart=0)
    for file in run.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    assert ckptctl("status", run, "--json").json["runs"][0]["newest"] == "step_40"
