"""A step of three nodes brings a checkpoint back to their disks, and divides a verification."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, torch_zip
from tests.servers import faulty
from tests.servers.seaweed import BUCKET, GUEST, Seaweed
from tests.slurm.cluster import NODES, Cluster
from tests.stores.places import place
from tests.trees import make_tree, read_tree

SHARDS, SIZE = 6, 200_000
DCP = {
    **{f"step-100/__{n}_0.distcp": os.urandom(SIZE) for n in range(SHARDS)},
    "step-100/.metadata": dcp_metadata({f"__{n}_0.distcp": SIZE for n in range(SHARDS)}),
}
HETEROGENEOUS = """#!/bin/bash
#SBATCH -N1 -n1 -o said
#SBATCH hetjob
#SBATCH -N2 -n2
srun --het-group=0,1 ckptctl resolve latest run --fetch "$1" --json
"""


def files(root: Path) -> dict[str, bytes]:
    return {p: c for p, c in read_tree(root).items() if ".ckptctl" not in p.split("/")}


def test_each_node_gets_it_and_the_bucket_is_read_once(
    cluster: Cluster, seaweedfs: Seaweed, request: pytest.FixtureRequest
) -> None:
    there = next(place("s3-obstore", request))
    for path, content in DCP.items():
        there.put(path, content)
    name = there.url.rpartition("/")[2]
    folder = cluster.scratch / f"tiers-{name}"
    with faulty.before(seaweedfs.port) as proxy:
        options = json.dumps({"endpoint_url": proxy.endpoint, "key": GUEST[0], "secret": GUEST[1]})
        text = (
            f"version: 1\ntiers:\n  nvme: {{url: {cluster.local}, per_node: true}}\n"
            f"  scratch: {{url: {folder}}}\n  cloud: {{url: 's3://{BUCKET}', storage_options: {options}}}\n"
        )
        cluster.give(make_tree(folder, {"ckptctl.yaml": text}))
        call = ("ckptctl", "resolve", "latest", f"@scratch/{name}", "--fetch", f"@nvme/{name}")
        done = cluster.srun("-N3", "--ntasks-per-node=1", *call, cwd=folder)
        assert done.code == 0, done.stderr
        assert done.stdout == f"{cluster.local}/{name}/step-100\n" * 3
        for node in NODES:
            assert files(cluster.disk(node) / name) == DCP
        asked = [r.target for r in proxy.seen if r.method == "GET" and "?" not in r.target]
        once = Counter(t.rpartition("/")[2] for t in asked if t.endswith(".distcp"))
        assert once == Counter(f"__{n}_0.distcp" for n in range(SHARDS))
        # What one node needs: its own shards, from the shared file system.
        some = (
            *call[:-1],
            str(cluster.local / "some"),
            "--files",
            "__%n_*",
            "--files",
            ".metadata",
        )
        done = cluster.srun("-N3", "--ntasks-per-node=1", *some, cwd=folder)
        assert done.code == 0, done.stderr
    for number, node in enumerate(NODES):
        names = [".metadata", f"__{number}_0.distcp"]
        assert sorted(files(cluster.disk(node) / "some")) == [f"step-100/{one}" for one in names]


def test_a_heterogeneous_step_takes_one_checkpoint(cluster: Cluster) -> None:
    tree: dict[str, bytes | str] = {"run/step_1.pt": torch_zip(), "het": HETEROGENEOUS}
    folder = cluster.give(make_tree(cluster.scratch / "het-back", tree, age=7200))
    cluster.sbatch("het", cluster.local / "het-back", cwd=folder)
    cluster.settle()
    for node in NODES:
        assert list(files(cluster.disk(node) / "het-back")) == ["step_1.pt"], (folder / "said").read_text()  # fmt: skip
    (step,) = (folder / ".ckptctl/run/resolving").iterdir()
    assert {file.name for file in step.glob("0.?")} == {"0.0", "0.1", "0.2"}


def test_a_verification_is_divided(cluster: Cluster) -> None:
    run = cluster.give(make_tree(cluster.scratch / "divided" / "run", dict(DCP), age=7200))
    done = cluster.srun("-N3", "-n3", "ckptctl", "verify", run, "--record", "--json")
    assert done.code == 0, done.stderr
    results = [json.loads(line)["results"][0] for line in done.stdout.splitlines()]
    assert "ok" in {one["status"] for one in results}
    assert sum(one["bytes_read"] for one in results) == sum(map(len, DCP.values()))
    assert all(one["bytes_read"] for one in results)
