"""`ckptctl resolve`: what a job script calls to go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import torch_zip
from tests.cli.test_buckets import options
from tests.layouts import files, like
from tests.program import Ckptctl
from tests.saved import save, touch
from tests.stores.places import Place
from tests.trees import make_tree, read_tree, set_age

TORN = torch_zip()[:-30]


def tiers(tmp_path: Path, *names: str, more: str = "") -> Path:
    """Make directories for tiers, and a configuration that names them in this order."""
    lines = [f"  {name}: {{url: {tmp_path / name}}}" for name in names]
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
    file = tmp_path / "ckptctl.yaml"
    file.write_text("\n".join(["version: 1", "tiers:", *lines, more]) + "\n")
    return file


RESUMED = {
    "accelerate": ("checkpoints", "checkpoint_11"),
    "deepspeed-zero1": ("", "my-final-tag"),
    "hf-trainer": ("", "checkpoint-40"),
    "hf-trainer-torn-optim": ("", "checkpoint-10"),
    "lightning": ("lightning_logs/version_0/checkpoints", "last.ckpt"),
    "lightning-link": ("checkpoints", "epoch=7-step=32-val_loss=0.0600.ckpt"),
    "lightning-torn": ("checkpoints", "last.ckpt"),
    "mmengine-epoch": ("", "epoch_12.pth"),
    "orbax": ("", "1000"),
    "tensorflow": ("tf_ckpts", "ckpt-12.index"),
    "timm": ("", "checkpoint-13.pth.tar"),
    "torch-dcp": ("", "step-6000"),
    "torch-dcp-torn": ("", "step-2000"),
    "torch-plain": ("", "step_10000.pt"),
}  # fmt: skip
"""The run within each directory of the corpus, and from what its framework goes on; Keras keeps nothing to."""


def test_latest_is_what_each_framework_goes_on_from(
    corpus: Path, truth: Mapping[str, list[dict[str, Any]]], ckptctl: Ckptctl
) -> None:
    assert truth.keys() - RESUMED.keys() == {"keras"}
    for directory, (below, name) in RESUMED.items():
        run = corpus / directory / below
        done = ckptctl("resolve", "latest", run)
        assert (done.code, done.stdout) == (0, f"{os.path.normpath(run)}/{name}\n"), done.stderr
        (true,) = [
            one for one in truth[directory]
            if one["main"] == name and os.path.normpath(corpus / one["run"]) == os.path.normpath(run)
        ]  # fmt: skip
        assert true["state"] == "complete"
        torn = [one["name"] for one in truth[directory] if one["state"] != "complete"]
        assert all(f"passed over {one}" in done.stderr for one in torn) or true.get("named")
        assert bool(done.stderr) is bool(torn)
    assert ckptctl("resolve", "latest", corpus / "keras" / "weights").code == 8


def test_what_was_written_this_moment_counts_and_what_is_torn_does_not(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1, 2)))
    make_tree(run, like("hf-trainer", "checkpoint-7"))
    assert ckptctl("resolve", "latest", run).stdout == f"{run}/checkpoint-7\n"
    (run / "checkpoint-7" / "model.safetensors").write_bytes(b"short")
    (run / "step_3.pt").write_bytes(TORN)
    before = read_tree(tmp_path)
    done = ckptctl("resolve", "latest", run)
    assert (done.code, done.stdout) == (0, f"{run}/step_2.pt\n")
    assert "passed over checkpoint-7: " in done.stderr
    assert "passed over step_3: " in done.stderr
    assert read_tree(tmp_path) == before  # it writes nothing
    quiet = ckptctl("resolve", "latest", run, "-q", "-0")
    assert (quiet.stdout, quiet.stderr) == (f"{run}/step_2.pt\0", "")


def test_what_was_found_damaged_is_passed_over(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1, 2)))
    ckptctl("verify", run, "--record")
    content = bytearray((run / "step_2.pt").read_bytes())
    content[40] ^= 1
    was = (run / "step_2.pt").stat()
    (run / "step_2.pt").write_bytes(content)
    os.utime(run / "step_2.pt", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert ckptctl("verify", run, "--level", "digest").code == 6
    done = ckptctl("resolve", "latest", run)
    assert (done.stdout, "passed over step_2: it is damaged" in done.stderr) == (
        f"{run}/step_1.pt\n", True,
    )  # fmt: skip
    assert ckptctl("resolve", "step_2", run).code == 8


def test_a_rollback_is_told(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys((600, 800, 1000)))
    touch([run / "step_600.pt"])
    done = ckptctl("resolve", "latest", run)
    assert done.stdout == f"{run}/step_1000.pt\n"
    assert "step_600 (step 600) was saved after step_1000 (step 1000)" in done.stderr
    assert ckptctl("resolve", "saved", run).stdout == f"{run}/step_600.pt\n"


def test_a_tracker_that_names_a_torn_one_falls_back(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1, 2, 3)))
    make_tree(run, {"latest": "-> step_2.pt"})
    assert ckptctl("resolve", "latest", run).stdout == f"{run}/step_2.pt\n"
    (run / "step_2.pt").write_bytes(TORN)
    done = ckptctl("resolve", "latest", run)
    assert (done.stdout, "passed over step_2" in done.stderr) == (f"{run}/step_3.pt\n", True)


def test_a_step_whose_optimizer_is_torn_is_passed_over(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", files("model_1.pt", "optim_1.pt", "model_2.pt", "optim_2.pt"))
    assert ckptctl("resolve", "latest", run).stdout == f"{run}/model_2.pt\n"
    (run / "optim_2.pt").write_bytes(TORN)
    done = ckptctl("resolve", "latest", run)
    assert (done.stdout, "optim_2 belongs to it" in done.stderr) == (f"{run}/model_1.pt\n", True)
    (run / "model_1.pt").write_bytes(TORN)
    assert ckptctl("resolve", "latest", run).code == 8


def test_the_other_selectors_and_json(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: 9.0, 2: 7.0, 3: 8.0})
    ckptctl("annotate", "step_1", "--tag", "paper", "--in", run)
    for selector, more, step in (
        ("best:val_ppl", (), 2), ("best", ("--metric", "val_ppl:max"), 1), ("step:3", (), 3),
        ("tag:paper", (), 1), ("step_2", (), 2), ("./step_2.pt", (), 2),
    ):  # fmt: skip
        done = ckptctl("resolve", selector, run, *more)
        assert (done.code, done.stdout) == (0, f"{run}/step_{step}.pt\n"), done.stderr
    data = ckptctl("resolve", "best:val_ppl", run, "--json").json
    (result,) = data["results"]
    assert (data["schema"], data["version"], data["problems"]) == ("ckptctl/resolve", 1, [])
    assert (result["path"], result["step"]) == (f"{run}/step_2.pt", 2)
    assert (result["tier"], result["why"]) == (None, "#1 by val_ppl (7)")
    line = ckptctl("resolve", "latest", run, "-o", "jsonl").stdout
    assert json.loads(line)["name"] == "step_3"
    assert ckptctl("resolve", "latest", run, "-o", "csv").stdout.splitlines()[1].startswith(",step_3,3,")  # fmt: skip
    policy = "policies: {p: {metric: val_ppl, keep: [{last: 1}]}}\nruns: [{match: '**', policy: p}]"
    config = tiers(tmp_path, "fast", more=policy)
    assert ckptctl("resolve", "best", run, "-c", config).stdout == f"{run}/step_2.pt\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("latest", "missing"), 7), (("latest", "empty"), 8), (("step:9", "run"), 8), (("alias:x", "run"), 8),
        (("best:acc", "run"), 8), (("best", "run"), 2), (("step:x", "run"), 2), (("latest", "."), 2),
        (("latest", "run/step_1.pt"), 2), (("latest", "run", "--fetch", "run/x"), 2), (("latest", ""), 2),
    ],
)  # fmt: skip
def test_what_fails_prints_nothing(
    arguments: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:  # fmt: skip
    save(tmp_path / "run", dict.fromkeys((1, 2)))
    save(tmp_path / "other", {1: None})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    done = ckptctl("resolve", *arguments)
    assert (done.code, done.stdout) == (code, ""), done.stderr
    assert done.stderr


def test_the_newest_of_all_tiers_is_taken_from_the_fastest_that_has_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path, "fast", "big")
    save(tmp_path / "big" / "a" / "llm", dict.fromkeys((1, 2, 3)))
    save(tmp_path / "fast" / "a" / "llm", {2: None})
    fast, big = (tmp_path / tier / "a" / "llm" for tier in ("fast", "big"))

    def resolved(*arguments: str | Path) -> str:
        done = ckptctl("resolve", "latest", *arguments, "-c", config)
        assert done.code == 0, done.stderr
        return done.stdout.rstrip("\n")

    assert resolved("@fast/a/llm") == resolved("@big") == resolved(fast) == f"{big}/step_3.pt"
    save(fast, {3: None})
    assert resolved("@big/a/llm") == f"{fast}/step_3.pt"
    (fast / "step_3.pt").write_bytes(TORN)
    assert resolved(big) == f"{big}/step_3.pt"  # no older one, although that is faster
    monkeypatch.chdir(tmp_path)
    assert resolved() == f"{big}/step_3.pt"  # the only run that the tiers hold
    save(tmp_path / "own", {9: None})
    assert resolved("own") == f"{tmp_path}/own/step_9.pt"
    monkeypatch.chdir(tmp_path / "own")
    assert resolved() == f"{tmp_path}/own/step_9.pt"
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "big" / "b", {1: None})
    done = ckptctl("resolve", "latest", "-c", config)
    assert (done.code, done.stdout) == (2, "")
    assert "@big/b" in done.stderr
    assert "@fast/a/llm" in done.stderr


def test_a_run_that_no_tier_has_is_8_and_a_tier_that_is_not_there_is_7(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path, "fast", "big")
    big = save(tmp_path / "big" / "llm", {1: None})
    assert ckptctl("resolve", "latest", "@fast/new", "-c", config).code == 8
    (tmp_path / "fast").rmdir()
    for location in ("@fast/llm", "@big/llm", "@big/new"):
        done = ckptctl("resolve", "latest", location, "-c", config)
        assert (done.code, done.stdout) == (7, "")
        assert "--reachable" in done.stderr
    done = ckptctl("resolve", "latest", "@fast/llm", "-c", config, "--reachable", "--json")
    assert done.code == 5
    assert done.json["results"][0]["path"] == f"{big}/step_1.pt"
    assert [problem["code"] for problem in done.json["problems"]] == ["unreadable"]
    assert ckptctl("resolve", "latest", "@fast/new", "-c", config, "--reachable").code == 7


def test_a_run_of_which_something_cannot_be_read_is_7(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: 2.0, 2: 3.0})
    make_tree(tmp_path / ".ckptctl" / "run" / "records", {"x.json": b"from the future"})
    done = ckptctl("resolve", "latest", run)
    assert (done.code, done.stdout) == (7, "")
    assert "something of the run cannot be read" in done.stderr
    done = ckptctl("resolve", "latest", run, "--reachable")
    assert (done.code, done.stdout) == (5, f"{run}/step_2.pt\n")


def test_parts_on_one_node_are_no_checkpoint(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path, "big")
    text = config.read_text().replace("tiers:\n", f"tiers:\n  node: {{url: {tmp_path}/node, per_node: true}}\n")  # fmt: skip
    config.write_text(text)
    save(tmp_path / "node" / "llm", {9: None})
    big = save(tmp_path / "big" / "llm", {1: None})
    done = ckptctl("resolve", "latest", "@node/llm", "-c", config)
    assert (done.code, done.stdout) == (0, f"{big}/step_1.pt\n"), done.stderr


def test_a_bucket_behind_a_disk(tmp_path: Path, s3: Place, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path, "fast")
    said = json.dumps({"url": s3.url, "storage_options": s3.options})
    config.write_text(config.read_text().rstrip("\n") + f"\n  cloud: {said}\n")
    empty = ckptctl("resolve", "latest", "@cloud/llm", "-c", config)
    assert empty.code == 8, empty.stderr
    s3.put("llm/step_5.pt", torch_zip())
    s3.put("llm/step_6.pt", TORN)
    fast = save(tmp_path / "fast" / "llm", {4: None})
    done = ckptctl("resolve", "latest", "@fast/llm", "-c", config)
    assert (done.code, done.stdout) == (0, f"{s3.url}/llm/step_5.pt\n"), done.stderr
    assert "passed over step_6 on cloud" in done.stderr
    alone = ckptctl("resolve", "latest", f"{s3.url}/llm", *options(s3))
    assert alone.stdout == done.stdout
    config.write_text(config.read_text().replace(s3.url, "s3://no-such-bucket-here/x"))
    gone = ckptctl("resolve", "latest", "@fast/llm", "-c", config)
    assert (gone.code, gone.stdout) == (7, "")
    rest = ckptctl("resolve", "latest", "@fast/llm", "-c", config, "--reachable")
    assert (rest.code, rest.stdout) == (5, f"{fast}/step_4.pt\n")


def test_a_recent_marker_older_than_a_file_is_told(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", like("hf-trainer", "checkpoint-1", "checkpoint-2"))
    set_age(run / "checkpoint-2" / "trainer_state.json", 60)
    done = ckptctl("resolve", "latest", run)
    assert (done.code, done.stdout) == (0, f"{run}/checkpoint-2\n")
    assert "is newer than the commit marker" in done.stderr


EXAMPLE = Path(__file__).parents[2] / "examples" / "slurm" / "resume.sbatch"


def test_the_job_script_goes_on_begins_anew_and_stops(tmp_path: Path) -> None:
    """As far as one machine can: what SLURM sets is set, and the training is a command that says what it got."""
    program = tmp_path / "bin" / "ckptctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ckptctl "$@"\n')
    program.chmod(0o755)
    config = tiers(tmp_path, "fast", "big")
    env = {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "CKPTCTL_CONFIG": str(config),
        "PYTHONPATH": str(EXAMPLE.parents[2]), "RUN": "@fast/llm", "TRAIN": "echo train",
    }  # fmt: skip

    def job() -> tuple[int, str]:
        done = subprocess.run(
            ["bash", EXAMPLE], env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    assert job() == (0, "train\n")  # the first time
    big = save(tmp_path / "big" / "llm", dict.fromkeys((1, 2)))
    assert job() == (0, f"train --resume {big}/step_2.pt\n")
    env["FETCH"] = "@fast/llm"  # this node's own disk, which is a tier
    assert job() == (0, f"train --resume {tmp_path}/fast/llm/step_2.pt\n")
    shutil.rmtree(tmp_path / "fast")
    code, said = job()
    assert (code, said) == (7, "")  # rather than to begin anew
