from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.torch_file import TorchFile
from ckptctl.model import Kind, Unit
from ckptctl.stores.local import LocalStore
from ckptctl.units import parse_time
from tests.claims import Tree, claim_of, claims_of, findings_of, pointers_of
from tests.trees import make_tree

PT = torch_zip()


def test_a_loop_that_numbers_its_files(corpus: Path) -> None:
    claims = claims_of(TorchFile, corpus / "torch-plain")
    assert {c.step for c in claims.values() if not c.named} == set(range(1000, 10001, 1000))
    one = claims["step_7000"]
    assert (one.kind, one.members, one.key_file) == (Kind.FILE, ("step_7000.pt",), "step_7000.pt")
    assert (one.family, one.step, one.epoch, one.counts) == ("step_#.pt", 7000, None, Unit.STEP)
    assert (one.format, one.missing, one.resumable) == ("torch-file", None, None)
    assert not one.expects_marker
    assert (claims["best"].named, claims["best"].step) == (True, None)


def test_mmengine(corpus: Path) -> None:
    claims = claims_of(TorchFile, corpus / "mmengine-epoch")
    assert {c.epoch for c in claims.values() if not c.named} == set(range(1, 13))
    best = claims["best_val_mse_epoch_12"]
    assert (best.named, best.step, best.epoch, best.counts) == (True, None, None, None)
    (pointer,) = pointers_of(TorchFile, corpus / "mmengine-epoch")
    assert pointer == ("last_checkpoint", "epoch_12.pth")


@pytest.mark.parametrize(
    ("file", "step", "epoch"),
    [
        ("model_0004999.pth", 4999, None),
        ("epoch12.pt", None, 12),
        ("checkpoint-12.pth.tar", 12, None),
        ("iter_500.bin", 500, None),
        ("ckpt-5.ckpt", 5, None),
        ("snapshot_5.tar", 5, None),
        ("model_state_epoch_3.th", None, 3),
        ("net_epoch=3-step=40.PT", 40, 3),
        ("G_100.pth", 100, None),
    ],
)
def test_names_that_carry_a_number(
    tmp_path: Path, file: str, step: int | None, epoch: int | None
) -> None:
    claim = claim_of(TorchFile, tmp_path, {file: PT})
    assert (claim.step, claim.epoch, claim.named) == (step, epoch, False)


@pytest.mark.parametrize(
    "file",
    [
        "last.pt", "best.pt", "model_final.pth", "model_best.pth", "checkpoint_best.pt",
        "checkpoint_last.pt", "checkpoint_best-rank-0.pt", "last.pth.tar", "model_best.pth.tar",
        "checkpoint.pth", "best.th", "best.ckpt", "best.pth", "latest.pth", "latest.pt", "last.pth",
        "last.ckpt", "last-v1.ckpt", "best_val_acc_iter_500.pth", "best_model.pt",
    ],
)  # fmt: skip
def test_fixed_names_of_trainers(tmp_path: Path, file: str) -> None:
    claim = claim_of(TorchFile, tmp_path, {file: PT})
    assert (claim.named, claim.step, claim.epoch, claim.counts) == (True, None, None, None)


@pytest.mark.parametrize(
    "file",
    [
        "resnet_50.pth", "train_000001.bin", "sample_17.pt", "1000.pt", "vocab.pt", "model.pt",
        "model-00001-of-00004.bin", "2024-01-31.pt", "checkpoint_2024-01-31.pt", "optimizer.bin",
        "exp_12.pt", "fold_1.th", "step_5.txt", "step_5.json", "step_5.pt.tmp", "step_5.pt~",
        "step_5_best.pt", "step_5.bak.pt", "step_5 (copy).pt", "._step_5.pt", ".step_5.pt",
        "step_5.safetensors", "step_5.weights.h5", "step_5.npz", "latest", "last.txt", "pt",
    ],
)  # fmt: skip
def test_other_files_are_none(tmp_path: Path, file: str) -> None:
    assert not claims_of(TorchFile, tmp_path, {file: PT})


def test_links_and_directories_are_none(tmp_path: Path) -> None:
    tree: Tree = {"step_6.pt": "-> elsewhere/step_6.pt", "step_7.pt/data": b"x"}
    assert not claims_of(TorchFile, tmp_path, tree)


def test_rank_files_of_one_step_are_a_group(tmp_path: Path) -> None:
    files = {f"model_step_{step}_rank_{rank}.pt": PT for step in (5, 10) for rank in range(12)}
    claims = claims_of(TorchFile, tmp_path, files)
    assert len(claims) == 2
    one = claims["model_step_10_rank_0"]
    assert one.kind is Kind.GROUP
    assert (one.step, one.key_file) == (10, "model_step_10_rank_0.pt")
    assert one.family == "model_step_#_rank_#.pt"
    assert one.members == tuple(sorted(f"model_step_10_rank_{rank}.pt" for rank in range(12)))
    assert one.missing is None


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_rank_that_another_step_has_is_missing(tmp_path: Path, lost: int) -> None:
    files = {f"step_{step}_rank{rank}.pt": PT for step in (5, 10) for rank in range(4)}
    del files[f"step_10_rank{lost}.pt"]
    claims = claims_of(TorchFile, tmp_path, files)
    assert claims["step_5_rank0"].missing is None
    (torn,) = (claim for claim in claims.values() if claim.step == 10)
    assert torn.missing == f"rank {lost} is not there: its family has 0 to 3"


def test_a_group_of_a_single_file_is_a_file(tmp_path: Path) -> None:
    alone = claims_of(TorchFile, tmp_path / "alone", {"step_5_rank_0.pt": PT})["step_5_rank_0"]
    assert (alone.kind, alone.missing) == (Kind.FILE, None)
    files = {"step_5_rank_1.pt": PT, "step_4_rank_0.pt": PT, "step_4_rank_1.pt": PT}
    torn = claims_of(TorchFile, tmp_path / "torn", files)["step_5_rank_1"]
    assert torn.kind is Kind.FILE
    assert torn.missing == "rank 0 is not there: its family has 0 to 1"


def test_of_several_rank_words_the_whole_rectangle_is_needed(tmp_path: Path) -> None:
    files = {
        f"iter_7_mp_rank_{mp:02}_dp_rank_{dp:02}.pt": PT
        for mp in range(2)
        for dp in range(3)
        if (mp, dp) != (1, 1)
    }
    claim = claim_of(TorchFile, tmp_path, files)
    assert claim.missing == "rank 1, rank 1 is not there: its family has 0 to 1, 0 to 2"
    whole = claim_of(TorchFile, tmp_path, {"iter_7_mp_rank_01_dp_rank_01.pt": PT})
    assert (whole.missing, len(whole.members)) == (None, 6)


def test_shards_are_as_many_as_the_name_says(tmp_path: Path) -> None:
    files = {f"model_1000-{at:05}-of-00003.bin": PT for at in (1, 2, 3)}
    whole = claim_of(TorchFile, tmp_path, files)
    assert (whole.kind, whole.name, whole.missing) == (
        Kind.GROUP,
        "model_1000-00001-of-00003",
        None,
    )
    assert whole.family == "model_#-#.bin"
    (tmp_path / "model_1000-00003-of-00003.bin").unlink()
    assert claim_of(TorchFile, tmp_path).missing == "shard 3 of 3 is not there"


def test_parts_may_count_from_one_but_ranks_do_not(tmp_path: Path) -> None:
    parts = {f"step_5_part_{at}.pt": PT for at in (1, 2)}
    assert claim_of(TorchFile, tmp_path / "parts", parts).missing is None
    ranks = {f"step_5_rank_{at}.pt": PT for at in (1, 2)}
    assert claim_of(TorchFile, tmp_path / "ranks", ranks).missing is not None


def test_enormous_ranks_and_shards_in_a_name_cost_nothing(tmp_path: Path) -> None:
    files = {f"step_5_rank_{10**40}_part_{10**40}.pt": PT, f"step_6-{10**9}-of-{10**40}.pt": PT}
    claims = claims_of(TorchFile, tmp_path, files)
    assert all(claim.missing for claim in claims.values())
    assert len(claims) == 2


def test_what_is_saved_side_by_side_is_several_checkpoints(tmp_path: Path) -> None:
    store = LocalStore(
        str(
            make_tree(
                tmp_path,
                {
                    "model_1000.pt": PT,
                    "model_1000-v1.pt": PT,
                    "optim_1000.pt": PT,
                    "model_1000.pth": PT,
                    "step_1000.pt": PT,
                },
            )
        )
    )
    claims = list(TorchFile().find(store.listing(), store))
    assert {claim.members: (claim.family, claim.step) for claim in claims} == {
        ("model_1000.pt",): ("model_#.pt", 1000),
        ("model_1000-v1.pt",): ("model_#.pt", 1000),
        ("optim_1000.pt",): ("optim_#.pt", 1000),
        ("model_1000.pth",): ("model_#.pth", 1000),
        ("step_1000.pt",): ("step_#.pt", 1000),
    }


def test_an_empty_file_is_not_whole(tmp_path: Path) -> None:
    claims = claims_of(TorchFile, tmp_path, {"step_5.pt": b"", "step_6.pt": PT})
    assert claims["step_5"].missing == "step_5.pt is empty"
    assert claims["step_6"].missing is None


def test_a_name_states_metrics_and_a_time(tmp_path: Path) -> None:
    claim = claim_of(TorchFile, tmp_path, {"step_5_val_loss_0.25_2024-01-31_12-30-45.pt": PT})
    assert claim.metrics == {"val_loss": 0.25}
    assert claim.saved_ns == parse_time("2024-01-31T12:30:45Z")
    assert claim.family == "step_#_val_loss_#_#.pt"


def test_proof(tmp_path: Path) -> None:
    assert not findings_of(TorchFile, tmp_path, {"step_5.pt": PT})
    (finding,) = findings_of(TorchFile, tmp_path, {"step_5.pt": PT[:-10]})
    assert (finding.file, finding.code) == ("step_5.pt", "torn")


@pytest.mark.parametrize(
    ("content", "target"),
    [
        (b"step_5.pt", "step_5.pt"),
        (b"step_5.pt\n", "step_5.pt"),
        (b"/old/machine/run/step_5.pt\n", "step_5.pt"),
        (b"checkpoint-5/", "checkpoint-5"),
        ("größe_step_5.pt".encode(), "größe_step_5.pt"),
        (b"", None),
        (b" \n", None),
        (b"/", None),
        (b"step_5.pt\nstep_6.pt\n", None),
        (b"\x80\x02}q\x00.", None),
        (b"step\x1b[2J", None),
        (b"a" * 70_000, None),
    ],
)
@pytest.mark.parametrize("file", ["latest", "last_checkpoint", "latest_checkpoint.txt", "newest"])
def test_text_files_that_name_a_checkpoint(
    tmp_path: Path, file: str, content: bytes, target: str | None
) -> None:
    found = pointers_of(TorchFile, tmp_path, {file: content, "step_5.pt": PT})
    assert found == ([(file, target)] if target else [])
