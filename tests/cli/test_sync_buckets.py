"""`ckptctl sync` to, from and between buckets on real servers: what real frameworks wrote survives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.program import Ckptctl, Done
from tests.servers.fake_gcs import FakeGcs
from tests.servers.seaweed import GUEST, Seaweed
from tests.stores.places import place
from tests.trees import read_tree

STATE = ".ckptctl"
SOME = ("lightning-link", "orbax", "torch-dcp")
"""Of the corpus; `pytest --every-moment` takes all of it."""


@pytest.fixture
def env(seaweedfs: Seaweed, gcs: FakeGcs) -> dict[str, str]:
    """Credentials as users have them: in the environment."""
    return {
        "AWS_ENDPOINT_URL": seaweedfs.endpoint,
        "AWS_ACCESS_KEY_ID": GUEST[0],
        "AWS_SECRET_ACCESS_KEY": GUEST[1],
        "AWS_REGION": "us-east-1",
        "STORAGE_EMULATOR_HOST": gcs.endpoint,
    }


@pytest.fixture
def far(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An empty place on S3, and one on GCS."""
    return next(place("s3-obstore", request)).url, next(place("gcs", request)).url


def files(root: Path) -> dict[str, bytes]:
    return {p: c for p, c in read_tree(root).items() if STATE not in p.split("/")}


def statuses(done: Done) -> dict[str, str]:
    return {r["checkpoint"]: r["status"] for r in done.json["results"]}


def times(root: Path, names: set[str]) -> dict[str, int]:
    """Return when files, and directories of which all is a checkpoint's, were written."""
    return {name: (root / name).lstat().st_mtime_ns for name in names}


@pytest.mark.timeout(240)
def test_the_corpus_comes_back_from_two_buckets_as_it_was(
    tmp_path: Path, ckptctl: Ckptctl, corpus: Path, env: dict[str, str], far: tuple[str, str],
    pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    here, near, back = tmp_path / "here", tmp_path / "near", tmp_path / "back"
    every = pytestconfig.getoption("--every-moment")
    for run in corpus.iterdir() if every else map(corpus.joinpath, SOME):
        shutil.copytree(run, here / run.name, symlinks=True)
    for source, destination in ((here, near), (here, far[0]), (far[0], far[1]), (far[1], back)):
        done = ckptctl("sync", "-r", source, destination, "--json", env=env)
        assert done.code == 0, (destination, done.stdout, done.stderr)
    expected, found = files(near), files(back)
    assert found == expected
    assert len(found) > (400 if every else 100)
    trackers = {r["checkpoint"] for r in done.json["results"] if r["action"] == "point"}
    plain = {name for name in found if name.rpartition("/")[2] not in trackers}
    assert times(back, plain) == times(here, plain)
    again = ckptctl("sync", "-r", here, far[0], "--json", env=env)
    assert again.code == 0
    assert sum(r["bytes_sent"] for r in again.json["results"]) == 0
    assert {r["status"] for r in again.json["results"]} <= {"equal", "skipped"}
