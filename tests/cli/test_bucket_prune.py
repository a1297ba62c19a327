"""prune, undo and purge in buckets: the same survivors as on a disk, and nothing half done."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.begun import Removal, begin
from ckptctl.formats._samples import safetensors, torch_zip
from tests.cli.test_buckets import call, options
from tests.cli.test_processes import ENV
from tests.program import Ckptctl, Done
from tests.servers import fake_gcs, faulty, seaweed
from tests.stores.places import OBJECTS, Place, place

BOTH = pytest.mark.parametrize("bucket", ["s3-obstore", "gcs"], indirect=True)


def fill(where: Place, steps: int, below: str = "run") -> None:
    """A run of HF checkpoints' shape, the oldest first."""
    for step in range(1, steps + 1):
        for name in ("a.safetensors", "b.safetensors"):
            where.put(f"{below}/step_{step}/{name}", safetensors(name))


def keys(where: Place, below: str = "run") -> list[str]:
    return sorted(path for path, _ in where.open().listing(below).walk())


def steps(where: Place, below: str = "run") -> list[str]:
    return sorted({key.split("/")[0] for key in keys(where, below)})


def prune(ckptctl: Ckptctl, where: Place, *more: str) -> Done:
    return call(ckptctl, "prune", where, *more, below="run")


def outcomes(done: Done) -> list[tuple[str, str, str]]:
    said = done.json
    every = said.get("results") or [o for run in said.get("runs", ()) for o in run["outcomes"]]
    return [(o.get("checkpoint") or o["name"], o["action"], o["status"]) for o in every]


def state(where: Place) -> dict[str, list[str]]:
    """What is left in the state of the run, by directory."""
    try:
        below = where.open().listing(".ckptctl/run")
    except FileNotFoundError:
        return {}
    found = {name: sorted(folder.files) for name, folder in below.folders.items()}
    return {**found, "": sorted(below.files)}


@pytest.mark.parametrize("bucket", OBJECTS[1:], indirect=True)
def test_what_no_rule_keeps_is_deleted_whole(bucket: Place, ckptctl: Ckptctl) -> None:
    fill(bucket, 4)
    bucket.put("run/step_1.json", b'{"step": 1}')
    bucket.put("run/notes.txt", b"mine")
    bucket.put("run/step_10x/keep.bin", b"mine too")
    done = prune(ckptctl, bucket, "--keep-last", "2", "--json")
    assert done.code == 0, done.stderr
    assert outcomes(done) == [("step_1", "delete", "done"), ("step_2", "delete", "done")]
    one = sum(len(safetensors(name)) for name in ("a.safetensors", "b.safetensors"))
    assert done.json["freed_bytes"] == 2 * one + len(b'{"step": 1}')
    assert keys(bucket) == [
        "notes.txt", "step_10x/keep.bin",
        *(f"step_{n}/{name}.safetensors" for n in (3, 4) for name in "ab"),
    ]  # fmt: skip
    assert not any(state(bucket).values())  # neither lock nor journal is left
    again = prune(ckptctl, bucket, "--keep-last", "2", "--json")
    assert (again.code, outcomes(again)) == (0, [])


@BOTH
def test_a_twin_prefix_is_not_touched(bucket: Place, ckptctl: Ckptctl) -> None:
    for step in (5, 50, 500, 5000):
        bucket.put(f"run/step_{step}/a.safetensors", safetensors("a"))
    bucket.put("run/step_5.txt", b"notes")
    bucket.put("run2/step_5/a.safetensors", safetensors("a"))
    done = prune(ckptctl, bucket, "--keep-last", "3")
    assert done.code == 0, done.stderr
    assert keys(bucket) == ["step_5.txt", *(f"step_{n}/a.safetensors" for n in (50, 500, 5000))]
    assert steps(bucket, "run2") == ["step_5"]


@BOTH
def test_a_grace_is_a_schedule(bucket: Place, ckptctl: Ckptctl) -> None:
    fill(bucket, 3)
    before = keys(bucket)
    done = prune(ckptctl, bucket, "--keep-last", "1", "--grace", "1h", "--json")
    assert done.code == 0, done.stderr
    assert outcomes(done) == [("step_1", "schedule", "done"), ("step_2", "schedule", "done")]
    assert (done.json["freed_bytes"], keys(bucket)) == (0, before)
    assert "ckptctl undo" in done.stderr
    listed = call(ckptctl, "list", bucket, "--json", below="run").json["runs"][0]["checkpoints"]
    assert [bool(c["doomed_at"]) for c in listed] == [True, True, False]
    (shown,) = call(ckptctl, "status", bucket, "--json", below="run").json["runs"]
    assert shown["trash"]["entries"] == 2
    explained = ckptctl("why", "step_1", f"{bucket.url}/run", *options(bucket), "--keep-last", "1")
    assert "ckptctl undo" in explained.stdout
    # No rule counts them: of two that are asked for only one is there.
    more = prune(ckptctl, bucket, "--keep-last", "2", "--json")
    assert (more.code, outcomes(more), keys(bucket)) == (0, [], before)
    undone = call(ckptctl, "undo", bucket, "--name", "step_2", "--json", below="run")
    assert undone.code == 0, undone.stderr
    assert outcomes(undone) == [("step_2", "restore", "done")]
    listed = call(ckptctl, "list", bucket, "--json", below="run").json["runs"][0]["checkpoints"]
    assert [bool(c["doomed_at"]) for c in listed] == [True, False, False]
    purged = call(ckptctl, "purge", bucket, "--all", "-y", "--json", below="run")
    assert outcomes(purged) == [("step_1", "purge", "done")]
    assert (purged.code, steps(bucket)) == (0, ["step_2", "step_3"])
    for words in (("undo",), ("undo", "--list"), ("purge", "--all")):  # what is gone is gone
        nothing = call(ckptctl, words[0], bucket, *words[1:], "--json", below="run")
        assert (nothing.code, outcomes(nothing)) == (0, []), words
    named = call(ckptctl, "undo", bucket, "--name", "step_1", below="run")
    assert named.code == 8


@BOTH
def test_the_first_prune_after_the_grace_carries_it_out(bucket: Place, ckptctl: Ckptctl) -> None:
    fill(bucket, 4)
    assert prune(ckptctl, bucket, "--keep-last", "1", "--grace", "1s").code == 0
    assert ckptctl("hold", "step_2", f"{bucket.url}/run", *options(bucket)).code == 0
    bucket.put("run/step_3/b.safetensors", safetensors("anew"))
    time.sleep(1.1)
    done = prune(ckptctl, bucket, "--keep-last", "2", "--json")
    assert done.code == 5, done.stderr  # the one that is held is skipped
    assert sorted(outcomes(done)) == [("step_1", "purge", "done"), ("step_2", "purge", "skipped")]
    # What was saved anew is scheduled no more, and counts again.
    assert steps(bucket) == ["step_2", "step_3", "step_4"]
    assert ckptctl("hold", "--release", "step_2", f"{bucket.url}/run", *options(bucket)).code == 0
    done = prune(ckptctl, bucket, "--keep-last", "2", "--json")
    assert (done.code, steps(bucket)) == (0, ["step_3", "step_4"])
    assert len(state(bucket)["records"]) == 1  # of what was saved anew; the others are forgotten


def test_the_parts_of_one_that_is_pinned_in_the_grace_stay_together(
    s3: Place, ckptctl: Ckptctl
) -> None:
    for step in (1, 2, 3):
        for part in ("model", "optim"):
            s3.put(f"run/{part}_step{step}.pt", torch_zip())
    time.sleep(1.1)  # so that none can be newer than what is the last by step
    for part in ("model", "optim"):
        s3.put(f"run/{part}_step3.pt", torch_zip())
    scheduled = outcomes(prune(ckptctl, s3, "--keep-last", "1", "--grace", "1s", "--json"))
    assert len(scheduled) == 4
    assert (
        ckptctl("annotate", "optim_step1", "--in", f"{s3.url}/run", "--pin", *options(s3)).code == 0
    )
    time.sleep(1.1)
    assert prune(ckptctl, s3, "--keep-last", "1").code == 5  # the one that is pinned is skipped
    purged = call(ckptctl, "purge", s3, "--all", "-y", below="run")
    assert purged.code == 5
    assert "sibling" in purged.stdout
    assert steps(s3) == ["model_step1.pt", "model_step3.pt", "optim_step1.pt", "optim_step3.pt"]


@BOTH
def test_a_plan_is_carried_out_once(bucket: Place, tmp_path: Path, ckptctl: Ckptctl) -> None:
    fill(bucket, 4)
    plan = tmp_path / "plan.json"
    before = keys(bucket)
    assert prune(ckptctl, bucket, "--keep-last", "1", "--plan-out", str(plan)).code == 0
    assert keys(bucket) == before
    bucket.put("run/step_2/b.safetensors", safetensors("anew"))
    done = prune(ckptctl, bucket, "--from-plan", str(plan), "--json")
    assert done.code == 5, done.stderr  # one was saved anew
    assert steps(bucket) == ["step_2", "step_4"]
    again = prune(ckptctl, bucket, "--from-plan", str(plan), "--json")
    assert (again.code, steps(bucket)) == (5, ["step_2", "step_4"])  # nothing of it is left to do
    assert prune(ckptctl, bucket, "--keep-last", "1", "--plan-out", str(plan)).code == 0
    late = prune(ckptctl, bucket, "--from-plan", str(plan), "--timeout", "0s")
    assert (late.code, steps(bucket)) == (5, ["step_2", "step_4"]), late.stderr
    refused = prune(ckptctl, bucket, "--from-plan", str(plan))
    assert (refused.code, steps(bucket)) == (4, ["step_2", "step_4"]), refused.stderr


@BOTH
def test_an_unfinished_save_goes_when_it_is_asked_for(bucket: Place, ckptctl: Ckptctl) -> None:
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for step in (1, 2, 3):
        for name in names[: 1 if step == 1 else 2]:
            bucket.put(f"run/step_{step}/{name}", safetensors(name))
        time.sleep(1.1)  # times are whole seconds there, and the later one must be later
    rules = ("--keep-last", "2", "--json")
    assert outcomes(prune(ckptctl, bucket, *rules)) == []
    done = prune(ckptctl, bucket, *rules, "--delete-incomplete", "1s", "--grace", "0s")
    assert outcomes(done) == [("step_1", "clean", "done")]
    assert steps(bucket) == ["step_2", "step_3"]


@BOTH
def test_an_unfinished_save_that_is_completed_in_its_grace_stays(
    bucket: Place, ckptctl: Ckptctl
) -> None:
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for step in (1, 2):
        for name in names[:step]:
            bucket.put(f"run/step_{step}/{name}", safetensors(name))
        time.sleep(1.1)  # times are whole seconds there, and the later one must be later
    rules = ("--keep-last", "2", "--json")
    done = prune(ckptctl, bucket, *rules, "--delete-incomplete", "1s", "--grace", "1s")
    assert outcomes(done) == [("step_1", "schedule", "done")]
    bucket.put(f"run/step_1/{names[1]}", safetensors(names[1]))
    time.sleep(1.1)
    purged = call(ckptctl, "purge", bucket, "--json", below="run")
    assert outcomes(purged) == [("step_1", "purge", "skipped")]
    assert "its schedule is void" in purged.json["results"][0]["error"]
    done = prune(ckptctl, bucket, *rules)
    assert (done.code, outcomes(done), steps(bucket)) == (0, [], ["step_1", "step_2"])


def test_what_versioning_only_hides_is_told_and_frees_nothing(
    request: pytest.FixtureRequest, ckptctl: Ckptctl
) -> None:
    weed: seaweed.Seaweed = request.getfixturevalue("seaweedfs")
    name = uuid.uuid4().hex
    where = Place("s3", f"s3://{seaweed.VERSIONED}/{name}", weed.options(), lambda *_: None)
    store = where.open()
    for step in (1, 2):
        store.replace(f"run/step_{step}.pt", torch_zip())
        store.replace(f"run/step_{step}.json", b'{"loss": 1}')
    done = prune(ckptctl, where, "--keep-last", "1", "--json")
    assert (done.code, done.json["freed_bytes"]) == (0, 0)
    assert keys(where) == ["step_2.json", "step_2.pt"]
    assert "2 noncurrent versions" in done.stderr
    assert "still cost money" in done.stderr


@BOTH
def test_metrics_come_from_a_log_in_the_run(bucket: Place, ckptctl: Ckptctl) -> None:
    fill(bucket, 3)
    bucket.put("run/log.csv", b"step,loss\n1,0.5\n2,0.1\n3,0.3\n")
    best = ("--keep-best", "1", "--metric", "loss", "--metrics-from", "log.csv")
    assert prune(ckptctl, bucket, *best).code == 0
    assert steps(bucket) == ["log.csv", "step_2", "step_3"]
    missing = prune(ckptctl, bucket, "--keep-last", "1", "--metrics-from", "none.csv")
    assert (missing.code, len(steps(bucket))) == (7, 3)


@BOTH
def test_the_state_lies_where_it_is_wanted(bucket: Place, ckptctl: Ckptctl) -> None:
    fill(bucket, 3)
    wanted = ("--state-dir", f"{bucket.url}/notes")
    url = f"{bucket.url}/run"
    assert ckptctl("annotate", "step_1", "--pin", "--in", url, *options(bucket), *wanted).code == 0
    assert prune(ckptctl, bucket, "--keep-last", "1", *wanted).code == 0
    assert steps(bucket) == ["step_1", "step_3"]
    assert state(bucket) == {}
    (folder,) = bucket.open().listing("notes").folders
    assert folder.startswith("run~")
    assert prune(ckptctl, bucket, "--keep-last", "1").code == 0  # the pin lies elsewhere
    assert steps(bucket) == ["step_3"]


def test_thousands_go_in_batches(s3: Place, ckptctl: Ckptctl) -> None:
    client = s3.open()
    for step in range(1, 1304):
        client.replace(f"run/step_{step}.bin", b"x" * 8)
    done = prune(ckptctl, s3, "--keep-last", "100", "--json")
    assert done.code == 0, done.stderr
    assert len(outcomes(done)) == 1203
    assert keys(s3) == sorted(f"step_{step}.bin" for step in range(1204, 1304))


def test_what_is_saved_anew_while_it_is_decided_anew_stays(
    s3: Place, ckptctl: Ckptctl, request: pytest.FixtureRequest
) -> None:
    """Once another was saved before the lock was had, and while that one is proven the first one is."""
    fill(s3, 3)
    weed: seaweed.Seaweed = request.getfixturevalue("seaweedfs")

    def saving(*keys: str) -> faulty.Act:
        def act(asked: faulty.Request, forward: faulty.Forward) -> faulty.Answer:
            for key in keys:
                s3.put(key, safetensors("anew"))
            return forward(asked)

        return act

    with faulty.before(weed.port) as proxy:
        there = replace(s3, options={**s3.options, "endpoint_url": proxy.endpoint})
        late = [f"run/step_4/{name}.safetensors" for name in "ab"]
        proxy.rule(saving(*late), "^PUT .*/lock", times=1)
        proxy.rule(saving("run/step_1/b.safetensors"), "^GET .*/step_4/a.safetensors", times=1)
        done = prune(ckptctl, there, "--keep-last", "1", "--json")
    assert done.code == 5, done.stdout
    assert steps(s3) == ["step_1", "step_3", "step_4"]


def test_two_prunes_at_once_end_well(s3: Place) -> None:
    fill(s3, 12)
    words = ["prune", f"{s3.url}/run", *options(s3), "--keep-last", "2", "--settle", "0s"]
    waits = ("--lock-wait", "60s")
    calls = [
        subprocess.Popen([sys.executable, "-m", "ckptctl", *words, *more], env=ENV,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for more in (waits, waits, ())
    ]  # fmt: skip
    codes = [process.wait() for process in calls]
    said = [process.stderr.read().decode() for process in calls if process.stderr is not None]
    for process in calls:
        assert process.stderr is not None
        process.stderr.close()
    assert codes[:2] == [0, 0], said
    assert codes[2] in {0, 3}, said
    assert steps(s3) == ["step_11", "step_12"]
    assert not any(state(s3).values())


def test_a_lock_that_lives_is_respected(s3: Place, ckptctl: Ckptctl) -> None:
    fill(s3, 3)
    lock = {"schema": "ckptctl/lock", "version": 1, "host": "elsewhere", "pid": 1, "token": "x"}
    living = {**lock, "expires_ns": time.time_ns() + 10**12}
    s3.put(".ckptctl/run/lock", json.dumps(living).encode())
    for command in (("prune", "--keep-last", "1"),):
        assert call(ckptctl, command[0], s3, *command[1:], below="run").code == 3
    assert len(steps(s3)) == 3
    s3.put(".ckptctl/run/lock", json.dumps({**living, "expires_ns": 1}).encode())
    assert prune(ckptctl, s3, "--keep-last", "1").code == 0
    assert steps(s3) == ["step_3"]


def test_a_store_that_ignores_conditions_is_refused_unless_no_lock_is_asked_for(
    ckptctl: Ckptctl, request: pytest.FixtureRequest
) -> None:
    (there,) = place("gcs", request)
    fill(there, 3)
    server: fake_gcs.FakeGcs = request.getfixturevalue("gcs")
    with faulty.before(server.port) as proxy:
        proxy.rewrite = lambda target: target.replace("ifGenerationMatch=0", "")
        ignoring = replace(there, options={**there.options, "endpoint_url": proxy.endpoint})
        refused = prune(ckptctl, ignoring, "--keep-last", "1")
        assert (refused.code, len(steps(there))) == (4, 3), refused.stderr
        assert "--no-lock" in refused.stderr
        scheduled = prune(ckptctl, ignoring, "--keep-last", "2", "--grace", "1h", "--no-lock")
        assert (scheduled.code, len(steps(there))) == (0, 3), scheduled.stderr
        done = prune(ckptctl, ignoring, "--keep-last", "1", "--no-lock", "--json")
        assert (done.code, steps(there)) == (0, ["step_1", "step_3"]), done.stderr
    assert set(state(there)) == {"", "records"}
    assert state(there)[""] == []


@pytest.mark.parametrize("command", [("hold", "step_1"), ("annotate", "step_1", "--pin")])
def test_nothing_is_promised_of_what_a_prune_has_begun_to_delete(
    s3: Place, ckptctl: Ckptctl, command: tuple[str, ...]
) -> None:
    fill(s3, 2)
    store = s3.open()
    key = "step_1/a.safetensors"
    removal = Removal(name="step_1", member="step_1", key=key, payload={}, sidecars={})
    begin(store.below(".ckptctl/run"), "1", [removal])
    store.remove_file(f"run/{key}")  # a prune is as far as this
    at = ["--in"] if command[0] == "annotate" else []
    done = ckptctl(*command, *at, f"{s3.url}/run", *options(s3))
    assert done.code == 8
    assert "begun to delete it" in done.stderr
