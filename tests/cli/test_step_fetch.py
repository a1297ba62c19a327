"""`resolve --fetch` by all tasks of a SLURM step: the same checkpoint everywhere, read from the bucket once."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.lock import Lock
from ckptctl.parts.agreeing import Agreement, End, Save
from ckptctl.parts.part import Caller
from ckptctl.stores.local import LocalStore
from tests.cli.test_fetch import TORN, damage
from tests.cli.test_processes import ENV
from tests.cli.test_resolve import tiers
from tests.program import Ckptctl, Done
from tests.saved import save
from tests.servers import faulty
from tests.stores.places import Place
from tests.trees import make_tree, read_tree, set_age

SHARDS = 6
SIZE = 300_000
DCP = {
    **{f"llm/step-100/__{n}_0.distcp": bytes([n]) * SIZE for n in range(SHARDS)},
    "llm/step-100/.metadata": dcp_metadata({f"__{n}_0.distcp": SIZE for n in range(SHARDS)}),
}


def step(task: int, of: int, number: str = "0", restarts: str = "") -> dict[str, str]:
    """What SLURM tells a task of a step."""
    return {
        "SLURM_JOB_ID": "77", "SLURM_STEP_ID": number, "SLURM_PROCID": str(task), "SLURM_NTASKS": str(of),
        "SLURM_STEP_NUM_TASKS": str(of), **({"SLURM_RESTART_COUNT": restarts} if restarts else {}),
    }  # fmt: skip


def start(*words: object, env: dict[str, str]) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "ckptctl", *map(str, words)]
    return subprocess.Popen(
        program, env={**ENV, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cluster:
    """A file system that all nodes see, `scratch`, before a bucket; both are tiers, and so is `nvme`."""

    root: Path
    proxy: faulty.Proxy

    @property
    def config(self) -> Path:
        return self.root / "ckptctl.yaml"

    def words(self, node: int, *more: str) -> tuple[str | Path, ...]:
        where = ("@scratch/llm", "--fetch", self.node(node), "-c", self.config)
        return ("resolve", "latest", *where, *more)

    def node(self, number: int) -> Path:
        return self.root / f"node{number}" / "llm"

    def start(self, node: int, of: int) -> subprocess.Popen[str]:
        return start(*self.words(node), env=step(node, of))

    def payload(self) -> dict[str, int]:
        """How often each shard was asked for whole."""
        asked = [r.target for r in self.proxy.seen if r.method == "GET" and "?" not in r.target]
        names = [target.rpartition("/")[2] for target in asked if target.endswith(".distcp")]
        return {name: names.count(name) for name in sorted(set(names))}


@pytest.fixture
def cluster(tmp_path: Path, s3: Place) -> Iterator[Cluster]:
    for path, content in DCP.items():
        s3.put(path, content)
    with faulty.before(s3.port) as proxy:
        options = json.dumps({**s3.options, "endpoint_url": proxy.endpoint})
        (tmp_path / "scratch").mkdir()
        (tmp_path / "ckptctl.yaml").write_text(
            "version: 1\ntiers:\n"
            f"  nvme: {{url: {tmp_path}/nvme, per_node: true}}\n"
            f"  scratch: {{url: {tmp_path}/scratch}}\n"
            f"  cloud: {{url: '{s3.url}', storage_options: {options}}}\n"
        )
        yield Cluster(tmp_path, proxy)


def fetched(node: Path) -> dict[str, bytes]:
    tree = read_tree(node.parent)
    return {path: content for path, content in tree.items() if ".ckptctl" not in path.split("/")}


def test_all_nodes_get_it_and_the_bucket_is_read_once(cluster: Cluster, ckptctl: Ckptctl) -> None:
    calls = [cluster.start(node, 3) for node in range(3)]
    for node, call in enumerate(calls):
        out, err = call.communicate(timeout=60)
        assert (call.returncode, out) == (0, f"{cluster.node(node)}/step-100\n"), err
        assert err == ""
        assert fetched(cluster.node(node)) == DCP
    once = {f"__{n}_0.distcp": 1 for n in range(SHARDS)}
    assert cluster.payload() == once
    # What comes later is there already: here just the files that one task needs.
    done = ckptctl(*map(str, cluster.words(7, "--files", "__%t_*")), env=step(2, 3, "1"))
    assert (done.code, done.stdout) == (0, f"{cluster.node(7)}/step-100\n"), done.stderr
    assert list(fetched(cluster.node(7))) == ["llm/step-100/__2_0.distcp"]
    assert cluster.payload() == once


def test_a_task_that_dies_is_taken_over_and_one_that_never_came_is_not_waited_for(
    cluster: Cluster,
) -> None:
    cluster.proxy.rule(cluster.proxy.stall(), "^GET [^?]*distcp", times=1)
    dies = cluster.start(0, 3)
    until = time.monotonic() + 60
    while not cluster.payload() and time.monotonic() < until:
        time.sleep(0.02)
    other = cluster.start(1, 3)
    time.sleep(0.3)
    dies.send_signal(signal.SIGKILL)
    dies.communicate()
    out, err = other.communicate(timeout=60)
    assert (other.returncode, out) == (0, f"{cluster.node(1)}/step-100\n"), err
    assert fetched(cluster.node(1)) == DCP
    # The dead one had a share of two files.
    assert sorted(cluster.payload().values())[: SHARDS - 2] == [1] * (SHARDS - 2)


def test_where_it_cannot_be_brought_each_reads_the_bucket(
    cluster: Cluster, ckptctl: Ckptctl
) -> None:
    # Another one has its name there, and is not whole.
    make_tree(cluster.root / "scratch/llm", {"step-100/__0_0.distcp": b"another"}, age=9e5)
    done = ckptctl(*map(str, cluster.words(0)), env=step(0, 2))
    assert (done.code, done.stdout) == (0, f"{cluster.node(0)}/step-100\n"), done.stderr
    assert "was not brought to" in done.stderr
    assert fetched(cluster.node(0)) == DCP


def test_a_command_that_holds_the_run_there_is_not_waited_for_for_ever(cluster: Cluster) -> None:
    state = make_tree(cluster.root / "scratch/.ckptctl/llm", {})
    (cluster.root / "scratch/llm").mkdir()
    lock = Lock(LocalStore(str(state)), time.time_ns)
    lock.acquire()
    program = (
        "import sys\n"
        "from ckptctl.cli import app, step_bring, sync_whole\n"
        "step_bring._PATIENCE_SECONDS, sync_whole._PATIENCE_NS = 0.3, 0\n"
        "app.run(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *cluster.words(0)],
        env={**ENV, **step(0, 2)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lock.release()
    assert (done.returncode, done.stdout) == (0, f"{cluster.node(0)}/step-100\n"), done.stderr
    assert "another command holds its lock there" in done.stderr
    assert fetched(cluster.node(0)) == DCP


def test_without_a_shared_file_system_they_agree_in_the_bucket(
    tmp_path: Path, s3: Place, ckptctl: Ckptctl
) -> None:
    options = [word for key, value in s3.options.items() if key != "engine" for word in ("--storage-option", f"{key}={value}")]  # fmt: skip

    def taken_by(task: int) -> str:
        to = tmp_path / str(task)
        return taken(ckptctl("resolve", "latest", f"{s3.url}/run", "--fetch", to, *options, env=step(task, 2)))  # fmt: skip

    s3.put("run/step_1.pt", torch_zip())
    assert taken_by(0) == "step_1.pt"
    s3.put("run/step_2.pt", torch_zip())
    assert taken_by(1) == "step_1.pt"
    assert taken_by(1) == "step_2.pt"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run on two tiers that are disks."""
    tiers(tmp_path, "fast", "slow")
    return save(tmp_path / "slow" / "llm", {1: 3.0, 2: 2.0, 3: 1.0})


def call(ckptctl: Ckptctl, run: Path, task: int, *more: str, **which: str) -> Done:
    node, config = run.parents[1] / f"node{task}", run.parents[1] / "ckptctl.yaml"
    words = ("resolve", "latest", "@fast/llm", "--fetch", node, "-c", config)
    return ckptctl(*words, *more, env=step(task, 3, **which))


def taken(done: Done) -> str:
    assert done.code == 0, done.stderr
    return Path(done.stdout.strip()).name


def test_all_tasks_of_a_step_take_the_same_one(run: Path, ckptctl: Ckptctl) -> None:
    assert taken(call(ckptctl, run, 0)) == "step_3.pt"
    save(run, {4: 0.5})
    assert taken(call(ckptctl, run, 1)) == "step_3.pt"
    # Whoever comes again, in the same step or a later one, or when the job was requeued, starts anew.
    assert taken(call(ckptctl, run, 0)) == "step_4.pt"
    assert taken(call(ckptctl, run, 2)) == "step_3.pt"
    assert taken(call(ckptctl, run, 2)) == "step_4.pt"
    assert taken(call(ckptctl, run, 1, number="1")) == "step_4.pt"
    save(run, {5: 0.5})
    assert taken(call(ckptctl, run, 0, number="1")) == "step_4.pt"
    assert taken(call(ckptctl, run, 0, number="1", restarts="1")) == "step_5.pt"


@pytest.mark.parametrize("more", [(), ("--files", "__%t_*")])
def test_after_a_requeue_each_node_completes_its_own_part(
    more: tuple[str, ...], tmp_path: Path, ckptctl: Ckptctl
) -> None:
    sizes = {f"__{n}_0.distcp": 9 for n in range(4)}
    tree = {"step-100/.metadata": dcp_metadata(sizes)}
    tree |= {f"step-100/{name}": name[2:3].encode() * 9 for name in sizes}
    run = make_tree(tmp_path / "scratch/llm", tree, age=7200)
    for task in range(2):
        nvme = tmp_path / f"node{task}"
        own = {path: tree[path] for path in tree if path[-10:-9] == str(task + 2)}
        own |= {} if task else {"step-100/.metadata": tree["step-100/.metadata"]}
        make_tree(nvme / "llm", own, age=7200)
        config = nvme / "ckptctl.yaml"
        config.write_text(
            "version: 1\ntiers:\n"
            f"  nvme: {{url: {nvme}, per_node: true}}\n  scratch: {{url: {tmp_path}/scratch}}\n"
        )
        words = ("resolve", "latest", "@nvme/llm", "--fetch", "@nvme/llm", "-c", str(config), *more)
        done = ckptctl(*words, env=step(task, 2))
        assert done.code == 0, done.stderr
        wanted = own | {path: tree[path] for path in tree if path[-10:-9] == str(task)}
        there = fetched(nvme / "llm")
        there.pop("ckptctl.yaml")
        assert there == {f"llm/{path}": text for path, text in (wanted if more else tree).items()}
    assert read_tree(run) == tree


def test_what_one_finds_damaged_all_pass_over_while_nobody_has_it(
    run: Path, ckptctl: Ckptctl
) -> None:
    ckptctl("verify", run, "--record")
    damage(run / "step_3.pt")
    first = call(ckptctl, run, 0)
    assert taken(first) == "step_2.pt"
    assert "step_3" in first.stderr
    assert taken(call(ckptctl, run, 1)) == "step_2.pt"


def test_what_others_have_and_is_gone_now_is_not_replaced_by_another(
    run: Path, ckptctl: Ckptctl
) -> None:
    assert taken(call(ckptctl, run, 0)) == "step_3.pt"
    seen = (run / "step_3.pt").stat()
    (run / "step_3.pt").write_bytes(TORN)
    os.utime(run / "step_3.pt", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    done = call(ckptctl, run, 1)
    assert (done.code, done.stdout) == (5, "")
    assert "other tasks of this step go on from it" in done.stderr
    assert not (run.parents[1] / "node1").exists()
    # A new step starts anew.
    assert taken(call(ckptctl, run, 1, number="1")) == "step_2.pt"


def test_what_one_node_does_not_see_yet_is_waited_for(run: Path, ckptctl: Ckptctl) -> None:
    assert taken(call(ckptctl, run, 0)) == "step_3.pt"
    hidden = run.parents[1] / "hidden"
    (run / "step_3.pt").rename(hidden)
    words = ("resolve", "latest", "@fast/llm", "--fetch", run.parents[1] / "node1", "-c")
    late = start(*words, run.parents[1] / "ckptctl.yaml", env=step(1, 3))
    time.sleep(1)
    assert late.poll() is None
    hidden.rename(run / "step_3.pt")
    out, err = late.communicate(timeout=60)
    assert (late.returncode, out) == (0, f"{run.parents[1]}/node1/step_3.pt\n"), err


def test_that_none_is_whole_is_a_decision_too(run: Path, ckptctl: Ckptctl) -> None:
    kept = {file: file.read_bytes() for file in run.glob("*.pt")}
    for file in kept:
        file.write_bytes(TORN)
    assert call(ckptctl, run, 0).code == 8
    for file, content in kept.items():
        file.write_bytes(content)
    done = call(ckptctl, run, 1)
    assert (done.code, done.stdout) == (8, "")
    assert "task 0 on" in done.stderr
    assert taken(call(ckptctl, run, 1)) == "step_3.pt"


@pytest.mark.parametrize("note", ["0-0.json", "0-0.end"])
def test_what_cannot_be_understood_of_a_decision_is_not_passed_over(
    note: str, run: Path, ckptctl: Ckptctl
) -> None:
    assert taken(call(ckptctl, run, 0)) == "step_3.pt"
    (half,) = (run.parents[1] / "fast/.ckptctl/llm/resolving").glob(f"*/{note}")
    half.write_bytes(b"")  # by one that was killed, where a file system has no hard links
    set_age(half, 60)
    done = call(ckptctl, run, 1)
    assert (done.code, done.stdout) == (7, "")
    assert "cannot agree on a checkpoint" in done.stderr


def test_a_note_that_is_being_written_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    folder = tmp_path / "resolving" / "step"
    naps = []

    def meanwhile(seconds: float) -> None:
        naps.append(seconds)
        half, content = written.pop()
        half.write_bytes(content)

    state = LocalStore(str(tmp_path))
    one, two = (
        Agreement(state, "step", Caller(number, 2), time.time_ns, meanwhile) for number in range(2)
    )
    one.begin()
    two.begin()
    mine, theirs = (Save(member=f"step_{n}", step=n, saved_ns=n) for n in (1, 2))
    decided = one.decide(mine, "the first")
    written = [(folder / "0-0.json", (folder / "0-0.json").read_bytes())]
    (folder / "0-0.json").write_bytes(b"")
    assert two.decide(theirs, "the second") == decided
    assert one.end(End.TAKEN) is End.TAKEN
    written = [(folder / "0-0.end", b"taken")]
    (folder / "0-0.end").write_bytes(b"ta")
    assert two.end(End.LOST) is End.TAKEN
    assert len(naps) == 2


def test_a_place_to_meet_that_one_cannot_see_is_no_place_to_go_without(
    run: Path, ckptctl: Ckptctl
) -> None:
    (run.parents[1] / "fast").rmdir()
    for more in ((), ("--reachable",)):
        done = call(ckptctl, run, 0, *more)
        assert (done.code, done.stdout) == (7, "")


def test_who_may_not_write_where_they_meet_resolves_for_itself_and_says_so(
    run: Path, ckptctl: Ckptctl
) -> None:
    make_tree(run.parents[1] / "fast", {".ckptctl": "a file", "llm/.ckptctl": "another"})
    done = call(ckptctl, run, 0)
    assert taken(done) == "step_3.pt"
    assert "so each resolves for itself" in done.stderr
