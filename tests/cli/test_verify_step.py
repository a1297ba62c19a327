"""`verify` by the tasks of a SLURM step: each reads its share, and only who knows of all says that it is whole."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.hashing import Hashed, Wanted
from ckptctl.listing import Entry
from ckptctl.manifest import ALGORITHM
from ckptctl.resumption import Resumption
from ckptctl.stores.local import LocalStore
from tests.cli.test_fetch import damage
from tests.cli.test_step_fetch import start, step
from tests.program import Ckptctl, Done
from tests.trees import make_tree

SHARDS, SIZE = 6, 50_000
DCP = {
    "step-100/.metadata": dcp_metadata({f"__{n}_0.distcp": SIZE for n in range(SHARDS)}),
    **{f"step-100/__{n}_0.distcp": random.Random(n).randbytes(SIZE) for n in range(SHARDS)},  # noqa: S311 - no secret
}
FILES = {f"step_{n}.pt": torch_zip() for n in range(1, 9)}
WHOLE = sum(map(len, DCP.values()))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "run", DCP, age=7200)


def verify(ckptctl: Ckptctl, run: Path, task: int | None, *more: str, of: int = 3) -> Done:
    env = {} if task is None else step(task, of)
    return ckptctl("verify", run, "--json", *more, env=env)


def status(done: Done) -> dict[str, str]:
    return {result["name"]: result["status"] for result in done.json["results"]}


def read(done: Done) -> int:
    return sum(result["bytes_read"] for result in done.json["results"])


def notes(run: Path) -> list[str]:
    folder = run.parent / ".ckptctl" / run.name / "verifying"
    return sorted(file.name for file in folder.glob("*"))


def test_each_reads_its_share_and_the_last_records(run: Path, ckptctl: Ckptctl) -> None:
    order, sizes = (2, 0, 1), []
    manifests = run.parent / ".ckptctl/run/manifests"
    for task in order[:2]:
        done = verify(ckptctl, run, task, "--record")
        assert (done.code, status(done)) == (0, {"step-100": "part"})
        assert "parts-missing" in {p["code"] for p in done.json["runs"][0]["problems"]}
        assert not list(manifests.glob("*"))
        sizes.append(read(done))
    done = verify(ckptctl, run, order[2], "--record")
    assert (done.code, status(done)) == (0, {"step-100": "ok"})
    sizes.append(read(done))
    assert sum(sizes) == WHOLE
    assert max(sizes) <= WHOLE / 3 + SIZE
    assert len(list(manifests.glob("*"))) == 1
    assert notes(run) == []
    # A step later finds all of it recorded; one at the digest level reads it anew, divided again.
    assert status(verify(ckptctl, run, 0, "--record")) == {"step-100": "ok"}
    again = [verify(ckptctl, run, task, "--level", "digest") for task in order]
    assert [status(done)["step-100"] for done in again] == ["part", "part", "ok"]
    assert sum(map(read, again)) == WHOLE


def test_many_of_one_file_go_round(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", FILES, age=7200)
    done = [verify(ckptctl, run, task, "--record", of=2) for task in range(2)]
    assert all(0 < read(one) < sum(map(len, FILES.values())) for one in done)
    assert sum(map(read, done)) == sum(map(len, FILES.values()))
    # What was one task's own is judged by it, the rest by the last.
    assert set(status(done[0]).values()) == {"part", "ok"}
    assert set(status(done[1]).values()) == {"ok"}


def test_side_by_side_one_at_least_judges(run: Path) -> None:
    calls = [start("verify", run, "--record", "--json", env=step(task, 3)) for task in range(3)]
    done = [call.communicate(timeout=60) for call in calls]
    assert [call.returncode for call in calls] == [0, 0, 0], done
    assert any('"ok"' in out for out, _ in done), done
    assert len(list((run.parent / ".ckptctl/run/manifests").glob("*"))) == 1


def test_who_begins_later_or_by_a_clock_that_is_ahead_has_handed_in_too(tmp_path: Path) -> None:
    entry = Entry(3, 1)
    for number, now_ns in ((1, 10**18 + 5), (0, 10**18)):
        one = Resumption("digest", now_ns, lambda: LocalStore(str(tmp_path)), (number, 2))
        one.heard(Hashed(f"{number}.pt", entry, {ALGORITHM: "ab"}, 3))
        one.flush()
    known, unsure = one.handed_in([Wanted(f"{number}.pt", entry) for number in range(2)])
    assert (sorted(known), unsure) == (["0.pt", "1.pt"], frozenset())


def test_a_task_that_never_comes_leaves_no_verdict_and_a_later_call_reads_just_the_rest(
    run: Path, ckptctl: Ckptctl
) -> None:
    done = [verify(ckptctl, run, task, "--record") for task in (0, 1)]
    assert {status(one)["step-100"] for one in done} == {"part"}
    # Once more it reads nothing, and still asserts nothing.
    again = verify(ckptctl, run, 0, "--record")
    assert (status(again), read(again)) == ({"step-100": "part"}, 0)
    late = verify(ckptctl, run, None, "--record")
    assert (late.code, status(late)) == (0, {"step-100": "ok"})
    assert read(late) == WHOLE - sum(map(read, done))
    assert notes(run) == []


@pytest.mark.parametrize("finder", [0, 2])
def test_who_finds_damage_ends_with_it_and_so_does_the_last(
    finder: int, run: Path, ckptctl: Ckptctl
) -> None:
    assert ckptctl("verify", run, "--record").code == 0
    damage(run / f"step-100/__{finder}_0.distcp")
    done = [verify(ckptctl, run, task, "--level", "digest") for task in range(3)]
    codes = [one.code for one in done]
    # Once it is found it is recorded, and no share alone clears it.
    assert codes == sorted(codes)
    assert codes[2] == 6
    for one in done:
        assert status(one) == {"step-100": "damaged" if one.code == 6 else "part"}
    (checkpoint,) = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert checkpoint["state"] == "damaged"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_its_reader_is_unsure_of_is_read_again_by_who_judges(
    order: tuple[int, ...], tmp_path: Path, ckptctl: Ckptctl
) -> None:
    content = bytearray(torch_zip())
    content[content.index(b"data/0") + 6 + 2] ^= 1  # a ZIP's own checksum proves nothing
    run = make_tree(tmp_path / "run", {**FILES, "step_1.pt": bytes(content)}, age=7200)
    for task in order:
        done = verify(ckptctl, run, task, "--level", "digest", of=2)
    assert (done.code, set(status(done).values())) == (0, {"unrecorded"})
    assert "crc" in {found["code"] for found in done.json["results"][0]["findings"]}


def test_what_changes_meanwhile_is_not_taken_for_read(run: Path, ckptctl: Ckptctl) -> None:
    for task in (0, 1):
        verify(ckptctl, run, task, "--record")
    for file in (run / "step-100").glob("*.distcp"):
        content = bytearray(file.read_bytes())
        content[7] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(0, file.with_name(".metadata").stat().st_mtime_ns - 1_000_000_000))
    done = verify(ckptctl, run, 2, "--record")
    assert status(done) == {"step-100": "part"}
    for task in (0, 1):
        done = verify(ckptctl, run, task, "--record")
    assert status(done) == {"step-100": "ok"}
    assert ckptctl("verify", run, "--level", "digest", "--reread").code == 0


def test_where_nothing_can_be_handed_in_each_reads_all(run: Path, ckptctl: Ckptctl) -> None:
    make_tree(run.parent, {".ckptctl": "a file", "run/.ckptctl": "another"})
    done = verify(ckptctl, run, 1, "--level", "digest")
    assert (done.code, status(done), read(done)) == (0, {"step-100": "unrecorded"}, WHOLE)


def test_a_nodes_own_disk_is_read_whole(run: Path, ckptctl: Ckptctl) -> None:
    done = verify(ckptctl, run, 1, "--level", "digest", "--part", "0/1")
    assert (status(done), read(done)) == ({"step-100": "unrecorded"}, WHOLE)
    config = run.parent / "tiers.yaml"
    config.write_text(f"version: 1\ntiers: {{nvme: {{url: {run.parent}, per_node: true}}}}\n")
    done = verify(ckptctl, run, 1, "--level", "digest", "-c", str(config))
    assert (status(done), read(done)) == ({"step-100": "unrecorded"}, WHOLE)


def test_shares_can_be_named(run: Path, ckptctl: Ckptctl) -> None:
    done = [verify(ckptctl, run, None, "--record", "--part", f"{number}/2") for number in range(2)]
    assert [status(one)["step-100"] for one in done] == ["part", "ok"]
    for more in (("--part", "2/2"), ("--part", "0/2", "--against", str(run))):
        assert ckptctl("verify", run, *more).code == 2


def test_headers_alone_are_looked_at_by_all(run: Path, ckptctl: Ckptctl) -> None:
    assert status(verify(ckptctl, run, 1)) == {"step-100": "ok"}
    (run / "step-100/__0_0.distcp").unlink()
    assert verify(ckptctl, run, 1).code == 6
    assert not (run.parent / ".ckptctl").exists()
