"""A caller of `sync --part` into a bucket that dies or fails at each request, and comes again alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.cli.test_buckets import options
from tests.faults.moments import Moments
from tests.program import Ckptctl, Done
from tests.stores.places import Place, place
from tests.trees import make_tree

PARTS = tuple(
    {f"update_7/{name}{number}.pt": torch_zip() for name in ("model", "optim")} for number in "ab"
)
"""Of these no name and no file tells how many there are."""


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place("s3-obstore", request)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_the_last_caller_dies_at_each_request(
    how: str, s3: Place, ckptctl: Ckptctl, tmp_path: Path, moments: Moments
) -> None:
    runs = [make_tree(tmp_path / str(number), tree, age=7200) for number, tree in enumerate(PARTS)]

    def call(number: int, to: str, nth: int, how: str = how) -> Done:
        words = ("sync", runs[number], f"{s3.url}/{to}", "--part", f"{number}/2", *options(s3))
        return ckptctl(how, str(nth), *map(str, words), module=("tests.faults.dying_there",))

    assert call(0, "counted", 0).code == 0
    calls = re.search(r"calls=(\d+)", call(1, "counted", 0).stderr)
    assert calls
    for nth in moments(int(calls[1]) + 1, share=("kill", "fail").index(how), shares=2):
        to = f"at{nth}"
        assert call(0, to, 0).code == 0
        call(1, to, nth)
        listed = ckptctl("list", f"{s3.url}/{to}", *options(s3), "--json", "--settle", "0s").json
        for checkpoint in (c for run in listed["runs"] for c in run["checkpoints"]):
            assert checkpoint["state"] != "complete" or len(checkpoint["files"]) == 4, nth
        again = call(1, to, 0)
        assert again.code == 0, (nth, again.stdout, again.stderr)
        there = ckptctl("verify", f"{s3.url}/{to}", *options(s3), "--level", "digest", "--json")
        assert there.code == 0, (nth, again.stdout, there.stdout)
        assert [result["status"] for result in there.json["results"]] == ["ok"], nth
        assert len(s3.open().below(f"{to}/update_7").listing().files) == 4, nth
