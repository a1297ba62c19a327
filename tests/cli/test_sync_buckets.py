"""`ckptctl sync` to, from and between buckets on real servers: what real frameworks wrote survives."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.records import file_name
from ckptctl.stores import open_store
from ckptctl.transfer.notes import note_name
from tests.cli.test_buckets import options
from tests.program import Ckptctl, Done
from tests.servers import faulty
from tests.servers.fake_gcs import FakeGcs
from tests.servers.faulty import Answer, Forward, Request, Rule
from tests.servers.seaweed import GUEST, Seaweed
from tests.stores.places import Place, place
from tests.trees import make_tree, read_tree, set_age

STATE = ".ckptctl"
LARGE = 17 * 2**20
"""Bytes that go in parts."""
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


@pytest.mark.timeout(600)
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


def test_links_and_times_survive_a_verification_in_the_bucket(
    tmp_path: Path, ckptctl: Ckptctl, env: dict[str, str], far: tuple[str, str]
) -> None:
    """No link can be there, so none has gone; and a new manifest still tells of all of them."""
    tree: dict[str, bytes | str] = {
        "step_1/a.pt": torch_zip(),
        "step_1/deep/tokenizer": "-> ../../tokenizer",
    }
    run = make_tree(tmp_path / "run", tree)
    (run / "step_1/b.pt").hardlink_to(run / "step_1/a.pt")
    set_age(run, 7200)
    url = f"{far[0]}/run"
    assert ckptctl("sync", run, url, env=env).code == 0
    checked = ckptctl("verify", url, "--level", "digest", "--json", env=env)
    assert (checked.code, checked.json["results"][0]["findings"]) == (0, [])
    for again in ([], ["--reread"]):
        assert ckptctl("verify", url, "--record", *again, env=env).code == 0
    back = tmp_path / "back"
    assert ckptctl("sync", url, back, env=env).code == 0
    assert files(back) == files(run)
    names = {"step_1", "step_1/a.pt", "step_1/deep", "step_1/deep/tokenizer"}
    assert times(back, names) == times(run, names)
    assert (back / "step_1/a.pt").samefile(back / "step_1/b.pt")


def test_a_name_that_no_object_can_have_is_said_before_anything_is_sent(
    tmp_path: Path, ckptctl: Ckptctl, env: dict[str, str], far: tuple[str, str]
) -> None:
    tree = {"step_1/a.pt": torch_zip(), "step_1/x\udcff.pt": torch_zip(), "step_2.pt": torch_zip()}
    run = make_tree(tmp_path / "run", tree, age=7200)
    for url in far:
        done = ckptctl("sync", run, f"{url}/run", "--json", env=env)
        assert (done.code, statuses(done)) == (5, {"step_1": "failed", "step_2": "done"})
        (error,) = [r["error"] for r in done.json["results"] if r["error"]]
        assert "not UTF-8" in error
        assert [r["bytes_sent"] for r in done.json["results"] if r["error"]] == [0]


@pytest.mark.parametrize("noted", [True, False])
def test_nothing_of_an_older_save_comes_along_with_a_newer_one(
    tmp_path: Path, ckptctl: Ckptctl, env: dict[str, str], far: tuple[str, str], noted: bool
) -> None:
    """A call was killed before its key file came; then the step was saved anew, with a file less."""
    run, url = tmp_path / "run", f"{far[0]}/run"
    make_tree(run, {"step_1/a.pt": torch_zip(), "step_1/b.pt": torch_zip()}, age=7200)
    assert ckptctl("sync", run, url, env=env).code == 0
    store = open_store(url, store_options(env))
    entry = store.stat("step_1/b.pt")
    assert entry is not None
    there = {"seen": [], "there": list(entry.version), "digest": ""}
    note = {
        "schema": "ckptctl/staging",
        "version": 1,
        "path": "step_1",
        "began_ns": time.time_ns(),
        "files": {"step_1/b.pt": there} if noted else {},
    }
    state = open_store(f"{far[0]}/.ckptctl/run", store_options(env))
    state.replace(note_name("step_1"), json.dumps(note).encode())
    state.remove_tree("manifests")
    store.remove_file("step_1/a.pt")
    (run / "step_1/b.pt").unlink()
    set_age(run, 3600)
    done = ckptctl("sync", run, url, "--json", env=env)
    left = {path for path, _ in store.listing().walk()}
    if noted:
        assert done.code == 0, done.stdout
        assert left == {"step_1/a.pt"}
    else:
        assert done.code == 5
        assert "step_1/b.pt" in done.json["results"][0]["error"]
        assert left == {"step_1/b.pt"}


@pytest.mark.parametrize("how", ["renamed", "replaced"])
def test_a_large_file_that_goes_while_it_is_sent_is_not_published(
    tmp_path: Path, ckptctl: Ckptctl, s3: Place, how: str
) -> None:
    run = make_tree(tmp_path / "run", {"step_1.pt": torch_zip({"data/1": bytes(LARGE)})}, age=7200)

    def goes(request: Request, forward: Forward) -> Answer:
        (run / "step_1.pt").rename(run / "other")
        if how == "replaced":
            make_tree(run, {"step_1.pt": torch_zip()}, age=7200)
        return forward(request)

    with faulty.before(s3.port) as proxy:
        proxy.rules.append(Rule(fits="partNumber=2", act=goes, times=1))
        done = ckptctl("sync", run, f"{s3.url}/run", *options(s3.through(proxy)), "--json")
    assert done.code == 5, done.stdout
    assert "saved anew meanwhile" in done.json["results"][0]["error"]
    assert s3.open().stat("run/step_1.pt") is None
    assert not list(s3.open().unfinished())


def store_options(env: dict[str, str]) -> dict[str, object]:
    return {"endpoint_url": env["AWS_ENDPOINT_URL"], "key": GUEST[0], "secret": GUEST[1]}


def test_a_manifest_leaves_nothing_out_of_a_copy(
    tmp_path: Path, ckptctl: Ckptctl, env: dict[str, str], far: tuple[str, str]
) -> None:
    """That a file was only made for its bucket counts where its framework makes such a file there."""
    run, url, back = tmp_path / "run", f"{far[0]}/run", tmp_path / "back"
    make_tree(run, {"step_1/a.pt": torch_zip(), "step_1/b.pt": torch_zip()}, age=7200)
    assert ckptctl("sync", run, url, env=env).code == 0
    state = open_store(f"{far[0]}/.ckptctl/run", store_options(env))
    name = f"manifests/{file_name('step_1')}"
    said = json.loads(state.read(name, 2**20))
    for file in said["files"]:
        file["made"] = file["path"] == "step_1/b.pt"
    state.replace(name, json.dumps(said).encode())
    assert ckptctl("sync", url, back, env=env).code == 0
    assert files(back) == files(run)
