"""Three nodes with disks of their own make one whole checkpoint in a bucket, and a dead one leaves none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import dcp_metadata, torch_zip
from tests.program import Ckptctl, Done
from tests.servers.seaweed import BUCKET, GUEST, Seaweed
from tests.slurm.cluster import NODES, Cluster, example
from tests.stores.places import place
from tests.trees import make_tree, read_tree

Tree = dict[str, bytes | str]

LONG = 2_000_000
"""Bytes of the shard of node2, where it must take longer than all that the others do."""


def _dcp(long: int = 4096) -> list[Tree]:
    sizes = (4096, long, 4096)
    shards: list[Tree] = [
        {f"step-100/__{n}_0.distcp": os.urandom(size)} for n, size in enumerate(sizes)
    ]
    named = {f"__{n}_0.distcp": size for n, size in enumerate(sizes)}
    shards[0]["step-100/.metadata"] = dcp_metadata(named)
    return shards


def _zero() -> list[Tree]:
    shards: list[Tree] = [
        {f"global_step5/zero_pp_rank_{n}_mp_rank_00_optim_states.pt": torch_zip()} for n in range(3)
    ]
    shards[0] |= {"global_step5/mp_rank_00_model_states.pt": torch_zip(), "latest": "global_step5"}
    return shards


def _ranks() -> list[Tree]:
    return [{f"model_step_{step}_rank{n}.pt": torch_zip() for step in (100, 200)} for n in range(3)]


class Bucket:
    """An empty place in a bucket, and what ckptctl says of it from the login node."""

    def __init__(self, url: str, weed: Seaweed, ckptctl: Ckptctl) -> None:
        self.url = url
        self.weed = weed
        self.env = {
            "AWS_ENDPOINT_URL": weed.endpoint,
            "AWS_ACCESS_KEY_ID": GUEST[0],
            "AWS_SECRET_ACCESS_KEY": GUEST[1],
            "AWS_REGION": "us-east-1",
        }
        self.name = url.rpartition("/")[2]
        self.ckptctl = ckptctl
        self._client = weed.client()

    def ask(self, *arguments: str | Path) -> Done:
        return self.ckptctl(*arguments, env=self.env)

    @property
    def state(self) -> str:
        """Where ckptctl's records of it lie in the bucket."""
        above, _, name = self.url.partition(f"{BUCKET}/")[2].rpartition("/")
        return f"{above}/.ckptctl/{name}".lstrip("/")

    def states(self) -> dict[str, str]:
        """The states of what `list` sees, by name; nothing where there is nothing at all."""
        done = self.ask("list", self.url, "--json", "--settle", "0s")
        return {
            c["name"]: c["state"] for run in done.json.get("runs", ()) for c in run["checkpoints"]
        }

    def back(self, folder: Path) -> dict[str, bytes]:
        """What a copy of it on a disk holds."""
        done = self.ask("sync", self.url, folder)
        assert done.code == 0, done.stderr
        return {p: c for p, c in read_tree(folder).items() if ".ckptctl" not in p.split("/")}

    def keys(self) -> list[str]:
        """The keys of all that lies there, ckptctl's records of it too."""
        found: list[str] = []
        for below in (self.url.partition(f"{BUCKET}/")[2], self.state):
            listed: Any = self._client.list_objects_v2(Bucket=BUCKET, Prefix=f"{below}/")
            found += [each["Key"] for each in listed.get("Contents", ())]
        return found

    def handed_in(self, name: str) -> set[int]:
        """The numbers of the callers whose part of a checkpoint is there."""
        below = f"{self.state}/staging/{name}.parts/"
        notes = [key for key in self.keys() if key.startswith(below) and key.endswith(".json")]
        return {int(Path(key).stem) for key in notes if json.loads(self._read(key))["done"]}

    def ten_minutes_later(self) -> None:
        """Let all locks be as old as those that nobody takes for held any more."""
        for key in self.keys():
            if key.endswith(".lock"):
                said = {**json.loads(self._read(key)), "expires_ns": 1}
                self._client.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(said).encode())

    def _read(self, key: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content


@pytest.fixture
def bucket(
    request: pytest.FixtureRequest, seaweedfs: Seaweed, ckptctl: Ckptctl
) -> Iterator[Bucket]:
    for there in place("s3-obstore", request):
        yield Bucket(there.url, seaweedfs, ckptctl)


def deal(cluster: Cluster, name: str, shards: list[Tree]) -> Path:
    """Give each node its own shards of a run; its path on the nodes."""
    for node, tree in zip(NODES, shards, strict=True):
        cluster.give(make_tree(cluster.disk(node) / name, tree, age=7200))
    return cluster.local / name


def united(shards: list[Tree]) -> dict[str, bytes]:
    whole: Tree = {}
    for tree in shards:
        whole |= tree
    return {path: c.encode() if isinstance(c, str) else c for path, c in whole.items()}


@pytest.mark.parametrize(
    ("shards", "name", "tasks"),
    [(_dcp(), "step-100", 1), (_zero(), "global_step5", 2)],
    ids=["torch-dcp, a task a node", "deepspeed, two tasks a node"],
)
def test_a_step_of_three_nodes_publishes_one_whole_checkpoint(
    shards: list[Tree], name: str, tasks: int, cluster: Cluster, bucket: Bucket, tmp_path: Path
) -> None:
    run = deal(cluster, bucket.name, shards)
    call = ("-N3", f"--ntasks-per-node={tasks}", "ckptctl", "sync", run, bucket.url, "--json")
    done = cluster.srun(*call, env=bucket.env)
    assert done.code == 0, done.stdout + done.stderr
    said = [json.loads(line)["results"] for line in done.stdout.splitlines()]
    made = [r["checkpoint"] for results in said for r in results if r["status"] == "done"]
    assert name in made
    assert bucket.states() == {name: "complete"}
    assert bucket.back(tmp_path / "back") == united(shards)
    assert bucket.ask("verify", bucket.url, "--level", "digest").code == 0


def _tiers(cluster: Cluster, bucket: Bucket) -> str:
    env = bucket.env
    keys = f"key: {env['AWS_ACCESS_KEY_ID']}, secret: {env['AWS_SECRET_ACCESS_KEY']}"
    options = f'{{endpoint_url: "{env["AWS_ENDPOINT_URL"]}", {keys}}}'
    return (
        f"version: 1\ntiers:\n  nvme: {{url: {cluster.local}, per_node: true}}\n"
        f'  cloud: {{url: "s3://{BUCKET}", storage_options: {options}}}\n'
    )


def test_a_tier_of_each_node_is_rid_of_what_is_whole_in_the_bucket(
    cluster: Cluster, bucket: Bucket, tmp_path: Path
) -> None:
    shards = _ranks()
    deal(cluster, bucket.name, shards)
    folder = make_tree(cluster.scratch / bucket.name, {"ckptctl.yaml": _tiers(cluster, bucket)})
    ends = (f"@nvme/{bucket.name}", f"@cloud/{bucket.name}", "--move", "-q")
    call = ("-N3", "--ntasks-per-node=1", "ckptctl", "sync", *ends)
    cluster.give(folder)
    done = cluster.run("salloc", "-N3", "srun", "-N2", "-n2", *call[2:], cwd=folder)
    assert "2 of the job's 3 nodes" in done.stderr
    assert bucket.states() == {}
    for _ in range(2):  # before the last node has come nothing is whole
        done = cluster.srun(*call, cwd=folder)
        assert done.code == 0, done.stdout + done.stderr
    assert bucket.states() == {f"model_step_{n}_rank0": "complete" for n in (100, 200)}
    assert bucket.back(tmp_path / "back") == united(shards)
    left = [p.name for node in NODES for p in (cluster.disk(node) / bucket.name).glob("*.pt")]
    assert left == [f"model_step_200_rank{n}.pt" for n in range(3)]  # the newest


def test_epilogs_at_different_times_publish_it_with_keys_that_only_root_can_read(
    cluster: Cluster, bucket: Bucket, tmp_path: Path
) -> None:
    """Each node's copy runs behind its epilog, when that node comes to it."""
    shards = _zero()
    folder = cluster.give(make_tree(cluster.scratch / bucket.name, {}))
    name = f"{cluster.user}/{cluster.name_of(folder)}"
    deal(cluster, name, shards)
    tiers = tmp_path / "tiers.yaml"
    tiers.write_text(_tiers(cluster, bucket))
    tiers.chmod(0o600)
    late = tmp_path / "ckptctl"
    late.write_text(
        f"#!/bin/sh\n[ $1 = prune ] || until [ -e {tmp_path}/$(hostname) ]; do sleep 0.1; done\n"
        f'exec {cluster.program} "$@"\n'
    )
    late.chmod(0o755)
    cluster.script(
        "epilog",
        example(
            "epilog.sh",
            {
                "ckptctl": late,
                "logs": tmp_path,
                "nvme": cluster.local,
                "to": "@cloud",
                "config": tiers,
            },
        ),
    )
    assert cluster.srun("-N3", "true", cwd=folder).code == 0
    cluster.script("epilog", "#!/bin/sh\nexit 0\n")
    assert cluster.srun("-N3", "-t1", "--immediate=60", "true").code == 0
    there = Bucket(f"s3://{BUCKET}/{name}", bucket.weed, bucket.ckptctl)
    (tmp_path / "node3").touch()
    cluster.until(lambda: there.handed_in("global_step5") == {2}, "the part of node3")
    assert set(there.states().values()) <= {"incomplete"}
    (tmp_path / "node1").touch()
    cluster.until(lambda: there.handed_in("global_step5") == {0, 2}, "the part of node1")
    assert set(there.states().values()) <= {"incomplete"}
    (tmp_path / "node2").touch()
    cluster.until(lambda: "latest" in " ".join(there.keys()), "the pointer")
    assert there.states() == {"global_step5": "complete"}
    assert there.back(tmp_path / "back") == united(shards)
    assert cluster.drained() == ""


HANDED = """#!/bin/sh
echo "${SLURM_RESTART_COUNT-0}" >> begun
srun --ntasks-per-node=1 ckptctl sync "$RUN" "$BUCKET" --lock-wait 10m --bwlimit "$(cat rate)" -q
"""


def test_one_node_that_dies_leaves_nothing_to_be_seen_and_the_requeued_job_completes_it(
    cluster: Cluster, bucket: Bucket, tmp_path: Path
) -> None:
    shards = _dcp(LONG)
    run = deal(cluster, bucket.name, shards)
    folder = cluster.scratch / bucket.name
    make_tree(folder, {"job": HANDED, "rate": "40k"})
    env = {**bucket.env, "RUN": str(run), "BUCKET": bucket.url}
    job = cluster.sbatch("-N3", "--requeue", "job", cwd=cluster.give(folder), env=env)
    begun = f"{bucket.state}/staging/step-100.parts/1.json"
    cluster.until(lambda: begun in [*bucket.keys()], "node2 to be at it")
    cluster.until(lambda: bucket.handed_in("step-100") == {0, 2}, "two parts to be there")
    cluster.die("node2")
    assert set(bucket.states().values()) <= {"incomplete"}
    assert bucket.ask("resolve", "latest", bucket.url).code == 8
    assert bucket.back(tmp_path / "nothing") == {}
    (folder / "rate").write_text("1G")
    bucket.ten_minutes_later()
    cluster.boot("node2")
    cluster.until(lambda: cluster.state(job) == "COMPLETED", "the end of the job")
    assert (folder / "begun").read_text().split() == ["0", "1"]
    assert bucket.states() == {"step-100": "complete"}
    assert bucket.back(tmp_path / "back") == united(shards)
