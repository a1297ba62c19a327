"""fairseq: epochs, updates, the best of a metric with its tie digits, and the files of all ranks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.fairseq import Fairseq
from ckptctl.model import Kind, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, recognised
from tests.program import Ckptctl
from tests.trees import make_tree, set_age

PT = torch_zip()


@pytest.mark.parametrize(
    ("name", "epoch", "step", "counts", "family"),
    [
        ("checkpoint5", 5, None, Unit.EPOCH, "checkpoint#.pt"),
        ("checkpoint120", 120, None, Unit.EPOCH, "checkpoint#.pt"),
        ("checkpoint_5_1000", 5, 1000, Unit.STEP, "checkpoint_#_#.pt"),
        ("checkpoint_1_98765432109876543210", 1, 98765432109876543210, Unit.STEP, "checkpoint_#_#.pt"),
    ],
)  # fmt: skip
def test_epochs_and_updates(
    tmp_path: Path, name: str, epoch: int, step: int | None, counts: Unit, family: str
) -> None:
    claim = claim_of(Fairseq, tmp_path, {f"{name}.pt": PT})
    assert (claim.kind, claim.name, claim.key_file) == (Kind.FILE, name, f"{name}.pt")
    assert (claim.epoch, claim.step, claim.counts) == (epoch, step, counts)
    assert (claim.family, claim.missing, claim.named) == (family, None, False)


@pytest.mark.parametrize(
    ("tail", "metric", "value"),
    [
        ("loss_2.3007", "loss", 2.300),
        ("loss_2.30012", "loss", 2.300),  # more than ten are kept
        ("loss_-0.1235", "loss", -0.123),
        ("loss_12345.6780", "loss", 12345.678),
        ("bleu_4_31.2509", "bleu_4", 31.250),
        ("val.top5_acc_0.9991", "val.top5_acc", 0.999),
        ("loss_inf3", "loss", math.inf),
        ("loss_-inf3", "loss", -math.inf),
        ("loss_2.30", "loss", 2.30),  # versions before 0.12
    ],
)
def test_the_digits_after_the_third_decimal_are_no_part_of_the_value(
    tmp_path: Path, tail: str, metric: str, value: float
) -> None:
    claim = claim_of(Fairseq, tmp_path, {f"checkpoint.best_{tail}.pt": PT})
    assert claim.metrics == {metric: value}
    assert (claim.step, claim.epoch, claim.counts, claim.named) == (None, None, None, False)
    assert claim.family == f"checkpoint.best_{metric}_#.pt"


def test_a_value_that_is_none(tmp_path: Path) -> None:
    claim = claim_of(Fairseq, tmp_path, {"checkpoint.best_loss_nan3.pt": PT})
    assert math.isnan(claim.metrics["loss"])
    assert claim.family == "checkpoint.best_loss_#.pt"


@pytest.mark.parametrize("name", ["checkpoint_best", "checkpoint_last"])
def test_names_that_are_its_own(tmp_path: Path, name: str) -> None:
    claim = claim_of(Fairseq, tmp_path, {f"{name}.pt": PT})
    assert (claim.named, claim.epoch, claim.step, claim.counts) == (True, None, None, None)


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        ("checkpoint5", "-rank-{}"),
        ("checkpoint_5_1000", "-model_part-{}"),
        ("checkpoint_last", "-shard{}"),
        ("checkpoint.best_loss_2.3007", "-shard{}"),
        ("checkpoint_best", "-model_part-{}"),
    ],
)
def test_the_files_of_all_ranks_are_one(tmp_path: Path, head: str, suffix: str) -> None:
    tree = {f"{head}{suffix.format(rank)}.pt": PT for rank in range(12)}
    claim = claim_of(Fairseq, tmp_path, tree)
    assert (claim.kind, claim.missing) == (Kind.GROUP, None)
    assert claim.members == tuple(sorted(tree))
    assert claim.name == head + suffix.format(0)
    assert claim.key_file == head + suffix.format(0) + ".pt"
    assert claim.family.endswith(suffix.format("#") + ".pt")


def test_model_parts_of_shards_are_a_rectangle(tmp_path: Path) -> None:
    tree = {f"checkpoint3-model_part-{m}-shard{s}.pt": PT for m in range(2) for s in range(3)}
    assert claim_of(Fairseq, tmp_path, tree).missing is None
    (tmp_path / "checkpoint3-model_part-1-shard0.pt").unlink()
    missing = claim_of(Fairseq, tmp_path).missing
    assert missing == "rank 1, rank 0 is not there: its family has 0 to 1, 0 to 2"


@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("suffix", ["-rank-{}", "-model_part-{}", "-shard{}"])
def test_a_rank_that_another_save_has_is_missing(tmp_path: Path, lost: int, suffix: str) -> None:
    tree = {f"checkpoint{e}{suffix.format(rank)}.pt": PT for e in (1, 2) for rank in range(4)}
    del tree[f"checkpoint2{suffix.format(lost)}.pt"]
    claims = {claim.epoch: claim for claim in claims_of(Fairseq, tmp_path, tree).values()}
    assert claims[1].missing is None
    assert claims[2].missing == f"rank {lost} is not there: its family has 0 to 3"


def test_two_shards_without_the_first_are_not_taken_for_parts_that_count_from_one(
    tmp_path: Path,
) -> None:
    claim = claim_of(Fairseq, tmp_path, {"checkpoint1-shard1.pt": PT, "checkpoint1-shard2.pt": PT})
    assert claim.missing == "rank 0 is not there: its family has 0 to 2"


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("checkpoint5.pt.tmp", "checkpoint#.pt"),
        ("checkpoint_5_1000-shard0.pt.tmp", "checkpoint_#_#-shard#.pt"),
        ("checkpoint_last.pt.tmp", "checkpoint_last.pt"),
    ],
)
def test_what_was_not_renamed_is_a_leftover(tmp_path: Path, file: str, family: str) -> None:
    claim = claim_of(Fairseq, tmp_path, {file: PT})
    assert (claim.temporary, claim.members, claim.family) == (True, (file,), family)
    assert claim.missing == "fairseq had not renamed it yet"


@pytest.mark.parametrize(
    "file",
    [
        "crash.pt", "checkpoint.pt", "checkpoint05.pt", "checkpoint_5.pt", "checkpoint_05_1000.pt",
        "checkpoint5.pth", "checkpoint5_old.pt", "checkpoint_best_old.pt", "checkpoint5-shard.pt",
        "checkpoint.best_loss_2.300.pt", "checkpoint.best_loss_2.pt", "checkpoint.best_2.3007.pt",
        "my_checkpoint5.pt", ".checkpoint5.pt", "checkpoint5-shard0-rank-1.pt", "checkpoint5.pt.tmp2",
        "checkpoint_last.pt.bak", "checkpoint5-shard00.pt",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(Fairseq, tmp_path, {file: PT}) == {}


def test_a_dump_of_a_crash_is_nobodys(tmp_path: Path) -> None:
    assert recognised(tmp_path, {"crash.pt": PT, "checkpoint5.pt": PT}) == {
        "checkpoint5": "fairseq"
    }


def test_directories_of_such_numbers_are_other_frameworks(tmp_path: Path) -> None:
    tree: Tree = {
        "checkpoint_5_1000.pt/x.pt": PT,
        "checkpoint_5/x.pt": PT,
        "checkpoint_best.pt": "-> checkpoint5.pt",
    }
    assert claims_of(Fairseq, tmp_path, tree) == {}


@pytest.mark.parametrize("cut", [0, 1, 30, len(PT) - 1])
@pytest.mark.parametrize("rank", [0, 1])
def test_each_file_that_is_cut_off_is_found(tmp_path: Path, rank: int, cut: int) -> None:
    tree: dict[str, bytes] = {f"checkpoint_2_50-rank-{at}.pt": PT for at in range(2)}
    assert findings_of(Fairseq, tmp_path, tree) == []
    file = f"checkpoint_2_50-rank-{rank}.pt"
    findings = findings_of(Fairseq, tmp_path, {**tree, file: PT[:cut]})
    assert [(finding.file, finding.code) for finding in findings] == [(file, "torn")]
    if not cut:
        assert claim_of(Fairseq, tmp_path).missing == f"{file} is empty"


def test_the_best_are_ranked_by_their_value_and_not_by_the_tie_digit(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    names = ["loss_2.3009", "loss_2.3010", "loss_-1.5005", "loss_nan1", "loss_9.0002"]
    run = make_tree(tmp_path / "run", {f"checkpoint.best_{name}.pt": PT for name in names})
    make_tree(run, {"checkpoint_best.pt": PT, "checkpoint_last.pt": PT})
    set_age(run, 7200)
    done = ckptctl("prune", "--keep-best", "2", "--metric", "loss:min", run, "-n", "--json")
    assert done.code == 0, done.stderr
    best = {
        decision["checkpoint"]["name"].removeprefix("checkpoint.best_")
        for decision in done.json["runs"][0]["decisions"]
        if any(reason["rule"] == "best" for reason in decision["reasons"])
    }
    assert best == {"loss_-1.5005", "loss_2.3009"}
    named = {
        decision["checkpoint"]["name"]
        for decision in done.json["runs"][0]["decisions"]
        if any(reason["rule"] == "named" for reason in decision["reasons"])
    }
    assert named == {"checkpoint_best", "checkpoint_last"}
