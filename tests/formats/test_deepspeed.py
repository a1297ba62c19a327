"""DeepSpeed: which tags count, which rank files a tag must have, what its trackers name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import torch_zip
from ckptctl.formats.deepspeed import DeepSpeed
from ckptctl.listing import Folder
from ckptctl.model import Unit
from tests.claims import agrees, claim_of, claims_of, opened, pointers_of
from tests.trees import make_tree

PT = torch_zip()


def zero1(tag: str, dp: int = 2, mp: int = 1, prefix: str = "") -> dict[str, bytes | str]:
    optim = {
        f"{tag}/{prefix}zero_pp_rank_{d}_mp_rank_{m:02d}_optim_states.pt": PT
        for d in range(dp)
        for m in range(mp)
    }
    return {**optim, **{f"{tag}/mp_rank_{m:02d}_model_states.pt": PT for m in range(mp)}}


def zero3(tag: str, dp: int, mp: int) -> dict[str, bytes | str]:
    return {
        f"{tag}/zero_pp_rank_{d}_mp_rank_{m:02d}_{kind}_states.pt": PT
        for kind in ("model", "optim")
        for d in range(dp)
        for m in range(mp)
    }


def test_the_corpus(corpus: Path, truth: Mapping[str, list[dict[str, Any]]]) -> None:
    agrees(DeepSpeed, corpus / "deepspeed-zero1", truth["deepspeed-zero1"])
    assert pointers_of(DeepSpeed, corpus / "deepspeed-zero1") == [Pointer("latest", "my-final-tag")]


@pytest.mark.parametrize("prefix", ["", "bf16_", "fp16_"])
def test_a_whole_one(tmp_path: Path, prefix: str) -> None:
    claim = claim_of(DeepSpeed, tmp_path, zero1("global_step500", 4, 2, prefix))
    assert (claim.step, claim.counts, claim.family) == (500, Unit.STEP, "global_step#")
    assert claim.key_file == "global_step500/mp_rank_00_model_states.pt"
    assert (claim.missing, claim.marker, claim.expects_marker) == (None, None, False)
    assert claim.resumable is True


def test_without_zero_nothing_tells_whether_it_resumes(tmp_path: Path) -> None:
    claim = claim_of(DeepSpeed, tmp_path, zero1("global_step0", 0))
    assert (claim.step, claim.missing, claim.resumable) == (0, None, None)


def test_the_lowest_rank_is_the_key_file(tmp_path: Path) -> None:
    claim = claim_of(DeepSpeed, tmp_path, zero3("global_step5", 12, 1))
    assert claim.key_file == "global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt"
    assert claim.missing is None


def test_only_latest_makes_a_free_tag_a_checkpoint(tmp_path: Path) -> None:
    tree = {**zero1("final"), **zero1("other"), "latest": b"final"}
    claim = claim_of(DeepSpeed, tmp_path, tree)
    assert (claim.name, claim.step, claim.epoch, claim.counts) == ("final", None, None, None)
    assert claim.family == "final"


def test_a_numbered_tag_of_the_users(tmp_path: Path) -> None:
    found = claims_of(DeepSpeed, tmp_path, {**zero1("epoch_3"), **zero1("ckpt-7")})
    assert found["epoch_3"].epoch == 3
    assert found["ckpt-7"].step == 7


@pytest.mark.parametrize(
    "name",
    ["global_step500-best", "global_step500.bak", "global_step500_mine", "exp_12", "run",
     "backup-global_step500", "old_step_5", ".global_step500"],
)  # fmt: skip
def test_copies_and_others_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(DeepSpeed, tmp_path, zero1(name)) == {}


@pytest.mark.parametrize("name", ["best", "best_epoch_3", "best_global_step500"])
def test_a_best_tag_is_a_copy_or_another_programs(tmp_path: Path, name: str) -> None:
    assert claims_of(DeepSpeed, tmp_path, zero1(name)) == {}


def test_a_universal_folder_is_not_claimed(tmp_path: Path) -> None:
    tree = {
        **zero1("global_step5"),
        "global_step5_universal/mp_rank_00_model_states.pt": PT,
        "global_step5_universal/zero/weight/fp32.pt": PT,
        "latest": b"global_step5",
        "latest_universal": b"global_step5_universal",
    }
    assert list(claims_of(DeepSpeed, tmp_path, tree)) == ["global_step5"]
    assert pointers_of(DeepSpeed, tmp_path) == [
        Pointer("latest", "global_step5"),
        Pointer("latest_universal", "global_step5_universal"),
    ]


def test_directories_that_hold_a_tag_are_not_claimed(tmp_path: Path) -> None:
    tree = {**zero1("checkpoint-500/global_step500"), **zero1("step=5.ckpt/checkpoint")}
    assert claims_of(DeepSpeed, tmp_path, tree) == {}


def test_a_verl_directory_is_not_claimed(tmp_path: Path) -> None:
    tree = {"global_step_5/actor/model_world_size_1_rank_0.pt": PT, "global_step_5/data.pt": PT}
    assert claims_of(DeepSpeed, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (
            "zero_pp_rank_3_mp_rank_00_optim_states.pt",
            "no optimizer states of dp rank 3, mp rank 0",
        ),
        ("zero_pp_rank_0_mp_rank_01_model_states.pt", "no model states of dp rank 0, mp rank 1"),
    ],
)
def test_a_hole_in_the_grid(tmp_path: Path, lost: str, words: str) -> None:
    tree = zero3("global_step5", 4, 2)
    del tree[f"global_step5/{lost}"]
    assert claim_of(DeepSpeed, tmp_path, tree).missing == words


def test_an_empty_file(tmp_path: Path) -> None:
    tree = {**zero1("global_step5"), "global_step5/mp_rank_00_model_states.pt": b""}
    assert claim_of(DeepSpeed, tmp_path, tree).missing == "mp_rank_00_model_states.pt is empty"


def test_the_highest_rank_is_lost(tmp_path: Path) -> None:
    tree = {k: v for step in (5, 10, 15) for k, v in zero1(f"global_step{step}", 4).items()}
    del tree["global_step10/zero_pp_rank_3_mp_rank_00_optim_states.pt"]
    found = claims_of(DeepSpeed, tmp_path, {**tree, "latest": b"global_step15"})
    assert found["global_step10"].missing == (
        "no zero_pp_rank_3_mp_rank_00_optim_states.pt, which others of its family have"
    )
    assert found["global_step5"].missing is found["global_step15"].missing is None


def test_the_last_tag_lacks_a_rank_and_latest_does_not_name_it(tmp_path: Path) -> None:
    tree = {**zero1("global_step5", 4), **zero1("global_step10", 3), "latest": b"global_step5"}
    found = claims_of(DeepSpeed, tmp_path, tree)
    assert found["global_step10"].missing is not None
    assert found["global_step5"].missing is None


def test_the_highest_rank_is_lost_of_several_in_a_row(tmp_path: Path) -> None:
    sizes = {5: 4, 10: 4, 15: 3, 20: 3}
    tree = {k: v for step, dp in sizes.items() for k, v in zero1(f"global_step{step}", dp).items()}
    found = claims_of(DeepSpeed, tmp_path, {**tree, "latest": b"global_step10"})
    lost = "no zero_pp_rank_3_mp_rank_00_optim_states.pt, which others of its family have"
    assert [found[f"global_step{step}"].missing for step in sizes] == [None, None, lost, lost]


LATE = "latest, which is written last, names global_step5 and was not updated after it"


@pytest.mark.parametrize(
    ("tag", "latest", "age", "missing"),
    [
        ("global_step10", b"global_step5", 50, LATE),
        ("global_step10", b"global_step5", 150, None),  # a user's rollback
        ("global_step4", b"global_step5", 50, None),
        ("epoch_10", b"global_step5", 50, None),
        ("global_step10", b"best_global_step5", 50, None),
        ("global_step10", b"final", 50, None),
        ("global_step10", b"", 50, None),
        ("global_step10", b"global_step" + b"4" * 5000, 50, None),
    ],
)
def test_a_tag_that_latest_does_not_name_yet(
    tmp_path: Path, tag: str, latest: bytes, age: float, missing: str | None
) -> None:
    make_tree(tmp_path, {**zero1("global_step5"), "latest": latest}, age=100)
    make_tree(tmp_path / "new", zero1(tag), age=age)
    (tmp_path / "new" / tag).rename(tmp_path / tag)
    assert claims_of(DeepSpeed, tmp_path)[tag].missing == missing
    assert claims_of(DeepSpeed, tmp_path)["global_step5"].missing is None


def test_another_precision_or_stage_is_no_loss(tmp_path: Path) -> None:
    tree = {
        **zero1("global_step5"),
        **zero1("global_step10", prefix="bf16_"),
        **zero3("global_step15", 2, 1),
    }
    assert {claim.missing for claim in claims_of(DeepSpeed, tmp_path, tree).values()} == {None}


def test_a_run_that_goes_on_with_fewer_ranks_is_whole(tmp_path: Path) -> None:
    sizes = {5: 8, 10: 8, 15: 4, 20: 4}
    tree = {k: v for step, dp in sizes.items() for k, v in zero1(f"global_step{step}", dp).items()}
    found = claims_of(DeepSpeed, tmp_path, {**tree, "latest": b"global_step20"})
    assert {claim.missing for claim in found.values()} == {None}


def test_pipeline_layers(tmp_path: Path) -> None:
    layers = {f"layer_0{n}-model_states.pt": PT for n in range(3)}
    tree = {
        f"{tag}/{file}": data
        for tag in ("global_step1", "global_step2", "global_step3")
        for file, data in {**layers, "mp_rank_00_model_states.pt": PT}.items()
    }
    del tree["global_step2/layer_01-model_states.pt"]
    found = claims_of(DeepSpeed, tmp_path, {**tree, "latest": b"global_step3"})
    assert found["global_step2"].missing == (
        "no layer_01-model_states.pt, which others of its family have"
    )
    assert found["global_step1"].missing is found["global_step3"].missing is None


def test_experts(tmp_path: Path) -> None:
    tree = zero1("global_step5")
    for expert in range(4):
        tree[f"global_step5/layer_1_expert_{expert}_mp_rank_00_model_states.pt"] = PT
        tree[f"global_step5/expp_rank_{expert}_mp_rank_00_optim_states.pt"] = PT
    assert claim_of(DeepSpeed, tmp_path, tree).missing is None
    (tmp_path / "global_step5/layer_1_expert_2_mp_rank_00_model_states.pt").unlink()
    assert claim_of(DeepSpeed, tmp_path).missing == "no layer_1_expert_2 of mp rank 0"


def test_a_tracker_that_is_none(tmp_path: Path) -> None:
    tree = {**zero1("global_step5"), "latest": b"x" * 70_000, "latest_universal": b"\n"}
    assert pointers_of(DeepSpeed, tmp_path, tree) == []
    assert list(claims_of(DeepSpeed, tmp_path)) == ["global_step5"]


def test_a_named_tag_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, {**zero1("global_step5"), "latest": b"final"})
    with opened(tmp_path) as (folder, store):
        closed = Folder("final", error="Permission denied", forbidden=True)
        seen = replace(folder, folders={**folder.folders, "final": closed})
        with pytest.raises(OSError, match="Permission denied"):
            list(DeepSpeed().find(seen, store))
