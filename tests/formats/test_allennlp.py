"""AllenNLP: which states belong together, what a moment lacks, which metrics are its own."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.allennlp import AllenNlp
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.model import Kind, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, opened
from tests.trees import make_tree

PT = torch_zip()


def states(epoch: int, batch: int = 0, ranks: int = 0) -> dict[str, bytes | str]:
    ends = [f"_w{rank}" for rank in range(ranks)] or [""]
    return {
        f"{part}_state_e{epoch}_b{batch}{end}.th": PT
        for part in ("model", "training")
        for end in ends
    }


def metrics_of(root: Path, tree: Tree, name: str) -> dict[str, float]:
    claim = claims_of(AllenNlp, root, tree)[name]
    with opened(root) as (folder, store):
        return dict(AllenNlp().metadata(claim, folder, store).metrics)


def test_two_states_are_one_checkpoint(tmp_path: Path) -> None:
    claim = claim_of(AllenNlp, tmp_path, states(3))
    assert (claim.kind, claim.name, claim.epoch, claim.step) == (
        Kind.GROUP,
        "model_state_e3_b0",
        3,
        None,
    )
    assert (claim.key_file, claim.family) == ("model_state_e3_b0.th", "model_state_e#_b#.th")
    assert claim.members == ("model_state_e3_b0.th", "training_state_e3_b0.th")
    assert (claim.missing, claim.resumable, claim.counts) == (None, True, Unit.EPOCH)
    assert findings_of(AllenNlp, tmp_path) == []


def test_each_rank_has_two_states(tmp_path: Path) -> None:
    claim = claim_of(AllenNlp, tmp_path, states(3, 100, 12))
    assert (claim.key_file, claim.family) == (
        "model_state_e3_b100_w0.th",
        "model_state_e#_b#_w#.th",
    )
    assert (len(claim.members), claim.missing, claim.counts) == (24, None, None)


def test_a_model_without_its_training_state(tmp_path: Path) -> None:
    claim = claim_of(AllenNlp, tmp_path, {"model_state_e3_b0.th": PT})
    assert (claim.kind, claim.missing) == (Kind.FILE, "no training state")
    assert claim.resumable is False


def test_a_training_state_without_its_model(tmp_path: Path) -> None:
    claim = claim_of(AllenNlp, tmp_path, {"training_state_e3_b0.th": PT})
    assert (claim.missing, claim.key_file) == ("no model state", "training_state_e3_b0.th")


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("part", ["model", "training"])
def test_a_rank_that_is_lost(tmp_path: Path, part: str, rank: int) -> None:
    tree = {**states(1, ranks=3), **states(2, ranks=3)}
    del tree[f"{part}_state_e2_b0_w{rank}.th"]
    found = {c.epoch: c.missing for c in claims_of(AllenNlp, tmp_path, tree).values()}
    assert found == {1: None, 2: f"no {part} state of rank {rank}"}


def test_an_enormous_rank_costs_nothing(tmp_path: Path) -> None:
    tree = {f"{part}_state_e1_b0_w{10**40}.th": PT for part in ("model", "training")}
    assert claim_of(AllenNlp, tmp_path, tree).missing == "no model state of rank 0"


def test_copies_of_the_best_belong_to_the_trainer(tmp_path: Path) -> None:
    make_tree(tmp_path, {**states(1), "weights.th": PT, "best_w0.th": PT, "best_w1.th": PT})
    os.link(tmp_path / "model_state_e1_b0.th", tmp_path / "best.th")
    found = claims_of(AllenNlp, tmp_path)
    assert {name: (c.named, c.epoch, c.kind) for name, c in found.items()} == {
        "model_state_e1_b0": (False, 1, Kind.GROUP),
        "best": (True, None, Kind.FILE),
        "best_w0": (True, None, Kind.GROUP),
        "weights": (True, None, Kind.FILE),
    }
    assert {c.missing for c in found.values()} == {None}


def test_a_rank_of_the_best_that_is_lost(tmp_path: Path) -> None:
    tree = {**states(1, ranks=2), "best_w1.th": PT}
    assert claims_of(AllenNlp, tmp_path, tree)["best_w1"].missing == "no model state of rank 0"


def test_weights_alone_are_a_model(tmp_path: Path) -> None:
    make_tree(tmp_path, {"weights.th": PT, "config.json": b"{}"})
    with opened(tmp_path) as (folder, store):
        assert look(folder, store, known_formats()).items == ()


@pytest.mark.parametrize(
    "file",
    [
        "model_state_e1_b0.th.bak", "model_state_e1_b0_best.th", "my_model_state_e1_b0.th",
        "model_state_e1.th", "model_state_epoch_1.th", "model_state_e1_b0.pt", "best_model.th",
        ".model_state_e1_b0.th", "model_state_e1_b0_w.th",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(AllenNlp, tmp_path, {file: PT}) == {}


def test_the_metrics_of_an_epoch_are_counted_from_zero(tmp_path: Path) -> None:
    tree = {
        **states(1), **states(2), **states(2, 50),
        "metrics_epoch_0.json": b'{"epoch": 0, "validation_acc": 0.25, "best_validation_acc": 0.25}',
        "metrics_epoch_1.json": b'{"epoch": 1, "validation_acc": 0.5, "training_loss": NaN,'
        b' "training_duration": "0:01", "training_epochs": 1, "best_epoch": 1}',
        "metrics_epoch_2.json": b'{"validation_acc": 1}',
    }  # fmt: skip
    assert metrics_of(tmp_path, tree, "model_state_e1_b0") == {"validation_acc": 0.25}
    second = metrics_of(tmp_path, {}, "model_state_e2_b0")
    assert math.isnan(second.pop("training_loss"))
    assert second == {"validation_acc": 0.5}
    assert metrics_of(tmp_path, {}, "model_state_e2_b50") == {}


def test_the_untrained_model_has_no_metrics(tmp_path: Path) -> None:
    tree = {**states(0), "metrics_epoch_0.json": b'{"validation_acc": 1}'}
    assert metrics_of(tmp_path, tree, "model_state_e0_b0") == {}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"a": ' + b"[" * 5000])
def test_metrics_that_cannot_be_understood_are_unread(tmp_path: Path, content: bytes) -> None:
    claim = claim_of(AllenNlp, tmp_path, {**states(1), "metrics_epoch_0.json": content})
    with opened(tmp_path) as (folder, store):
        said = AllenNlp().metadata(claim, folder, store)
    assert said.unread is not None
    assert said.unread.startswith("metrics_epoch_0.json cannot be understood")


@pytest.mark.parametrize("path", sorted(states(1, ranks=2)))
def test_every_member_that_is_lost_or_torn_shows(tmp_path: Path, path: str) -> None:
    tree = states(1, ranks=2)
    lost = {other: data for other, data in tree.items() if other != path}
    assert claim_of(AllenNlp, tmp_path / "lost", lost).missing is not None
    empty = claim_of(AllenNlp, tmp_path / "empty", {**tree, path: b""})
    assert empty.missing == f"{path} is empty"
    (finding,) = findings_of(AllenNlp, tmp_path / "cut", {**tree, path: PT[:-9]})
    assert (finding.file, finding.code) == (path, "torn")
