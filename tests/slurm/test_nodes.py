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
from tests.slurm.cluster import NODES, Cluster
from tests.stores.places import place
from tests.trees import make_tree, read_tree

Tree = dict[str, bytes | str]

LONG = 400_000
"""Bytes of the shard of node2, where it must take a while."""


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
        self._ckptctl = ckptctl

    def ask(self, *arguments: str | Path) -> Done:
        return self._ckptctl(*arguments, env=self.env)

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
        prefix = self.url.partition(f"{BUCKET}/")[2]
        client = self.weed.client()
        try:
            found: list[str] = []
            for below in (f"{prefix}/", f".ckptctl/{prefix}/"):
                listed: Any = client.list_objects_v2(Bucket=BUCKET, Prefix=below)
                found += [each["Key"] for each in listed.get("Contents", ())]
            return found
        finally:
            client.close()

    def read(self, key: str) -> bytes:
        client = self.weed.client()
        try:
            content: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        finally:
            client.close()
        return content

    def ten_minutes_later(self) -> None:
        """Let all locks be as old as those that nobody takes for held any more."""
        client = self.weed.client()
        for key in self.keys():
            if key.endswith(".lock"):
                said = {**json.loads(self.read(key)), "expires_ns": 1}
                client.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(said).encode())
        client.close()


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
    ("shards", "names"),
    [
        (_dcp(), ["step-100"]),
        (_zero(), ["global_step5"]),
        (_ranks(), ["model_step_100_rank0", "model_step_200_rank0"]),
    ],
    ids=["torch-dcp", "deepspeed", "rank files"],
)
def test_a_step_of_three_nodes_publishes_one_whole_checkpoint(
    shards: list[Tree], names: list[str], cluster: Cluster, bucket: Bucket, tmp_path: Path
) -> None:
    run = deal(cluster, bucket.name, shards)
    call = ("-N3", "--ntasks-per-node=1", "ckptctl", "sync", run, bucket.url, "--json")
    done = cluster.srun(*call, env=bucket.env)
    assert done.code == 0, done.stdout + done.stderr
    said = [json.loads(line)["results"] for line in done.stdout.splitlines()]
    made = [r["checkpoint"] for results in said for r in results if r["status"] == "done"]
    assert sorted(set(made) & set(names)) == names
    assert bucket.states() == dict.fromkeys(names, "complete")
    assert bucket.back(tmp_path / "back") == united(shards)
    assert bucket.ask("verify", bucket.url, "--level", "digest").code == 0


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
    notes = [f".ckptctl/{bucket.name}/staging/step-100.parts/{n}.json" for n in range(3)]
    cluster.until(lambda: {*notes} <= {*bucket.keys()}, "all nodes to be at it")
    cluster.until(lambda: _done(bucket, notes) == [True, False, True], "two parts to be there")
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


def _done(bucket: Bucket, notes: list[str]) -> list[bool]:
    return [json.loads(bucket.read(note))["done"] for note in notes]
