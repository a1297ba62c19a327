"""What works in buckets means there what it means on a disk; what deletes is in test_bucket_prune.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.records import Record, dump, file_name
from tests.cli.test_processes import ENV
from tests.program import Ckptctl, Done
from tests.saved import save
from tests.servers import seaweed
from tests.stores.places import SERVERS, Place
from tests.trees import set_age


def upload(root: Path, where: Place) -> None:
    """Put each file there, the oldest first: an object's time is that of its upload."""
    files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    for path in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        where.put(path.relative_to(root).as_posix(), path.read_bytes())


def options(where: Place) -> list[str]:
    return [
        word
        for key, value in where.options.items()
        for word in ("--storage-option", f"{key}={value}")
    ]


def call(ckptctl: Ckptctl, command: str, where: Place, *more: str, below: str = "") -> Done:
    url = f"{where.url}/{below}" if below else where.url
    return ckptctl(command, url, *options(where), *more, "--settle", "0s")


def checkpoints(done: Done) -> dict[str, dict[str, Any]]:
    assert done.code == 0, done.stderr
    return {c["path"].split("/", 3)[-1]: c for run in done.json["runs"] for c in run["checkpoints"]}


@pytest.mark.parametrize("bucket", SERVERS, indirect=True)
def test_a_torn_one_and_a_missing_shard_are_found(bucket: Place, ckptctl: Ckptctl) -> None:
    bucket.put("step_1.pt", torch_zip())
    bucket.put("step_2.pt", torch_zip()[:-30])
    listed = call(ckptctl, "list", bucket, "--json").json["runs"][0]["checkpoints"]
    assert [(c["name"], c["state"]) for c in listed] == [
        ("step_1", "complete"), ("step_2", "incomplete"),
    ]  # fmt: skip
    done = call(ckptctl, "verify", bucket, "--json")
    assert (done.code, [r["status"] for r in done.json["results"]]) == (6, ["ok", "incomplete"])


def test_digests_of_a_disk_are_compared_with_a_bucket(
    tmp_path: Path, s3: Place, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: 2.0, 2: 1.0})
    upload(run, s3)
    against = [*options(s3), "--settle", "0s", "--level", "digest", "--json"]
    done = ckptctl("verify", run, "--against", s3.url, *against)
    assert (done.code, {r["status"] for r in done.json["results"]}) == (0, {"ok"})
    flipped = bytearray(torch_zip())
    flipped[60] ^= 1
    s3.put("step_2.pt", bytes(flipped))
    done = ckptctl("verify", run, "--against", s3.url, *against)
    assert (done.code, [r["status"] for r in done.json["results"]]) == (6, ["ok", "damaged"])


@pytest.mark.parametrize("bucket", ["s3-obstore", "gcs"], indirect=True)
def test_the_path_of_one_checkpoint_is_that_one_there_too(
    bucket: Place, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    upload(save(tmp_path, {1: None, 2: None}), bucket)
    for step in (1, 2):
        bucket.put(f"checkpoint-{step}/model.safetensors", safetensors())
        bucket.put(f"checkpoint-{step}/trainer_state.json", b'{"global_step": %d}' % step)
    for below in ("step_1.pt", "checkpoint-1"):
        (only,) = checkpoints(call(ckptctl, "list", bucket, "--json", below=below)).values()
        assert only["path"] == f"{bucket.url}/{below}"
        verified = call(ckptctl, "verify", bucket, "--json", below=below).json["results"]
        assert [result["path"] for result in verified] == [only["path"]]
        refused = call(ckptctl, "prune", bucket, "--keep-last", "1", below=below)
        assert refused.code == 2
        assert f"name the run: {bucket.url}" in refused.stderr


def test_what_lies_in_a_checkpoint_there_is_refused(s3: Place, ckptctl: Ckptctl) -> None:
    inner = "checkpoint-5/global_step5"
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        s3.put(f"{inner}/{name}", torch_zip())
    s3.put("checkpoint-5/latest", b"global_step5")
    s3.put("checkpoint-5/trainer_state.json", b'{"global_step": 5}')
    s3.put("checkpoint-5/model.safetensors", safetensors())
    for below in (inner, "checkpoint-5/latest"):
        for command in (("list",), ("prune", "--keep-last", "1")):
            refused = call(ckptctl, command[0], s3, *command[1:], below=below)
            assert refused.code == 2
            assert f"name the run: {s3.url}" in refused.stderr


@pytest.mark.parametrize("bucket", ["s3-obstore", "gcs"], indirect=True)
def test_pins_tags_metrics_and_holds_are_recorded_there(bucket: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        bucket.put(f"run/step_{step}.pt", torch_zip())
    url, more = f"{bucket.url}/run", [*options(bucket), "--settle", "0s"]
    done = ckptctl("annotate", "step_1", "acc=0.5", "--pin", "--tag", "a", "--in", url, *more)
    assert done.code == 0, done.stderr
    assert ckptctl("annotate", "step_1", "loss=1", "--in", url, *more).code == 0
    assert ckptctl("hold", "step_2", url, *more).code == 0
    one, two = call(ckptctl, "list", bucket, "--json", below="run").json["runs"][0]["checkpoints"]
    assert (one["metrics"], one["tags"], one["pinned"]) == ({"acc": 0.5, "loss": 1}, ["a"], True)
    assert len(two["holds"]) == 1
    assert ckptctl("hold", "--release", "step_2", url, *more).code == 0
    _, two = call(ckptctl, "list", bucket, "--json", below="run").json["runs"][0]["checkpoints"]
    assert two["holds"] == []
    # The state lies beside the run, and is no run itself; nothing else was written.
    store = bucket.open()
    assert sorted(path for path, _ in store.listing("run").walk()) == ["step_1.pt", "step_2.pt"]
    assert [run["name"] for run in call(ckptctl, "list", bucket, "--json").json["runs"]] == ["run"]
    state = store.listing(".ckptctl/run")
    assert set(state.folders) == {"records"}
    assert not state.files  # no lock is left


@pytest.mark.parametrize("bucket", ["s3-obstore", "gcs"], indirect=True)
def test_a_changed_byte_is_found_there(bucket: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        bucket.put(f"run/step_{step}/a.safetensors", safetensors("a"))
        bucket.put(f"run/step_{step}/b.safetensors", safetensors("b"))
    done = call(ckptctl, "verify", bucket, "--record", "--json", below="run")
    assert (done.code, {r["status"] for r in done.json["results"]}) == (0, {"ok"}), done.stderr
    done = call(ckptctl, "verify", bucket, "--record", "--json", below="run")
    assert sum(r["bytes_read"] for r in done.json["results"]) == 0
    done = call(ckptctl, "verify", bucket, "--level", "digest", "--json", below="run")
    assert (done.code, {r["status"] for r in done.json["results"]}) == (0, {"ok"})
    bucket.put("run/step_2/b.safetensors", safetensors("c"))
    done = call(ckptctl, "verify", bucket, "--level", "digest", "--json", below="run")
    assert (done.code, [r["status"] for r in done.json["results"]]) == (6, ["ok", "damaged"])
    listed = call(ckptctl, "list", bucket, "--json", below="run").json["runs"][0]["checkpoints"]
    assert [c["state"] for c in listed] == ["complete", "damaged"]


def test_records_that_came_along_in_a_run_count(s3: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        s3.put(f"run/step_{step}.pt", torch_zip())
    pinned = Record(path="step_1.pt", pinned=True)
    s3.put(f"run/.ckptctl/records/{file_name('step_1.pt')}", dump(pinned))
    for below in ("", "run"):
        found = checkpoints(call(ckptctl, "list", s3, "--json", below=below)).values()
        assert {c["name"]: c["pinned"] for c in found} == {"step_1": True, "step_2": False}


def test_many_that_record_at_once_lose_nothing(s3: Place, ckptctl: Ckptctl) -> None:
    s3.put("run/step_1.pt", torch_zip())
    url = f"{s3.url}/run"
    calls = [
        subprocess.Popen(
            [sys.executable, "-m", "ckptctl", "annotate", "step_1", f"m{n}={n}", "--in", url, *options(s3), "--lock-wait", "1m"],
            env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for n in range(6)
    ]  # fmt: skip
    assert [process.wait() for process in calls] == [0] * 6
    for process in calls:
        assert process.stderr is not None
        process.stderr.close()
    (one,) = ckptctl("list", url, *options(s3), "--json").json["runs"][0]["checkpoints"]
    assert one["metrics"] == {f"m{n}": n for n in range(6)}


def test_a_lock_that_expired_is_taken_over_and_one_that_lives_is_not(
    s3: Place, ckptctl: Ckptctl
) -> None:
    s3.put("run/step_1.pt", torch_zip())
    annotate = ("annotate", "step_1", "--pin", "--in", f"{s3.url}/run", *options(s3))
    lock = {"schema": "ckptctl/lock", "version": 1, "host": "elsewhere", "pid": 1, "token": "x"}
    s3.put(".ckptctl/run/records.lock", json.dumps({**lock, "expires_ns": 1}).encode())
    assert ckptctl(*annotate).code == 0
    living = {**lock, "expires_ns": time.time_ns() + 10**12}
    s3.put(".ckptctl/run/records.lock", json.dumps(living).encode())
    for impatient in (annotate, ("hold", "step_1", f"{s3.url}/run", *options(s3))):
        done = ckptctl(*impatient, "--lock-wait", "0s", "--json")
        assert (done.code, done.json["kind"]) == (3, "locked")
    process = subprocess.Popen(
        [sys.executable, "-m", "ckptctl", *annotate, "--lock-wait", "1m"], env=ENV, stderr=subprocess.PIPE,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)  # it waits for its turn
    s3.put(".ckptctl/run/records.lock", json.dumps({**living, "expires_ns": 1}).encode())
    assert process.wait(60) == 0
    assert process.stderr is not None
    process.stderr.close()


def test_why_explains_there(s3: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        s3.put(f"run/step_{step}.pt", torch_zip())
    done = ckptctl("why", "step_1", f"{s3.url}/run", *options(s3), "--keep-last", "1")
    assert done.code == 0, done.stderr
    assert "--keep-last 2" in done.stdout


def test_status_tells_how_old_the_newest_is(s3: Place, ckptctl: Ckptctl) -> None:
    s3.put("run/step_1.pt", torch_zip())
    done = ckptctl("status", f"{s3.url}/run", *options(s3), "--warn", "1h", "--json")
    assert done.code == 0, done.stderr
    (run,) = done.json["runs"]
    assert (run["newest"], run["disk"], run["bytes"]) == ("step_1", None, len(torch_zip()))
    assert ckptctl("status", f"{s3.url}/none", *options(s3), "--warn", "1h").code == 3


def test_interval_sees_saves_and_the_jobs_of_a_log_there(s3: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        s3.put(f"run/step_{step}.pt", torch_zip())
    s3.put("run/log.csv", b"step,SLURM_JOB_ID\n1,7\n2,8\n")
    known = ("--save-cost", "60s", "--mtbf", "10h", "--metrics-from", "log.csv", "--json")
    done = ckptctl("interval", f"{s3.url}/run", *options(s3), *known)
    assert done.code == 0, done.stderr
    (run,) = done.json["runs"]
    seen = run["observed"]
    assert (seen["saves"], seen["restarts"]) == (2, 1)


def test_what_cannot_be_reached_or_read_is_told(s3: Place, ckptctl: Ckptctl) -> None:
    missing = ckptctl("list", "s3://no-such-bucket/run", *options(s3))
    assert missing.code == 7
    assert "no-such-bucket" in missing.stderr
    empty = ckptctl("list", f"{s3.url}/nowhere", *options(s3))
    assert empty.code == 7
    wrong = {**s3.options, "secret": "wrong-and-secret"}
    words = [w for k, v in wrong.items() for w in ("--storage-option", f"{k}={v}")]
    denied = ckptctl("list", s3.url, *words)
    assert denied.code == 7
    assert "wrong-and-secret" not in denied.stderr + denied.stdout
    assert ckptctl("list", s3.url, "--storage-option", "nonsense").code == 2


def test_a_tier_of_the_configuration_says_how(tmp_path: Path, s3: Place, ckptctl: Ckptctl) -> None:
    s3.put("run/step_1.pt", torch_zip())
    said = {"endpoint_url": s3.options["endpoint_url"], "key": s3.options["key"]}
    config = tmp_path / "ckptctl.yaml"
    tiers = {"cloud": {"url": s3.url, "storage_options": said}}
    config.write_text(json.dumps({"version": 1, "tiers": tiers}))
    secret = f"secret={s3.options['secret']}"
    done = ckptctl("list", "@cloud/run", "-c", config, "--storage-option", secret, "--json")
    assert done.code == 0, done.stderr
    (run,) = done.json["runs"]
    assert (run["name"], run["location"]) == ("run", f"{s3.url}/run")


def test_more_objects_than_allowed_are_refused(s3: Place, ckptctl: Ckptctl) -> None:
    for step in range(1, 12):
        s3.put(f"step_{step}.pt", torch_zip())
    assert call(ckptctl, "list", s3, "--max-keys", "11").code == 0
    done = call(ckptctl, "list", s3, "--max-keys", "10")
    assert done.code == 7
    assert "10" in done.stderr


def test_environment_credentials_are_enough(s3: Place, ckptctl: Ckptctl) -> None:
    s3.put("step_1.pt", torch_zip())
    key, secret = seaweed.GUEST
    env = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": str(s3.options["endpoint_url"]),
        "AWS_REGION": "us-east-1",
    }
    done = ckptctl("list", s3.url, "--json", env=env)
    assert done.code == 0, done.stderr
    assert [c["name"] for c in done.json["runs"][0]["checkpoints"]] == ["step_1"]


def test_age_is_that_of_the_objects(s3: Place, tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None})
    set_age(run / "step_1.pt", 10)
    upload(run, s3)
    (one,) = ckptctl("list", s3.url, *options(s3), "--json").json["runs"][0]["checkpoints"]
    assert one["bytes"] == (run / "step_1.pt").stat().st_size


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hush-hush@bucket/run",
        "ftp://me:hush-hush@127.0.0.1:9/run",
        "https://b.s3.amazonaws.com/run?X-Amz-Credential=a&X-Amz-Signature=hush-hush",
        "https://account.blob.core.windows.net/run?sv=1&sig=hush-hush",
    ],
)
def test_a_location_that_holds_a_secret_is_refused_and_not_repeated(
    url: str, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    log = tmp_path / "log"
    for words in (("list", url), ("verify", tmp_path, url), ("verify", tmp_path, "--against", url)):
        for more in ((), ("--json",)):
            done = ckptctl(*words, "--log-file", log, *more)
            assert done.code == 2, done.stderr
            assert "hush" not in done.stdout + done.stderr
    assert not log.exists() or "hush" not in log.read_text()


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"AWS_SESSION_TOKEN": "hush\nhush"}, 7, "token has a line break"),
        ({"AWS_ACCESS_KEY_ID": "hush\r"}, 7, "key has a line break"),
        ({"AWS_SECRET_ACCESS_KEY": "hush\n"}, 7, "secret has a line break"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1 :9"}, 2, "endpoint"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9/a b"}, 2, "endpoint"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:999999"}, 2, "endpoint"),
        ({"AWS_ENDPOINT_URL": "http://AKIA:hush@127.0.0.1:port"}, 2, "endpoint"),
        ({"AWS_ENDPOINT_URL": "ftp://127.0.0.1:9"}, 2, "endpoint"),
        ({"AWS_REGION": "us-east-1\n"}, 2, "region"),
        ({"AWS_REGION": "us east"}, 2, "region"),
    ],
    ids=str,
)
def test_what_no_request_can_be_made_of_is_said(
    wrong: dict[str, str], code: int, words: str, ckptctl: Ckptctl
) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "CKPTCTL_DEBUG": "",
    }
    done = ckptctl("list", "s3://bucket/run", "--json", env=env | wrong)
    assert done.code == code, done.stderr
    assert words in done.json["message"]
    assert done.json["hint"]
    assert "hush" not in done.stdout + done.stderr
    assert done.stderr == ""  # no Rust panic, no traceback


def test_records_are_never_kept_in_a_directory_called_like_a_bucket(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    here = Path.cwd() / "s3:"
    for words in (("prune", "--keep-last", "1"), ("annotate", "step_1", "a=1", "--in"), ("list",)):
        done = ckptctl(*words, run, "--state-dir", "s3://bucket/state")
        assert done.code == 2, done.stdout
        assert "--state-dir" in done.stderr
    assert sorted(os.listdir(run)) == ["step_1.pt", "step_2.pt"]
    assert not here.exists()


def test_a_state_directory_for_a_bucket_is_refused_instead_of_passed_over(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    done = ckptctl("hold", "step_1", "s3://bucket/run", "--state-dir", tmp_path)
    assert done.code == 2, done.stdout
    assert "--state-dir" in done.stderr
