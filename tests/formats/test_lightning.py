"""Lightning's file names: every form that ModelCheckpoint can make, and those that only look alike."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.lightning import Lightning
from ckptctl.model import Claim, Kind, Unit
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree


def claims(root: Path, *paths: str) -> dict[str, Claim]:
    make_tree(root, dict.fromkeys(paths, torch_zip()))
    return listed(root)


def listed(root: Path) -> dict[str, Claim]:
    store = LocalStore(str(root))
    found = {claim.members[0]: claim for claim in Lightning().find(store.listing(), store)}
    store.close()
    return found


def unread(root: Path, name: str) -> str | None:
    store = LocalStore(str(root))
    folder = store.listing()
    claim = next(c for c in Lightning().find(folder, store) if c.name == name)
    found = Lightning().metadata(claim, folder, store).unread
    store.close()
    return found


@pytest.mark.parametrize(
    ("stem", "step", "epoch", "metrics", "family"),
    [
        ("epoch=3-step=1000", 1000, 3, {}, "epoch=#-step=#"),
        ("epoch=0-step=0", 0, 0, {}, "epoch=#-step=#"),
        ("epoch=03", None, 3, {}, "epoch=#"),
        ("step=1000.0", 1000, None, {}, "step=#"),
        ("epoch=3-step=1000-v1", 1000, 3, {}, "epoch=#-step=#"),
        ("epoch=3-step=1000-val_loss=0.25", 1000, 3, {"val_loss": 0.25}, "epoch=#-step=#-val_loss=#"),
        (
            "epoch=3-step=1000-val_loss=-1.5e-05-v1", 1000, 3, {"val_loss": -1.5e-05},
            "epoch=#-step=#-val_loss=#",
        ),
        ("epoch=1-val_loss=1e-07", None, 1, {"val_loss": 1e-07}, "epoch=#-val_loss=#"),
        ("epoch=1-a=inf-b=-inf", None, 1, {"a": math.inf, "b": -math.inf}, "epoch=#-a=#-b=#"),
        ("epoch=1-val_loss=0", None, 1, {"val_loss": 0.0}, "epoch=#-val_loss=#"),
        ("epoch=1-acc=1", None, 1, {"acc": 1.0}, "epoch=#-acc=1"),
        ("epoch=1-acc=.5", None, 1, {"acc": 0.5}, "epoch=#-acc=#"),
        ("epoch=3-last", None, 3, {}, "epoch=#-last"),
        ("epoch=3-step=7-last-v2", 7, 3, {}, "epoch=#-step=#-last"),
        ("last-epoch=3", None, 3, {}, "last-epoch=#"),
        ("sample-mnist-epoch=02-val_loss=0.32", None, 2, {"val_loss": 0.32},
         "sample-mnist-epoch=#-val_loss=#"),
        ("resnet_epoch=3-val_loss=0.5", None, 3, {"val_loss": 0.5}, "resnet_epoch=#-val_loss=#"),
        ("resnet50-epoch=3", None, 3, {}, "resnet50-epoch=#"),
        ("epoch=3_step=10", 10, 3, {}, "epoch=#_step=#"),
        ("epoch=3-step=100-best_step=50", 100, 3, {}, "epoch=#-step=#-best_step=#"),
        ("epoch=3-best_acc=0.5", None, 3, {"best_acc": 0.5}, "epoch=#-best_acc=#"),
        ("global_step=12", 12, None, {}, "global_step=#"),
        ("step=12345678901234567890", 12345678901234567890, None, {}, "step=#"),
        ("hpc_ckpt_12", 12, None, {}, "hpc_ckpt_#"),
    ],
)  # fmt: skip
def test_a_name(
    tmp_path: Path,
    stem: str,
    step: int | None,
    epoch: int | None,
    metrics: Mapping[str, float],
    family: str,
) -> None:
    claim = claims(tmp_path, f"{stem}.ckpt")[f"{stem}.ckpt"]
    assert (claim.kind, claim.name, claim.key_file) == (Kind.FILE, stem, f"{stem}.ckpt")
    assert (claim.step, claim.epoch) == (step, epoch)
    assert claim.metrics == metrics
    assert claim.family == f"{family}.ckpt"
    assert not claim.named
    assert claim.missing is None


def test_nan_in_a_name(tmp_path: Path) -> None:
    claim = claims(tmp_path, "epoch=0-step=0-val_loss=nan.ckpt")["epoch=0-step=0-val_loss=nan.ckpt"]
    assert math.isnan(claim.metrics["val_loss"])
    assert claim.family == "epoch=#-step=#-val_loss=#.ckpt"
    assert claim.zeros == frozenset()


@pytest.mark.parametrize(
    ("text", "suspect"), [("0", True), ("0.00", True), ("-0.00", False), ("0.01", False)]
)
def test_a_metric_that_was_not_logged_is_written_as_0(
    tmp_path: Path, text: str, suspect: bool
) -> None:
    claim = claims(tmp_path, f"epoch=1-loss={text}.ckpt")[f"epoch=1-loss={text}.ckpt"]
    assert claim.zeros == (frozenset({"loss"}) if suspect else frozenset())


@pytest.mark.parametrize("stem", ["last", "last-v1", "last-v12", "on_exception"])
def test_fixed_names_belong_to_the_trainer(tmp_path: Path, stem: str) -> None:
    claim = claims(tmp_path, f"{stem}.ckpt")[f"{stem}.ckpt"]
    assert claim.named
    assert (claim.step, claim.epoch, claim.counts, claim.metrics) == (None, None, None, {})
    assert claim.family == f"{stem.partition('-v')[0]}.ckpt"


@pytest.mark.parametrize(
    "file",
    [
        "step_1000.ckpt", "model.ckpt", "best.ckpt", "last.pt", "last-best.ckpt", "lastly.ckpt",
        "epoch=3.pt", "epoch=3.ckpt.bak", "epoch=3-step=7-best.ckpt", "epoch=3 (copy).ckpt",
        "epoch=3~.ckpt", "epoch=x.ckpt", "epoch=.ckpt", "epochs.ckpt", "lr=0.1.ckpt", ".ckpt",
        "hpc_ckpt_.ckpt", "epoch=3.5.ckpt", "epoch=3\n.ckpt", "last\n.ckpt",
        "gpt--val_loss=1.20-step=100.ckpt", os.fsdecode(b"epoch=\xff3.ckpt"),
    ],
)  # fmt: skip
def test_other_files_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims(tmp_path, file) == {}


def test_strange_names_crash_nothing(tmp_path: Path) -> None:
    odd = os.fsdecode(b"m\xff\ny-epoch=3.ckpt")
    assert claims(tmp_path, odd)[odd].epoch == 3


def test_a_linked_last_is_no_checkpoint(tmp_path: Path) -> None:
    make_tree(tmp_path, {"epoch=1.ckpt": torch_zip(), "last.ckpt": "-> epoch=1.ckpt"})
    assert list(listed(tmp_path)) == ["epoch=1.ckpt"]


def test_logs_are_joined_by_epoch_else_by_the_step_before(tmp_path: Path) -> None:
    found = claims(tmp_path, "epoch=1-step=8.ckpt", "step=8.ckpt", "hpc_ckpt_8.ckpt")
    assert (found["epoch=1-step=8.ckpt"].counts, found["epoch=1-step=8.ckpt"].log_offset) == (
        Unit.EPOCH,
        0,
    )
    assert (found["step=8.ckpt"].counts, found["step=8.ckpt"].log_offset) == (Unit.STEP, -1)
    assert found["hpc_ckpt_8.ckpt"].counts is None


def test_a_slash_in_a_metric_makes_a_directory(tmp_path: Path) -> None:
    claim = claims(tmp_path, "epoch=1-val/loss=0.5.ckpt")["epoch=1-val"]
    assert (claim.kind, claim.name, claim.epoch) == (Kind.DIRECTORY, "epoch=1-val", 1)
    assert claim.metrics == {"val/loss": 0.5}
    assert claim.family == "epoch=#-val"
    assert claim.key_file == "epoch=1-val/loss=0.5.ckpt"
    assert unread(tmp_path, "epoch=1-val") is None


def test_two_slashes_and_a_step_within(tmp_path: Path) -> None:
    path = "epoch=1-val/loss=0.5-step=70-val/acc=0.25-v1.ckpt"
    claim = claims(tmp_path, path)["epoch=1-val"]
    assert (claim.epoch, claim.step) == (1, 70)
    assert claim.metrics == {"val/loss": 0.5, "val/acc": 0.25}


def test_two_values_in_one_directory_cannot_be_ranked(tmp_path: Path) -> None:
    found = claims(tmp_path, "epoch=1-val/loss=0.5.ckpt", "epoch=1-val/loss=0.25.ckpt")
    assert found["epoch=1-val"].metrics == {}
    assert unread(tmp_path, "epoch=1-val") is not None


@pytest.mark.parametrize(
    "paths",
    [
        ("epoch=1-val/loss=0.5-step=7.ckpt", "epoch=1-val/loss=0.4-step=9.ckpt"),  # a run
        ("epoch=1-val/loss=0.5.ckpt", "epoch=1-val/notes.txt"),
        ("epoch=1-val/model.pt",),
        ("epoch=1-val/model.ckpt",),
        ("exp=1-val/loss=0.5.ckpt",),
        ("epoch=1/loss=0.5.ckpt",),
    ],
)
def test_other_directories_are_not_claimed(tmp_path: Path, paths: tuple[str, ...]) -> None:
    assert claims(tmp_path, *paths) == {}


@pytest.mark.parametrize("run", ["lightning", "lightning-link", "lightning-torn"])
def test_the_corpus_agrees(
    corpus: Path, truth: Mapping[str, list[dict[str, object]]], run: str
) -> None:
    wanted = {str(one["main"]): one for one in truth[run]}
    found = listed(corpus / str(truth[run][0]["run"]))
    assert sorted(found) == sorted(wanted)
    for file, one in wanted.items():
        claim = found[file]
        assert (claim.name, claim.kind, claim.step, claim.epoch) == (
            one["name"], one["kind"], one["step"], one["epoch"],
        )  # fmt: skip
        assert claim.family == one.get("family", "last.ckpt")
        assert claim.members == (file,)
        assert claim.named is bool(one.get("named", False))
        metrics = one["metrics"]
        assert isinstance(metrics, dict)
        for name, value in claim.metrics.items():
            assert value == pytest.approx(metrics[name]["value"], abs=metrics[name]["tolerance"])
        if not claim.named:
            assert set(claim.metrics) == {"val_loss"}
