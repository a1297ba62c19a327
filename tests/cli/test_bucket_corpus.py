"""The runs that real frameworks wrote mean in a bucket what they mean on a disk, command by command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_buckets import call, upload
from tests.program import Ckptctl, Done
from tests.stores.places import Place

RUNS = (
    "accelerate", "deepspeed-zero1", "hf-trainer", "hf-trainer-torn-optim", "keras", "lightning", "lightning-torn",
    "mmengine-epoch", "orbax", "tensorflow", "timm", "torch-dcp", "torch-dcp-torn", "torch-plain",
)  # fmt: skip
"""All of the corpus but `lightning-link`, whose link no bucket can hold."""
CASES = [
    *(("s3-obstore", run) for run in RUNS),
    ("s3-fsspec", "torch-plain"), ("gcs", "hf-trainer"), ("gcs", "torch-dcp"), ("gcs", "lightning-torn"),
]  # fmt: skip
SAME = ("name", "format", "kind", "family", "step", "epoch", "files", "metrics", "tags")


def listed(done: Done) -> list[list[Any]]:
    assert done.code == 0, done.stderr
    every = [c for run in done.json["runs"] for c in run["checkpoints"]]
    return sorted([c[key] for key in (*SAME, "state", "resumable")] for c in every)


def verified(done: Done) -> tuple[int, list[tuple[str, str]]]:
    return done.code, sorted((r["name"], r["status"]) for r in done.json["results"])


def decided(done: Done) -> list[tuple[str, str, list[str]]]:
    return sorted(
        (d["checkpoint"]["name"], d["verdict"], [r["rule"] for r in d["reasons"]])
        for run in done.json["runs"]
        for d in run["decisions"]
    )


def outcomes(done: Done) -> list[tuple[str, str, str]]:
    return sorted(
        (o["checkpoint"], o["action"], o["status"])
        for run in done.json["runs"]
        for o in run["outcomes"]
    )


@pytest.mark.sampled
@pytest.mark.parametrize(("bucket", "directory"), CASES, indirect=["bucket"])
def test_a_run_is_listed_verified_decided_and_pruned_as_on_a_disk(
    directory: str, corpus: Path, bucket: Place, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    copy = tmp_path / directory
    shutil.copytree(corpus / directory, copy, symlinks=True)
    upload(copy, bucket)

    def both(command: str, *more: str) -> tuple[Done, Done]:
        flags = ("-r", "--json", *more)
        on_disk = ckptctl(command, copy, *flags, "--settle", "0s")
        return on_disk, call(ckptctl, command, bucket, *flags)

    here, there = both("list")
    assert listed(there) == listed(here)
    here, there = both("verify")
    assert verified(there) == verified(here)
    here, there = both("prune", "--keep-last", "1", "--keep-every", "300", "-y")
    assert there.code == here.code, there.stderr
    assert (decided(there), outcomes(there)) == (decided(here), outcomes(here))
    left = {
        os.path.relpath(os.path.join(top, name), copy)
        for top, _, names in os.walk(copy)
        for name in names
        if ".ckptctl" not in top
    }
    assert {key for key, _ in bucket.open().listing().walk()} == left
