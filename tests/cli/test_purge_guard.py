"""The purge guard: what a site's scratch purge is about to take is told, and copied first."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptctl.cli.expiring import expiring
from ckptctl.cli.options import Common
from ckptctl.cli.run_by_run import read_place
from ckptctl.cli.runtime import Session
from ckptctl.cli.status_risk import risking
from ckptctl.expiry import PurgeBy, SitePurge, Times
from ckptctl.formats._samples import torch_zip
from ckptctl.health import Health, Limits, with_risk
from ckptctl.model import NS, State
from ckptctl.stores.local import LocalStore
from ckptctl.units import parse_time
from tests.layouts import like
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.tiers import Life, life
from tests.trees import make_tree, set_age

DAY = 86400
BY_ATIME = ("--purge-after", "21d", "--purge-by", "atime")


def read_ago(path: Path, days: float) -> None:
    """Let a file have been read last so long ago."""
    os.utime(path, ns=(time.time_ns() - int(days * DAY * NS), path.stat().st_mtime_ns))


def ages(run: Path, days: Mapping[int, float]) -> None:
    """Let the files of each step have been read last so long ago."""
    for step, ago in days.items():
        for path in run.glob(f"step_{step}.*"):
            read_ago(path, ago)


def purged(root: Path, ckptctl: Ckptctl, purge: str, *, steps: int = 5) -> Life:
    """A run on a tier that is purged, and copied from."""
    urls = {"fast": f"{{url: {root}/fast, {purge}}}"}
    made = life(root, ckptctl, steps=steps, urls=urls)
    config = root / "ckptctl.yaml"
    config.write_text(config.read_text().replace("last: 1", "last: 9"))
    return made


def test_one_file_puts_a_checkpoint_at_risk(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = make_tree(tmp_path / "run", like("hf-trainer", "checkpoint-500", "checkpoint-1000"))
    files = [path for path in run.rglob("*") if path.is_file()]
    for path in files:
        set_age(path, 20 * 3600)
    cold = run / "checkpoint-500" / "trainer_state.json"
    read_ago(cold, 19.5)
    done = ckptctl("status", run, *BY_ATIME, "--json")
    assert done.code == 0
    (found,) = done.json["runs"]
    first_ns = cold.stat().st_atime_ns + 21 * DAY * NS
    size = sum(p.stat().st_size for p in files if p.parent.name == "checkpoint-500")
    assert parse_time(found["purge"].pop("first_at")) == first_ns
    assert found["purge"] == {
        "after_seconds": 21 * DAY, "by": "atime", "warn_seconds": 7 * DAY,
        "first": "checkpoint-500", "first_file": "checkpoint-500/trainer_state.json",
        "at_risk": {"checkpoints": 1, "bytes": size, "files": 1}, "due": 0,
        "without_copy": ["checkpoint-500"], "without_copy_due": 0,
    }  # fmt: skip
    (problem,) = found["problems"]
    assert problem["code"] == "purge-at-risk"
    assert "not read for 21d: checkpoint-500 is about to be torn" in problem["text"]
    text = ckptctl("status", run, *BY_ATIME, env={"COLUMNS": "200"}).stdout
    assert "1 without copy" in text
    assert "1d 11h" in text
    assert "checkpoint-500/trainer_state.json, goes from" in text


def test_a_sidecar_is_a_file_of_its_checkpoint(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", {1: 3.0, 2: 2.0})
    read_ago(run / "step_1.json", 20)
    (found,) = ckptctl("status", run, "--purge-after", "21d", "--json").json["runs"]
    assert found["purge"]["by"] == "any"
    assert found["purge"]["without_copy"] == ["step_1"]


@pytest.mark.parametrize(
    ("by", "read", "written", "made", "age"),
    [
        ("atime", 1, 20, 30, 1),
        ("mtime", 20, 1, 30, 1),
        ("birth", 20, 20, 2, 2),
        ("birth", 20, 3, None, 3),  # where nobody knows, when it was written
        ("any", 20, 1, 2, 20),
        ("any", 1, 20, 2, 20),
        ("any", 1, 2, 20, 20),
        ("any", 1, 2, None, 2),
    ],
)
def test_by_which_time_a_file_goes(
    by: str, read: int, written: int, made: int | None, age: int
) -> None:
    times = Times(-read, -written, None if made is None else -made)
    assert SitePurge(30, PurgeBy(by)).taken_ns(times) == 30 - age


def _has_birth_times(run: Path) -> bool:
    store = LocalStore(str(run))
    (times,) = dict(store.times(["step_1.pt"], birth=True)).values()
    store.close()
    return times is not None and times.birth_ns is not None


def test_by_the_time_it_was_made_nothing_else_counts(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    if not _has_birth_times(run):
        pytest.skip("this file system does not tell when files were made")
    for path in run.iterdir():
        os.utime(path, (time.time() + DAY, path.stat().st_mtime))
    time.sleep(0.2)
    flags = ("--purge-by", "birth", "--purge-warn", "0", "--critical", "9w", "--json")
    done = ckptctl("status", run, "--purge-after", "0.1s", *flags)
    assert done.code == 2
    assert done.json["runs"][0]["purge"]["due"] == 2
    assert ckptctl("status", run, "--purge-after", "1h", *flags).code == 0


@pytest.mark.parametrize(
    ("days", "code", "word"), [(13, 0, "OK"), (15, 1, "WARNING"), (22, 2, "CRITICAL")]
)
def test_a_monitor_is_told(
    ckptctl: Ckptctl, tmp_path: Path, days: float, code: int, word: str
) -> None:
    run = save(tmp_path / "llm", {1: None, 2: None, 3: None})
    ages(run, {1: days, 2: days})
    done = ckptctl("status", run, *BY_ATIME, "--critical", "9w")
    assert done.code == code
    first = done.stdout.splitlines()[0]
    said = "2 checkpoints without a proven copy about to be purged"
    assert first.startswith(f"{word}: run llm: newest complete checkpoint is 10h old")
    assert (said in first) is (code > 0)
    assert ("2 of them due" in first) is (code == 2)
    assert f"purge_at_risk={2 if code else 0} purge_without_copy={2 if code else 0}" in first


def test_prometheus_is_told(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "llm", {1: None, 2: None, 3: None})
    ages(run, {1: 22, 2: 20, 3: 1})
    file = tmp_path / "ckptctl.prom"
    assert ckptctl("status", run, *BY_ATIME, "--prometheus", file).code == 0
    labels = f'{{run="llm",location="{run}"}}'
    lines = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if line[0] != "#")
    assert lines[f"ckptctl_site_purge_at_risk{labels}"] == "2"
    assert lines[f"ckptctl_site_purge_without_copy{labels}"] == "2"
    assert lines[f"ckptctl_site_purge_due{labels}"] == "1"
    first = float(lines[f"ckptctl_site_purge_first_timestamp_seconds{labels}"])
    assert first == pytest.approx((run / "step_1.pt").stat().st_atime + 21 * DAY, abs=0.01)
    assert ckptctl("status", run, "--prometheus", file).code == 0
    assert not any("site_purge" in line for line in file.read_text().splitlines() if line[0] != "#")


def test_what_a_purge_has_torn_is_not_complete(ckptctl: Ckptctl, tmp_path: Path) -> None:
    tree: dict[str, bytes | str] = {
        f"step_{n}/{name}": b"x" * 9 for n in (1, 2) for name in ("a.bin", "notes.txt")
    }
    tree |= {f"step_{n}/model.pt": torch_zip() for n in (1, 2)}
    run = make_tree(tmp_path / "run", tree, age=DAY)
    assert ckptctl("verify", run, "--record").code == 0
    (run / "step_2" / "a.bin").unlink()
    (found,) = ckptctl("status", run, *BY_ATIME, "--json").json["runs"]
    assert (found["newest"], found["checkpoints"]["incomplete"]) == ("step_1", 1)
    (problem,) = found["problems"]
    assert problem["code"] == "torn"
    assert "step_2/a.bin: was recorded, and is not there" in problem["text"]
    done = ckptctl("sync", run, tmp_path / "copy")
    assert done.code == 5
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["step_1"]


def test_what_is_recorded_is_purged_like_anything_else(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "run", {1: None})
    assert ckptctl("annotate", "step_1", "--in", run, "--pin").code == 0
    (record,) = (tmp_path / ".ckptctl" / "run" / "records").iterdir()
    set_age(record, 20 * DAY)
    flags = ("--purge-after", "21d", "--purge-by", "mtime")
    (found,) = ckptctl("status", run, *flags, "--json").json["runs"]
    assert [problem["code"] for problem in found["problems"]] == ["records-at-risk"]


def test_apply_copies_first_what_is_about_to_go(ckptctl: Ckptctl, tmp_path: Path) -> None:
    llm = purged(tmp_path, ckptctl, "purge_after: 21d, purge_by: atime")
    ages(llm.run, {1: 1, 2: 18, 3: 20, 4: 1, 5: 1})
    assert llm("sync", llm.run, llm.at("slow"), "--name", "step_3").code == 0
    risk = llm("status", llm.run, "--json").json["runs"][0]
    assert risk["purge"]["at_risk"]["checkpoints"] == 2
    assert risk["purge"]["first"] == "step_3"
    assert risk["purge"]["without_copy"] == ["step_2"]  # the other one has its copy
    dry = llm("apply", "-n", "--json")
    order = [result["checkpoint"] for result in dry.json["results"]]
    assert order == ["step_2", "step_3", "step_5", "step_4", "step_1"]
    before = {path.name: path.stat().st_atime_ns for path in llm.run.iterdir()}
    log = tmp_path / "log"
    done = llm("apply", "--json", "--log-file", log)
    assert done.code == 0
    assert not [p for run in done.json["runs"] for p in run["problems"]]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    copied = [line["checkpoint"] for line in lines if line["action"] == "copy"]
    assert copied == ["step_2", "step_3", "step_5", "step_4", "step_1"]
    assert steps_left(llm.at("slow")) == [1, 2, 3, 4, 5]
    assert {path.name: path.stat().st_atime_ns for path in llm.run.iterdir()} == before
    (found, _) = llm("status", "--json").json["runs"]
    assert found["purge"]["at_risk"]["checkpoints"] == 2
    assert (found["purge"]["without_copy"], found["problems"]) == ([], [])


def test_apply_tells_what_it_copies_nowhere(ckptctl: Ckptctl, tmp_path: Path) -> None:
    llm = purged(tmp_path, ckptctl, "purge_after: 21d, purge_by: atime", steps=3)
    config = tmp_path / "ckptctl.yaml"
    config.write_text(config.read_text().replace("copy_to: slow", ""))
    ages(llm.run, {1: 20, 2: 20, 3: 1})
    assert llm("hold", "step_2", llm.run).code == 0
    done = llm("apply")
    assert done.code == 0
    words = " ".join(done.stdout.split())
    assert "step_1, step_2 are about to be torn" in words
    assert "a pin or a hold does not keep the purge away" in words


def test_a_copy_that_is_about_to_be_purged_lets_nothing_go(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    purge = f"{{url: {tmp_path}/slow, purge_after: 21d, purge_by: atime}}"
    llm = life(tmp_path, ckptctl, steps=3, urls={"slow": purge})
    assert llm("sync", llm.run, llm.at("slow")).code == 0
    ages(llm.at("slow"), {1: 18, 2: 1, 3: 22})
    done = llm.prune("--json")
    assert done.code == 0
    assert llm.left == [1, 3]
    text = llm.why(done)[1]
    assert (
        "slow is about to lose it: its site purges files not read for 21d, step_1.pt from" in text
    )
    (found, there) = llm("status", "--json").json["runs"]
    assert (found["copies"]["proven"], found["purge"]) == (0, None)
    assert there["purge"]["without_copy"] == ["step_3", "step_1"]


def test_times_that_cannot_be_read_are_unknown_to_a_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save(tmp_path / "llm", {1: None})

    def broken(*_: object, **__: object) -> object:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(LocalStore, "times", broken)
    session = Session(common=Common(no_config=True, no_progress=True))
    place = read_place(session, str(run))
    (read,) = place.runs
    assert place.view is not None
    assert read.found is not None
    assert read.run is not None
    seen, risk = risking(session, place.view, read.found, read.run, SitePurge(DAY * NS))
    assert risk is None
    assert [problem.code for problem in seen.problems] == ["purge-unknown"]
    assert with_risk(Health(name="a", location="b"), risk, Limits(warn_ns=1)).level == "unknown"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_mount_without_access_times_is_told(ckptctl: Ckptctl, tmp_path: Path) -> None:
    place = tmp_path / "scratch"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "noatime,size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this container mounts nothing")
    try:
        run = save(place / "llm", {1: None})
        for by, codes in (("atime", ["noatime"]), ("mtime", [])):
            done = ckptctl("status", run, "--purge-after", "21d", "--purge-by", by, "--json")
            assert [problem["code"] for problem in done.json["runs"][0]["problems"]] == codes
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_bucket_is_not_purged(ckptctl: Ckptctl, tmp_path: Path) -> None:
    done = ckptctl("status", "s3://bucket/ckpt", *BY_ATIME)
    assert done.code == 2
    assert "--purge-after: is for file systems" in done.stderr
    wrong = ckptctl("status", tmp_path, "--critical", "1d", "--purge-after", "soon")
    assert wrong.code == 2  # which is no state of any run


def test_what_was_copied_in_time_outlives_the_purge(ckptctl: Ckptctl, tmp_path: Path) -> None:
    config = tmp_path / "ckptctl.yaml"
    config.write_text(
        "version: 1\n"
        f"tiers: {{scratch: {{url: {tmp_path}/scratch, purge_after: 21d, purge_by: atime}}, cold: {{url: {tmp_path}/cold}}}}\n"
        "runs: [{match: '**', policy: p}]\n"
        "policies: {p: {keep: [{last: 9}], tiers: {scratch: {copy_to: cold}}}}\n"
    )
    names = [f"checkpoint-{step}" for step in (500, 1000, 1500)]
    run = make_tree(tmp_path / "scratch" / "llm", like("hf-trainer", *names), age=20 * 3600)
    (tmp_path / "cold").mkdir()
    for name in names[1:]:
        read_ago(run / name / "model.safetensors", 20.5)
    assert ckptctl("apply", "-c", config).code == 0
    for path in [path for path in run.rglob("*") if path.is_file()]:  # half a day later
        if time.time() - path.stat().st_atime > 20.4 * DAY:
            path.unlink()
    (torn, whole) = ckptctl("status", "-c", config, "--json").json["runs"]
    assert (torn["newest"], torn["checkpoints"]["complete"]) == ("checkpoint-500", 1)
    assert (whole["newest"], whole["checkpoints"]["complete"]) == ("checkpoint-1500", 3)
    assert torn["purge"]["without_copy"] == []
    assert ckptctl("apply", "-c", config).code == 0
    assert ckptctl("verify", tmp_path / "cold", "--level", "digest").code == 0
    resumed = ckptctl("resolve", "latest", "@scratch/llm", "-c", config)
    assert resumed.stdout == f"{tmp_path}/cold/llm/checkpoint-1500\n"


def test_of_several_runs_what_is_about_to_go_goes_before_the_rest_of_any(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    llm = purged(tmp_path, ckptctl, "purge_after: 21d, purge_by: atime", steps=3)
    other = save(llm.run.with_name("other"), dict.fromkeys(range(1, 4)))
    ages(llm.run, {1: 20})
    ages(other, {2: 20})
    log = tmp_path / "log"
    done = llm("apply", "--json", "--log-file", log)
    assert done.code == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["run"], line["checkpoint"]) for line in lines if line["status"] == "done"] == [
        ("llm", "step_1"), ("other", "step_2"),
        ("llm", "step_3"), ("llm", "step_2"), ("other", "step_3"), ("other", "step_1"),
    ]  # fmt: skip
    told = [(r["run"], r["checkpoint"], r["status"]) for r in done.json["results"]]
    assert told == [
        ("llm", f"step_{n}", "done") for n in (1, 3, 2)
    ] + [("other", f"step_{n}", "done") for n in (2, 3, 1)]  # fmt: skip
    assert not [problem for run in done.json["runs"] for problem in run["problems"]]
    assert not llm("apply", "--json").json["runs"][0]["outcomes"]


def test_of_all_runs_what_goes_first_is_copied_first(ckptctl: Ckptctl, tmp_path: Path) -> None:
    llm = purged(tmp_path, ckptctl, "purge_after: 21d, purge_by: atime", steps=3)
    other = save(llm.run.with_name("other"), dict.fromkeys(range(1, 4)))
    ages(llm.run, {1: 15, 3: 18})
    ages(other, {1: 17, 2: 20})
    log = tmp_path / "log"
    done = llm("apply", "--json", "--log-file", log)
    assert done.code == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["run"], line["checkpoint"]) for line in lines if line["status"] == "done"] == [
        ("other", "step_2"), ("llm", "step_3"), ("other", "step_1"), ("llm", "step_1"),
        ("llm", "step_2"), ("other", "step_3"),
    ]  # fmt: skip
    told = sorted((r["run"], r["checkpoint"], r["status"]) for r in done.json["results"])
    assert told == [(run, f"step_{n}", "done") for run in ("llm", "other") for n in (1, 2, 3)]


def test_a_file_that_is_dated_ahead_hides_no_other(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = make_tree(tmp_path / "run", like("hf-trainer", "checkpoint-500"), age=20 * DAY)
    ahead = run / "checkpoint-500" / "optimizer.pt"
    os.utime(ahead, (time.time() + 5 * DAY, time.time() + 5 * DAY))
    for by in ("mtime", "atime"):
        done = ckptctl("status", run, "--purge-after", "21d", "--purge-by", by, "--json")
        (found,) = done.json["runs"]
        assert found["checkpoints"]["saving"] == 1  # its file is newer than its marker
        assert found["purge"]["without_copy"] == ["checkpoint-500"]
        assert found["purge"]["first_file"] != "checkpoint-500/optimizer.pt"


def test_a_file_that_goes_while_it_is_saved_was_not_purged(tmp_path: Path) -> None:
    run = make_tree(tmp_path / "run", {"checkpoint-5/model.tmp": b"1", "checkpoint-5/model.safetensors": b"1"})  # fmt: skip
    session = Session(common=Common(no_config=True, no_progress=True))
    place = read_place(session, str(run))
    (read,) = place.runs
    assert read.found is not None
    assert read.run is not None
    assert [c.state for c in read.run.checkpoints] == [State.SAVING]
    (run / "checkpoint-5/model.tmp").unlink()
    seen = expiring(read.run, read.found.folder, SitePurge(DAY * NS, PurgeBy.ATIME), time.time_ns())
    assert [expiry.at_risk for expiry in seen.expiries.values()] == [False]


@pytest.mark.parametrize("by", ["mtime", "any"])  # each listing reads it, which no flag can hide
def test_a_link_of_a_checkpoint_goes_by_its_own_times(
    by: str, ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = make_tree(tmp_path / "run", like("hf-trainer", "checkpoint-500"), age=DAY)
    link = run / "checkpoint-500" / "tokenizer.json"
    link.symlink_to("config.json")
    then = time.time() - 20 * DAY
    os.utime(link, (then, then), follow_symlinks=False)
    done = ckptctl("status", run, "--purge-after", "21d", "--purge-by", by, "--json")
    (found,) = done.json["runs"]
    assert found["purge"]["first_file"] == "checkpoint-500/tokenizer.json"
    assert found["purge"]["at_risk"]["files"] == 1
