"""What real frameworks wrote is listed and pruned as its truth says."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.program import Ckptctl

RUNS = (
    "accelerate", "deepspeed-zero1", "hf-trainer", "hf-trainer-torn-optim", "keras", "lightning",
    "lightning-link", "lightning-torn", "mmengine-epoch", "orbax", "tensorflow", "timm", "torch-dcp",
    "torch-dcp-torn", "torch-plain",
)  # fmt: skip
"""Every run of the corpus."""


@pytest.mark.parametrize("directory", RUNS)
def test_list_agrees_with_the_truth(
    directory: str, corpus: Path, truth: Mapping[str, list[dict[str, Any]]], ckptctl: Ckptctl
) -> None:
    done = ckptctl("list", "-r", corpus / directory, "--json")
    assert done.code == 0, done.stderr
    listed = {c["path"]: c for run in done.json["runs"] for c in run["checkpoints"]}
    expected = {
        f"{corpus}/{c['run']}/{c['main']}": c for c in truth[directory] if not c.get("optional")
    }
    assert listed.keys() == expected.keys()
    for path, true in expected.items():
        seen = listed[path]
        for key in ("name", "kind", "step", "epoch", "state", "family", "bytes"):
            if key not in true:
                continue
            accepted = [true[key], *(true.get("accept") or {}).get(key, [])]
            assert seen[key] in accepted, (path, key)
        assert seen["files"] == sorted(true["files"]), path
        for name, metric in true["metrics"].items():
            if metric["required"] or name in seen["metrics"]:
                value = float(seen["metrics"][name])
                assert math.isclose(
                    value, metric["value"], rel_tol=0, abs_tol=metric["tolerance"]
                ), (path, name)


def test_pointers_of_the_corpus(corpus: Path, ckptctl: Ckptctl) -> None:
    for directory, name, pointer in (
        ("lightning-link", "epoch=7-step=32-val_loss=0.0600", "last.ckpt"),
        ("deepspeed-zero1", "my-final-tag", "latest"),
    ):
        listed = ckptctl("list", "-r", corpus / directory, "--json").json["runs"]
        assert {
            c["name"]: c["pointers"] for r in listed for c in r["checkpoints"] if c["pointers"]
        } == {name: [pointer]}


@pytest.mark.parametrize(
    ("directory", "below", "metric", "kept"),
    [
        ("torch-plain", "", "val_ppl", {"step_8000", "step_9000", "step_10000", "best"}),
        ("hf-trainer", "", "eval_loss", {"checkpoint-30", "checkpoint-35", "checkpoint-40"}),
        (
            "lightning", "lightning_logs/version_0/checkpoints", "val_loss",
            {"epoch=5-step=24-val_loss=0.0774", "epoch=6-step=28-val_loss=0.0485", "epoch=7-step=32-val_loss=0.0600", "last"},
        ),
    ],
)  # fmt: skip
def test_the_prune_of_the_readme_leaves_exactly_the_right_ones(
    directory: str,
    below: str,
    metric: str,
    kept: set[str],
    corpus: Path,
    tmp_path: Path,
    ckptctl: Ckptctl,
) -> None:
    run = tmp_path / "copy" / directory
    shutil.copytree(corpus / directory, run, symlinks=True)
    before = {p.relative_to(run): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    arguments = ("prune", "--keep-last", "3", "--keep-best", "2", "--metric", metric, run / below)
    first = ckptctl(*arguments, "--json")
    assert first.code == 0, first.stderr
    decided = {d["checkpoint"]["name"]: d for d in first.json["runs"][0]["decisions"]}
    assert {name for name, d in decided.items() if d["verdict"] == "keep"} == kept
    gone = {
        f for d in decided.values() if d["verdict"] == "delete" for f in d["checkpoint"]["files"]
    }
    after = {
        p.relative_to(run): p.read_bytes()
        for p in run.rglob("*")
        if p.is_file() and ".ckptctl" not in p.parts
    }
    doomed = {Path(below) / path for path in gone}
    assert after == {path: content for path, content in before.items() if path not in doomed}
    second = ckptctl(*arguments, "--json")
    assert (second.code, second.json["runs"][0]["outcomes"]) == (0, [])
