"""Looking at checkpoints is no use of them: a site that purges by access time sees none."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ckptctl.stores.local import LocalStore
from tests.program import Ckptctl
from tests.saved import save

DAY = 86400


def read_ago(run: Path, days: float) -> dict[str, int]:
    """Let all files of a run have been read last so long ago; return when."""
    for path in run.iterdir():
        os.utime(path, ns=(time.time_ns() - int(days * DAY * 1e9), path.stat().st_mtime_ns))
    return read_when(run)


def read_when(run: Path) -> dict[str, int]:
    return {path.name: path.stat().st_atime_ns for path in run.iterdir() if path.is_file()}


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="only Linux can read without a trace")
def test_what_is_listed_verified_and_copied_was_not_read(ckptctl: Ckptctl, tmp_path: Path) -> None:
    run = save(tmp_path / "scratch" / "llm", {1: 3.0, 2: 2.0, 3: 1.0})
    before = read_ago(run, 20)
    assert ckptctl("list", run).code == 0
    assert ckptctl("status", run, "--purge-after", "30d").code == 0
    assert ckptctl("verify", run, "--level", "digest", "--record").code == 0
    assert ckptctl("sync", run, tmp_path / "copy").code == 0
    assert ckptctl("prune", run, "--keep-last", "1", "-n").code == 0
    assert read_when(run) == before


def test_a_copy_was_read_now_and_written_when_the_original_was(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "llm", {1: None}, newest_hours_ago=24 * 90)
    began = time.time() - 60
    assert ckptctl("sync", run, tmp_path / "scratch").code == 0
    there = (tmp_path / "scratch" / "step_1.pt").stat()
    assert there.st_mtime_ns == (run / "step_1.pt").stat().st_mtime_ns
    assert there.st_atime > began  # a purge by it would take the copy at once


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop root")
def test_who_is_not_the_owner_can_read_all_the_same(ckptctl: Ckptctl, reachable: Path) -> None:
    run = save(reachable / "llm", {1: 3.0, 2: 2.0})
    done = ckptctl("verify", run, "--level", "digest", "--as-user", "nobody", "--json")
    assert done.code == 0, done.stderr
    assert {each["status"] for each in done.json["results"]} == {"unrecorded"}


def test_the_times_of_files(tmp_path: Path) -> None:
    began = time.time_ns() - 10**9
    for name in ("a/one", "a/two", "b/three"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, ns=(5 * 10**9 + 7, 3 * 10**9 + 1))
    (tmp_path / "link").symlink_to("a")
    store = LocalStore(str(tmp_path))
    paths = ["a/one", "a/gone", "a/two", "gone/too", "link/one", "b/three"]
    found = dict(store.times(paths, birth=True))
    assert list(found) == paths
    assert [path for path, times in found.items() if times is None] == [
        "a/gone", "gone/too", "link/one",
    ]  # fmt: skip
    for times in filter(None, found.values()):
        assert (times.atime_ns, times.mtime_ns) == (5 * 10**9 + 7, 3 * 10**9 + 1)
        assert times.birth_ns is None or began < times.birth_ns < time.time_ns() + 10**9
    (short,) = dict(store.times(["a/one"], birth=False)).values()
    assert short is not None
    assert short.birth_ns is None
    store.close()
