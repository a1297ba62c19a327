"""A sync to a bucket that dies or fails at each request: nothing half looks whole there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from tests.cli.test_buckets import options
from tests.faults.moments import Moments
from tests.layouts import EXAMPLES
from tests.program import Ckptctl, Done
from tests.stores.places import Place, place
from tests.trees import make_tree, read_tree, set_age

LARGE = 17 * 2**20
"""Bytes that go in parts."""


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place("s3-obstore", request)


def make_run(root: Path) -> Path:
    """A directory with an index that comes last, a large file with a sidecar, and a tracker."""
    return make_tree(
        root,
        {
            "checkpoint-1/model.safetensors": safetensors("a"),
            "checkpoint-1/optimizer.pt": torch_zip(),
            "checkpoint-1/trainer_state.json": '{"global_step": 1, "log_history": []}',
            "step_2.pt": torch_zip({"data/1": bytes(LARGE)}),
            "step_2.json": '{"loss": 1}',
            "last_checkpoint": "step_2.pt",
        },
        age=7200,
    )


def sync(
    ckptctl: Ckptctl, run: Path, where: Place, to: str, how: str, nth: int, *more: str
) -> Done:
    words = ("sync", run, f"{where.url}/{to}", *options(where), "--json", *more)
    return ckptctl(how, str(nth), *map(str, words), module=("tests.faults.dying_there",))


def keys(where: Place, to: str) -> dict[str, bytes]:
    try:
        store = where.open().below(to)
        return {path: store.read(path, 2**30) for path, _ in store.listing().walk()}
    except FileNotFoundError:
        return {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail", "lose"])
def test_at_every_request(
    s3: Place, ckptctl: Ckptctl, tmp_path: Path, how: str, moments: Moments
) -> None:
    run = make_run(tmp_path / "run")
    here = read_tree(run)
    done = sync(ckptctl, run, s3, "counted", how, 0)
    assert done.code == 0, done.stdout
    assert keys(s3, "counted") == here
    calls = re.search(r"calls=(\d+)", done.stderr)
    assert calls
    assert int(calls[1]) > 12
    for nth in moments(int(calls[1]) + 1):
        to = f"at{nth}"
        died = sync(ckptctl, run, s3, to, how, nth)
        now = keys(s3, to)
        assert now.items() <= here.items(), nth
        if now:
            listed = ckptctl("list", f"{s3.url}/{to}", *options(s3), "--json", "--settle", "0s")
            every = (c for r in listed.json["runs"] for c in r["checkpoints"])
            whole = {file for c in every if c["state"] == "complete" for file in c["files"]}
            assert whole <= now.keys(), nth
            assert ("checkpoint-1/trainer_state.json" in whole) <= (
                "checkpoint-1/optimizer.pt" in now
            )
            assert "last_checkpoint" not in now or "step_2.pt" in whole
        if how != "kill":
            assert (died.code == 0) <= (now == here), (nth, died.stdout, died.stderr)
        dry = ckptctl("sync", run, f"{s3.url}/{to}", *options(s3), "--json", "-n")
        assert dry.code == 0, (nth, dry.stdout, dry.stderr)
        again = sync(ckptctl, run, s3, to, "kill", 0)
        assert again.code == 0, (nth, again.stdout, again.stderr)
        assert keys(s3, to) == here, nth
        assert not list(s3.open().below(to).unfinished()), nth
        left = s3.open().listing(f".ckptctl/{to}")
        assert "staging" not in left.folders, nth


def named(root: Path, age: float, *more: str) -> Path:
    """A trainer's own copy in a directory, under a fixed name that each save takes again."""
    (example,) = {path.partition("/")[0] for path in EXAMPLES["lightning-fsdp"]}
    tree = {p.replace(example, "last.ckpt"): c for p, c in EXAMPLES["lightning-fsdp"].items()}
    return make_tree(root, {**tree, **{f"last.ckpt/{name}": b"1" for name in more}}, age=age)


@pytest.mark.timeout(600)
def test_a_named_directory_is_replaced_whole_wherever_a_call_died(
    s3: Place, ckptctl: Ckptctl, tmp_path: Path, moments: Moments
) -> None:
    older, newer = named(tmp_path / "older", 7200, "more.txt"), named(tmp_path / "newer", 3600)
    (newer / "last.ckpt/meta.pt").write_bytes(torch_zip({"data/9": b"saved anew"}))
    set_age(newer, 3600)
    here = read_tree(newer)
    sync(ckptctl, older, s3, "counted", "kill", 0)
    done = sync(ckptctl, newer, s3, "counted", "kill", 0)
    assert done.code == 0, done.stdout
    assert keys(s3, "counted") == here
    calls = re.search(r"calls=(\d+)", done.stderr)
    assert calls
    for nth in moments(int(calls[1]) + 1):
        to = f"named{nth}"
        sync(ckptctl, older, s3, to, "kill", 0)
        sync(ckptctl, newer, s3, to, "kill", nth)
        listed = ckptctl("list", f"{s3.url}/{to}", *options(s3), "--json", "--settle", "0s")
        every = (c for r in listed.json["runs"] for c in r["checkpoints"])
        now = keys(s3, to)
        if any(c["state"] == "complete" for c in every):
            assert now in (here, read_tree(older)), nth
        else:
            assert here.items() <= waiting(s3, to).items(), nth
        again = sync(ckptctl, newer, s3, to, "kill", 0)
        assert again.code == 0, (nth, again.stdout)
        assert keys(s3, to) == here, nth
        assert not keys(s3, f".ckptctl/{to}/staging"), nth


def waiting(where: Place, to: str) -> dict[str, bytes]:
    """What lies among our own records until it takes the place of another one."""
    found = keys(where, f".ckptctl/{to}/staging")
    return {path.partition("/files/")[2]: content for path, content in found.items()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("how", "share"), [("kill", 0), ("fail", 1)])
def test_one_of_both_is_there_whole_wherever_an_overwrite_died(
    s3: Place, ckptctl: Ckptctl, tmp_path: Path, how: str, share: int, moments: Moments
) -> None:
    older, newer = make_run(tmp_path / "older"), make_run(tmp_path / "newer")
    for path in ("last_checkpoint", "step_2.pt", "step_2.json"):
        (older / path).unlink()
        (newer / path).unlink()
    make_tree(older, {"checkpoint-1/rng_state.pth": b"1"}, age=7200)
    (newer / "checkpoint-1/optimizer.pt").write_bytes(torch_zip({"data/1": b"another"}))
    set_age(newer, 7200)
    old, new = read_tree(older), read_tree(newer)
    sync(ckptctl, older, s3, "counted", "kill", 0)
    done = sync(ckptctl, newer, s3, "counted", how, 0, "--overwrite")
    assert done.code == 0, done.stdout
    assert keys(s3, "counted") == new
    calls = re.search(r"calls=(\d+)", done.stderr)
    assert calls
    for nth in moments(int(calls[1]) + 1, share, 2):
        to = f"over{nth}"
        sync(ckptctl, older, s3, to, "kill", 0)
        sync(ckptctl, newer, s3, to, how, nth, "--overwrite")
        now = keys(s3, to)
        assert now in (old, new) or new.items() <= waiting(s3, to).items(), nth
        again = sync(ckptctl, newer, s3, to, "kill", 0, "--overwrite")
        assert again.code == 0, (nth, again.stdout)
        assert keys(s3, to) == new, nth
        assert not keys(s3, f".ckptctl/{to}/staging"), nth
