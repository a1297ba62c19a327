"""Lightning's directories: FSDP commits by `meta.pt`, DeepSpeed by `latest`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptctl.formats._base import Format
from ckptctl.formats._samples import torch_zip
from ckptctl.formats.lightning import Lightning
from ckptctl.formats.lightning_dirs import LightningDeepSpeed, LightningFsdp
from ckptctl.model import Claim, Kind
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree

Tree = Mapping[str, bytes]
NAME = "epoch=3-step=1000-val_loss=0.5.ckpt"
FSDP = {
    ".metadata": b"\x80\x02}.",
    "__0_0.distcp": b"x",
    "__1_0.distcp": b"x",
    "meta.pt": torch_zip(),
}
DEEPSPEED = {
    "checkpoint/mp_rank_00_model_states.pt": torch_zip(),
    "checkpoint/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
    "checkpoint/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": torch_zip(),
    "latest": b"checkpoint",
    "zero_to_fp32.py": b"",
}  # fmt: skip


def find(root: Path, kind: type[Format], content: Tree, name: str = NAME) -> list[Claim]:
    make_tree(root, {f"{name}/{path}": data for path, data in content.items()})
    store = LocalStore(str(root))
    found = list(kind().find(store.listing(), store))
    store.close()
    return found


def without(content: Tree, *paths: str) -> dict[str, bytes]:
    return {path: data for path, data in content.items() if path not in paths}


def test_a_whole_fsdp_directory(tmp_path: Path) -> None:
    (claim,) = find(tmp_path, LightningFsdp, FSDP)
    assert (claim.kind, claim.name, claim.step, claim.epoch) == (Kind.DIRECTORY, NAME, 1000, 3)
    assert claim.metrics == {"val_loss": 0.5}
    assert claim.family == "epoch=#-step=#-val_loss=#.ckpt"
    assert claim.key_file == claim.marker == f"{NAME}/meta.pt"
    assert claim.missing is None


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (["meta.pt"], "no meta.pt, which is written last"),
        ([".metadata"], "no .metadata, which is written last"),
        (["__0_0.distcp", "__1_0.distcp"], "no .distcp file"),
        ([".metadata", "__0_0.distcp", "__1_0.distcp"], "no .metadata, which is written last"),
    ],
)
def test_an_fsdp_directory_needs_both_markers(
    tmp_path: Path, gone: list[str], missing: str
) -> None:
    (claim,) = find(tmp_path, LightningFsdp, without(FSDP, *gone))
    assert claim.missing == missing
    assert claim.expects_marker


@pytest.mark.parametrize(
    ("name", "step", "epoch", "named", "family"),
    [
        ("last.ckpt", None, None, True, "last.ckpt"),
        ("last-v1.ckpt", None, None, True, "last.ckpt"),
        ("epoch=3-last.ckpt", None, 3, False, "epoch=#-last.ckpt"),
        ("hpc_ckpt_2.ckpt", 2, None, False, "hpc_ckpt_#.ckpt"),
        ("step_1000.ckpt", 1000, None, False, "step_#.ckpt"),
        ("epoch02-val_loss0.35.ckpt", None, 2, False, "epoch#-val_loss#.ckpt"),
    ],
)
def test_names_of_directories(
    tmp_path: Path, name: str, step: int | None, epoch: int | None, named: bool, family: str
) -> None:
    for kind, content in ((LightningFsdp, FSDP), (LightningDeepSpeed, DEEPSPEED)):
        (claim,) = find(tmp_path / kind.name, kind, content, name)
        assert (claim.step, claim.epoch, claim.named) == (step, epoch, named)
        assert claim.family == family


@pytest.mark.parametrize(
    "name", ["epoch=3", "model.ckpt", "epoch=3-best.ckpt", "step_10-copy.ckpt", ".ckpt"]
)
def test_other_directories_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert find(tmp_path, LightningFsdp, FSDP, name) == []
    assert find(tmp_path, LightningDeepSpeed, DEEPSPEED, name) == []


def test_each_layout_claims_its_own_only(tmp_path: Path) -> None:
    assert find(tmp_path / "a", LightningDeepSpeed, FSDP) == []
    assert find(tmp_path / "b", LightningFsdp, DEEPSPEED) == []
    assert find(tmp_path / "c", Lightning, FSDP) == []
    assert find(tmp_path / "d", LightningFsdp, {"data.bin": b"x"}) == []


def test_a_whole_deepspeed_directory(tmp_path: Path) -> None:
    (claim,) = find(tmp_path, LightningDeepSpeed, DEEPSPEED)
    assert (claim.step, claim.epoch, claim.missing) == (1000, 3, None)
    assert claim.key_file == claim.marker == f"{NAME}/latest"


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("latest", "no latest, which is written last"),
        ("checkpoint/mp_rank_00_model_states.pt", "no model states in checkpoint/"),
        (
            "checkpoint/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
            "no optimizer states of dp rank 0, mp rank 0 in checkpoint/",
        ),
    ],
)
def test_what_a_deepspeed_directory_lacks(tmp_path: Path, gone: str, missing: str) -> None:
    (claim,) = find(tmp_path, LightningDeepSpeed, without(DEEPSPEED, gone))
    assert claim.missing == missing


def test_latest_alone_is_not_whole(tmp_path: Path) -> None:
    (claim,) = find(tmp_path, LightningDeepSpeed, {"latest": b"checkpoint"})
    assert claim.missing == "no states in checkpoint/"


def test_latest_must_name_the_tag(tmp_path: Path) -> None:
    for text, missing in (
        (b"checkpoint\n", None),
        (b"global_step5", "no latest that names checkpoint"),
        (b"", "no latest that names checkpoint"),
    ):
        (claim,) = find(tmp_path, LightningDeepSpeed, {**DEEPSPEED, "latest": text})
        store = LocalStore(str(tmp_path))
        said = LightningDeepSpeed().metadata(claim, store.listing(), store)
        store.close()
        assert said.missing == missing
