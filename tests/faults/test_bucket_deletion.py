"""A prune in a bucket that dies or fails at each request: nothing kept is lost, nothing seen half."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ckptctl.formats._samples import safetensors
from tests.cli.test_buckets import options
from tests.faults.moments import Moments
from tests.program import Ckptctl, Done
from tests.stores.places import Place, place

LAST = ("--keep-last", "1", "--settle", "0s", "-y")
FILES = ("a.safetensors", "b.safetensors")
KEPT = {*(f"step_3/{name}" for name in FILES), "step_3.json", "notes.txt"}
ALL = KEPT | {f"step_{n}/{name}" for n in (1, 2) for name in FILES} | {"step_1.json", "step_2.json"}


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place("s3-obstore", request)


def fill(where: Place, run: str) -> None:
    for step in (1, 2, 3):
        for name in FILES:
            where.put(f"{run}/step_{step}/{name}", safetensors(name))
        where.put(f"{run}/step_{step}.json", b'{"loss": 1}')
    where.put(f"{run}/notes.txt", b"mine")


def keys(where: Place, run: str) -> set[str]:
    return {path for path, _ in where.open().listing(run).walk()}


def state(where: Place, run: str) -> list[str]:
    try:
        return [path for path, _ in where.open().listing(f".ckptctl/{run}").walk()]
    except FileNotFoundError:
        return []


def complete(ckptctl: Ckptctl, where: Place, run: str) -> set[str]:
    done = ckptctl("list", f"{where.url}/{run}", *options(where), "--json", "--settle", "0s")
    (found,) = done.json["runs"]
    return {c["name"] for c in found["checkpoints"] if c["state"] == "complete"}


def prune(ckptctl: Ckptctl, where: Place, run: str, how: str, nth: int, *more: str) -> Done:
    words = ("prune", f"{where.url}/{run}", *options(where), *LAST, *more)
    return ckptctl(how, str(nth), *words, module=("tests.faults.dying_there",))


@pytest.mark.parametrize("how", ["kill", "fail", "lose"])
def test_at_every_request(s3: Place, ckptctl: Ckptctl, how: str, moments: Moments) -> None:
    fill(s3, "counted")
    done = prune(ckptctl, s3, "counted", how, 0)
    assert done.code == 0, done.stderr
    assert keys(s3, "counted") == KEPT
    calls = re.search(r"calls=(\d+)", done.stderr)
    assert calls
    assert int(calls[1]) >= 7
    for nth in moments(int(calls[1]) + 1):
        run = f"at{nth}"
        fill(s3, run)
        died = prune(ckptctl, s3, run, how, nth)
        now = keys(s3, run)
        assert now >= KEPT
        assert now <= ALL
        if now != ALL:  # what has begun to go is seen by nobody as a checkpoint
            whole = {f"step_{n}" for n in (1, 2) if f"step_{n}/{FILES[0]}" in now}
            assert complete(ckptctl, s3, run) == whole | {"step_3"}, nth
        if how != "kill":
            assert (died.code == 0) <= (now == KEPT), (nth, died.stdout, died.stderr)
        again = prune(ckptctl, s3, run, "kill", 0, "--json")
        assert again.code == 0, (nth, again.stdout, again.stderr)
        assert keys(s3, run) == KEPT, nth
        assert set(state(s3, run)) <= {"lock"}, (
            nth
        )  # of the dead: where nothing is left, none is taken


def test_a_grace_at_every_request(s3: Place, ckptctl: Ckptctl, moments: Moments) -> None:
    for nth in moments(13):
        run = f"at{nth}"
        fill(s3, run)
        prune(ckptctl, s3, run, "kill", nth, "--grace", "1d")
        assert keys(s3, run) == ALL
        again = prune(ckptctl, s3, run, "kill", 0, "--grace", "1d")
        assert again.code == 0, (nth, again.stderr)
        assert keys(s3, run) == ALL
        undone = ckptctl("undo", f"{s3.url}/{run}", *options(s3), "--json")
        assert len(undone.json["results"]) == 2, nth
        if nth >= 10:
            purged = ckptctl("purge", f"{s3.url}/{run}", *options(s3), "--all", "--json")
            assert (purged.code, keys(s3, run)) == (0, ALL)  # nothing is scheduled any more
