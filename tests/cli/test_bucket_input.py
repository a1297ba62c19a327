"""Every command against buckets, names and servers as they should not be: code, words, no noise."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.servers import fake_gcs, seaweed
from tests.stores.places import Place, place

COMMANDS = {
    "list": ("list", "{}"),
    "verify": ("verify", "{}"),
    "status": ("status", "{}"),
    "prune": ("prune", "-n", "--keep-last", "1", "{}"),
    "undo": ("undo", "--list", "{}"),
    "purge": ("purge", "-n", "{}"),
    "interval": ("interval", "{}", "--save-cost", "60s", "--mtbf", "10h"),
    "why": ("why", "step_1", "{}", "--keep-last", "1"),
    "annotate": ("annotate", "step_1", "a=1", "--in", "{}"),
    "hold": ("hold", "step_1", "{}"),
}
WRITERS = ("annotate", "hold")
ODD = (
    "per%cent%20%", "pl+us", "qu?es#ha&sh", "quo'te\"s", "dots...", "em😀ji", "caf\u00e9", "cafe\u0301", "Case", "case",
    " sp ace ", "sem;i", "star*[a]", "eq=x", "~til|de^`{}<>", "$dol@col:on,com", "long" + "é" * 120,
)  # fmt: skip
"""Names of runs that some library spells differently, and twins that are told apart by it."""


@pytest.fixture(params=["s3-obstore", "s3-fsspec", "gcs"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


def words(command: str, url: str, options: dict[str, object], *more: str) -> list[str]:
    said = [w for k, v in options.items() for w in ("--storage-option", f"{k}={v}")]
    return [*(word.format(url) for word in COMMANDS[command]), *said, *more]


def refused(
    ckptctl: Ckptctl, command: str, url: str, options: dict[str, object], code: int, *expected: str
) -> None:
    """The command ends so, says what is wrong and what to check, once, and shows no secret."""
    env = {"CKPTCTL_DEBUG": "", "AWS_EC2_METADATA_DISABLED": "true"}
    done = ckptctl(*words(command, url, options), env=env)
    assert done.code == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("ckptctl: ")
    assert len(lines) == 2, done.stderr
    for word in expected:
        assert word in done.stderr
    assert "mount" not in done.stderr
    for who in (seaweed.ADMIN, seaweed.GUEST, seaweed.READER, seaweed.BLIND, seaweed.WRONG):
        assert not set(who) & set(done.stderr.replace("(", " ").replace(")", " ").split())
    assert "Signature=" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bucket_that_cannot_be_used_is_7(
    command: str, seaweedfs: seaweed.Seaweed, gcs: fake_gcs.FakeGcs, ckptctl: Ckptctl
) -> None:
    own, bucket = seaweedfs.options, seaweed.BUCKET
    anonymous: dict[str, object] = {"endpoint_url": seaweedfs.endpoint, "anon": "true"}
    host = f"127.0.0.1:{seaweedfs.port}"
    cases: tuple[tuple[str, dict[str, object], tuple[str, ...]], ...] = (
        ("s3://typo-bucket/run", own(seaweed.ADMIN), ("no such bucket (NoSuchBucket)", host, "check its name")),
        (f"s3://{bucket}/run", own(seaweed.BLIND), ("permission is denied", "listing", "policy")),
        (f"s3://{seaweed.CLOSED}/run", own(), ("permission is denied (AccessDenied)", "bucket's name and policy")),
        (f"s3://{seaweed.CLOSED}/run", anonymous, ("permission is denied (AccessDenied)", "check")),
        (f"s3://{bucket}/run", own(seaweed.WRONG), ("credentials are refused", "AWS_ACCESS_KEY_ID")),
        (f"s3://{bucket}/ready", own(), ("is an object, no prefix", "name what lies above it")),
        (f"S3://{bucket}/nowhere///", own(), (f"s3://{bucket}/nowhere:", "nothing below it", "check the path")),
        ("gs://typo-bucket/run", gcs.options(), ("no such bucket (404)", "check its name", "STORAGE_EMULATOR_HOST")),
        (f"s3://{bucket}/a\x01\nb", own(), (r"/a\x01\nb", "nothing below it")),
        ("s3://b/run", {"profile": "typo"}, ("s3://b", "no such profile", "AWS_PROFILE")),
    )  # fmt: skip
    # What each command says comes from one place; that it does is seen by two of them.
    for url, options, expected in cases if command in {"list", "hold"} else cases[:2]:
        refused(ckptctl, command, url, options, 7, *expected)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_address_or_option_that_makes_no_sense_is_2(command: str, ckptctl: Ckptctl) -> None:
    cases: tuple[tuple[str, dict[str, object], str], ...] = (
        ("s3://", {}, "s3://BUCKET/PATH"),
        ("gs:///run", {}, "gs://BUCKET/PATH"),
        ("s3://My Bucket/run", {}, "no bucket has such a name"),
        ("s3://b/a//b", {"anon": "true", "region": "eu-1"}, "its path holds //"),
        ("s3://b/a/../b", {"anon": "true", "region": "eu-1"}, "its path holds"),
        ("s3://b/run", {"endpont_url": "x"}, "endpont_url"),
        ("gs://b/run", {"projet": "x"}, "projet"),
        ("s3://b/run", {"endpoint_url": ""}, "http(s)://HOST"),
        ("https://b.s3.amazonaws.com/run", {}, "s3://BUCKET/PATH"),
        ("dir://x", {}, "--storage-option"),
        ("reference://x", {}, "--storage-option"),
        ("nosuch://x", {}, "fsspec does not know it"),
    )
    for url, options, expected in cases if command in {"list", "hold"} else cases[:2]:
        refused(ckptctl, command, url, options, 2, expected)


@pytest.mark.parametrize("command", COMMANDS)
def test_who_may_only_read_reads(
    command: str, s3: Place, seaweedfs: seaweed.Seaweed, ckptctl: Ckptctl
) -> None:
    s3.put("run/step_1.pt", torch_zip())
    url, options = f"{s3.url}/run", seaweedfs.options(seaweed.READER)
    if command in WRITERS:
        expected = ("cannot be written", "permission is denied (AccessDenied)", ".ckptctl/run")
        refused(ckptctl, command, url, options, 7, s3.url, *expected, "policy")
    else:
        done = ckptctl(*words(command, url, options, "--settle", "0s"))
        assert done.code == 0, done.stderr
    assert ckptctl("list", url, *words("list", url, options)[2:]).code == 0
    assert "locked" not in ckptctl(*words(command, url, options)).stderr


@pytest.mark.parametrize("command", WRITERS)
def test_state_that_cannot_be_written_or_taken_back_is_told(
    command: str, seaweedfs: seaweed.Seaweed, ckptctl: Ckptctl
) -> None:
    client = seaweedfs.client()
    for bucket in (seaweed.STATELESS, seaweed.KEPT):
        key = f"{command}/step_1.pt"
        client.put_object(Bucket=bucket, Key=key, Body=torch_zip())
    client.close()
    url, options = f"s3://{seaweed.STATELESS}/{command}", seaweedfs.options()
    refused(ckptctl, command, url, options, 7, seaweed.STATELESS, "AccessDenied", "policy")
    done = ckptctl(*words(command, f"s3://{seaweed.KEPT}/{command}", options))
    assert done.code == 0, done.stderr  # what it wrote is there, if not the lock that nobody needs


def test_who_may_delete_nothing_does_not_lock_himself_out(
    seaweedfs: seaweed.Seaweed, ckptctl: Ckptctl
) -> None:
    client = seaweedfs.client()
    for step in (1, 2):
        client.put_object(Bucket=seaweed.KEPT, Key=f"again/step_{step}.pt", Body=torch_zip())
    client.close()
    url = f"s3://{seaweed.KEPT}/again"
    options = words("list", url, seaweedfs.options(), "--settle", "0s")[2:]
    for _ in range(3):  # each takes the lock twice, from the second on to finish what was begun
        done = ckptctl("prune", url, *options, "--keep-last", "1", "--json")
        assert done.code == 5, done.json
        (outcome,) = done.json["runs"][0]["outcomes"]
        assert "permission is denied" in outcome["error"]


def test_odd_names_are_spelt_alike_by_all(bucket: Place, ckptctl: Ckptctl) -> None:
    for name in ODD:
        bucket.put(f"{name}/step_1.pt", torch_zip())
    assert sorted(bucket.open().listing().folders) == sorted(ODD)
    if bucket.kind == "s3-fsspec":
        return  # a process that imports s3fs takes a second
    done = ckptctl(*words("list", bucket.url, bucket.options, "-r", "--json", "--settle", "0s"))
    assert done.code == 0, done.stderr
    assert sorted(run["name"] for run in done.json["runs"]) == sorted(ODD)
    for name in ODD[: 3 if bucket.kind == "s3-obstore" else 1]:
        url = f"{bucket.url}/{name}"
        assert ckptctl(*words("annotate", url, bucket.options)).code == 0
        assert ckptctl(*words("hold", url, bucket.options)).code == 0
        done = ckptctl(*words("list", url, bucket.options, "--json", "--settle", "0s"))
        (run,) = done.json["runs"]
        (one,) = run["checkpoints"]
        assert (run["name"], one["path"]) == (name, f"{url}/step_1.pt")
        assert (one["metrics"], len(one["holds"])) == ({"a": 1}, 1)
    state = bucket.open().listing(".ckptctl")
    assert set(state.folders) <= set(ODD)


def test_a_key_of_full_length_is_read(s3: Place, ckptctl: Ckptctl) -> None:
    room = 1020 - len(s3.url.split("/", 3)[3])  # SeaweedFS takes no more, S3 1024 bytes
    longest = ("k" * 99 + "/") * 9 + "step_3.pt"
    longest = "k" * (room - len(f"run/{longest}/")) + f"/{longest}"
    for key in ("run/step_2.pt", f"run/{longest}"):
        s3.put(key, torch_zip())
    done = ckptctl(*words("list", f"{s3.url}/run", s3.options, "-r", "--json", "--settle", "0s"))
    assert done.code == 0, done.stderr
    names = [c["name"] for run in done.json["runs"] for c in run["checkpoints"]]
    assert sorted(names) == ["step_2", "step_3"]


def test_more_keys_than_allowed_are_refused_by_each_command(s3: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        s3.put(f"run/step_{step}.pt", torch_zip())
    for command in COMMANDS:
        url = f"{s3.url}/run"
        done = ckptctl(*words(command, url, s3.options, "--max-keys", "1"))
        assert done.code == 7, done.stderr
        assert "more than 1 objects" in done.stderr
        assert "--max-keys" in done.stderr.splitlines()[-1]
        assert ckptctl(*words(command, url, s3.options, "--max-keys", "2")).code in {0, 8}


def test_a_bucket_itself_is_a_location(seaweedfs: seaweed.Seaweed, ckptctl: Ckptctl) -> None:
    name = f"whole-{uuid.uuid4().hex[:8]}"
    client = seaweedfs.client()
    client.create_bucket(Bucket=name)
    for step in (1, 2):
        client.put_object(Bucket=name, Key=f"step_{step}.pt", Body=torch_zip())
    options = seaweedfs.options(seaweed.ADMIN)
    for url in (f"s3://{name}", f"S3://{name}//"):
        (run,) = ckptctl(*words("list", url, options, "--json")).json["runs"]
        assert [c["name"] for c in run["checkpoints"]] == ["step_1", "step_2"]
    rules = ("--keep-last", "1", "--settle", "0s")
    done = ckptctl("prune", *words("list", f"s3://{name}", options, *rules)[1:])
    assert done.code == 0, done.stderr
    left = [item["Key"] for item in client.list_objects_v2(Bucket=name)["Contents"]]
    assert [key for key in left if not key.startswith(".ckptctl/")] == ["step_2.pt"]
    client.close()


def test_nothing_is_written_where_a_bucket_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in WRITERS:
        assert ckptctl(*words(command, "s3://My Bucket/run", {})).code == 2
    assert os.listdir(tmp_path) == []
