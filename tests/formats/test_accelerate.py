"""accelerate: which directories `save_state` wrote, and what of one is not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from ckptctl.formats.accelerate import Accelerate
from ckptctl.formats.hf_trainer import HfTrainer
from ckptctl.model import Unit
from tests.claims import Tree, agrees, claim_of, claims_of, findings_of, metadata_of


def saved(name: str, more: Tree | None = None, *, ranks: int = 1) -> dict[str, bytes | str]:
    """Return what `save_state` wrote for one model and one optimizer."""
    states = {f"random_states_{rank}.pkl": torch_zip() for rank in range(ranks)}
    files: dict[str, bytes | str] = {
        "model.safetensors": safetensors(),
        "optimizer.bin": torch_zip(),
        "scheduler.bin": torch_zip(),
        **states,
        **(more or {}),
    }
    return {f"{name}/{file}": content for file, content in files.items()}


def fsdp(name: str, *, ranks: int = 2) -> dict[str, bytes | str]:
    """Return what `save_state` wrote of a sharded FSDP model, through DCP."""
    tree = saved(name, ranks=ranks)
    for lost in ("model.safetensors", "optimizer.bin"):
        del tree[f"{name}/{lost}"]
    for folder in ("pytorch_model_fsdp_0", "optimizer_0"):
        data = {f"__{rank}_0.distcp": torch_zip() for rank in range(ranks)}
        tree |= {f"{name}/{folder}/{file}": content for file, content in data.items()}
        index = dcp_metadata({file: len(content) for file, content in data.items()})
        tree[f"{name}/{folder}/.metadata"] = index
    return tree


def deepspeed(name: str) -> dict[str, bytes | str]:
    """Return what `save_state` wrote of a model under DeepSpeed with ZeRO."""
    tree = saved(name, {"latest": "pytorch_model", "zero_to_fp32.py": b"#"}, ranks=2)
    for lost in ("model.safetensors", "optimizer.bin"):
        del tree[f"{name}/{lost}"]
    tree[f"{name}/pytorch_model/mp_rank_00_model_states.pt"] = torch_zip()
    for rank in (0, 1):
        file = f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        tree[f"{name}/pytorch_model/{file}"] = torch_zip()
    return tree


def without(tree: Tree, *endings: str) -> dict[str, bytes | str]:
    return {path: content for path, content in tree.items() if not path.endswith(endings)}


def test_the_corpus(corpus: Path, truth: Mapping[str, list[dict[str, Any]]]) -> None:
    agrees(Accelerate, corpus / "accelerate" / "checkpoints", truth["accelerate"])


def test_a_save_of_automatic_naming(tmp_path: Path) -> None:
    claim = claim_of(Accelerate, tmp_path, saved("checkpoint_12"))
    assert (claim.step, claim.epoch, claim.family) == (12, None, "checkpoint_#")
    assert claim.counts is None  # it counts saves: no log is joined by it
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.key_file == "checkpoint_12/model.safetensors"


@pytest.mark.parametrize(
    ("name", "step", "epoch", "counts", "family"),
    [
        ("step_1000", 1000, None, Unit.STEP, "step_#"),
        ("epoch_3", None, 3, Unit.EPOCH, "epoch_#"),
        ("checkpoint-500", 500, None, Unit.STEP, "checkpoint-#"),  # diffusers
        ("epoch_3_step_50", 50, 3, Unit.STEP, "epoch_#_step_#"),
        ("checkpoint_0", 0, None, None, "checkpoint_#"),
    ],
)
def test_names(
    tmp_path: Path, name: str, step: int | None, epoch: int | None, counts: Unit, family: str
) -> None:
    claim = claim_of(Accelerate, tmp_path, saved(name))
    assert (claim.step, claim.epoch, claim.counts) == (step, epoch, counts)
    assert claim.family == family


@pytest.mark.parametrize(
    "name", ["final", "checkpoint_5-best", "checkpoint_5.bak", "exp_12", "5", "checkpoint_5~"]
)
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(Accelerate, tmp_path, saved(name)) == {}


@pytest.mark.parametrize(
    "tree",
    [
        {"checkpoint_5/checkpoint": b"\x81"},  # Flax
        {"checkpoint_5/_METADATA": b"{}"},  # Orbax
        {"checkpoint_000005/model.pt": torch_zip()},  # Ray Train
        {"checkpoint_5/5/mp_rank_00_model_states.pt": torch_zip()},  # ESPnet
        {"checkpoint_5": b"\x81"},
        {"checkpoint_5/model.safetensors": safetensors()},  # whoever calls save_pretrained
        {"step_5/model.safetensors": safetensors(), "step_5/optimizer.bin": torch_zip()},
        {"checkpoint_5/notes.txt": b"", "checkpoint_6/": b""},
        {**saved("checkpoint-5"), "checkpoint-5/trainer_state.json": b"{}"},  # HF Trainer
        {**saved("checkpoint-5"), "checkpoint-5/CHECKPOINT_COMPLETE": b""},  # LLaMA-Factory
        {**saved("checkpoint-5"), "checkpoint-5/dataloader/rank_0.pt": torch_zip()},
        {**saved("checkpoint-5"), "checkpoint-5/metadata.json": b'{"num_training_steps": 9}'},
    ],
)
def test_what_is_anothers_is_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Accelerate, tmp_path, tree) == {}


def test_a_sidecar_makes_it_nobody_elses(tmp_path: Path) -> None:
    tree = {**saved("checkpoint-5"), "checkpoint-5/metadata.json": b'{"loss": 1}'}
    assert claim_of(Accelerate, tmp_path, tree).step == 5


def test_the_trainer_does_not_claim_what_diffusers_saved(tmp_path: Path) -> None:
    assert claims_of(HfTrainer, tmp_path, saved("checkpoint-500")) == {}


def test_models_of_diffusers_lie_in_folders(tmp_path: Path) -> None:
    unet = {"unet/diffusion_pytorch_model.safetensors": safetensors(), "unet/config.json": b"{}"}
    tree = without(saved("checkpoint-500", unet), "/model.safetensors")
    claim = claim_of(Accelerate, tmp_path, tree)
    assert claim.missing is None
    assert claim.key_file == "checkpoint-500/unet/diffusion_pytorch_model.safetensors"


def test_several_models_are_parts_of_one(tmp_path: Path) -> None:
    more = {
        "model_1.safetensors": safetensors(),
        "optimizer_1.bin": torch_zip(),
        "sampler_1.bin": torch_zip(),  # the first data loader has none
        "custom_checkpoint_7.pkl": torch_zip(),
        "dl_state_dict.bin": torch_zip(),
        "scaler.pt": torch_zip(),
    }
    claim = claim_of(Accelerate, tmp_path, saved("checkpoint_3", more))
    assert (claim.missing, claim.key_file) == (None, "checkpoint_3/model.safetensors")
    for name in more:
        assert Accelerate.parts.fullmatch(name), name


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("random_states_0.pkl", "no random_states_0.pkl, which is written last"),
        ("/model.safetensors", "no model.safetensors"),
        ("optimizer.bin", "no optimizer.bin"),
    ],
)
def test_a_number_in_between_is_missing(tmp_path: Path, lost: str, words: str) -> None:
    more = {"model_1.safetensors": safetensors(), "optimizer_1.bin": torch_zip()}
    tree = without(saved("checkpoint_3", more, ranks=2), lost)
    assert claim_of(Accelerate, tmp_path, tree).missing == words


def test_a_save_cut_off_before_the_random_states(tmp_path: Path) -> None:
    tree = without(saved("checkpoint_3"), ".pkl")
    missing = claim_of(Accelerate, tmp_path, tree).missing
    assert missing == "no random_states_0.pkl, which is written last"


def test_no_weights(tmp_path: Path) -> None:
    tree = without(saved("checkpoint_3"), "/model.safetensors")
    assert claim_of(Accelerate, tmp_path, tree).missing == "no weights"


def test_without_an_optimizer_it_cannot_resume(tmp_path: Path) -> None:
    claim = claim_of(Accelerate, tmp_path, without(saved("checkpoint_3"), "optimizer.bin"))
    assert (claim.missing, claim.resumable) == (None, False)


def test_a_rank_and_a_file_that_others_of_the_family_have(tmp_path: Path) -> None:
    tree = {**saved("checkpoint_1", ranks=2), **saved("checkpoint_2"), **saved("step_5")}
    tree |= without(saved("checkpoint_3", ranks=2), "scheduler.bin")
    found = claims_of(Accelerate, tmp_path, tree)
    assert found["checkpoint_2"].missing == (
        "no random_states_1.pkl, which others of its family have"
    )
    assert found["checkpoint_3"].missing == "no scheduler.bin, unlike those around it"
    assert {found[name].missing for name in ("checkpoint_1", "step_5")} == {None}


def test_fsdp_saves_through_dcp(tmp_path: Path) -> None:
    claim = claim_of(Accelerate, tmp_path, fsdp("checkpoint_3"))
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.key_file == "checkpoint_3/pytorch_model_fsdp_0/.metadata"
    assert findings_of(Accelerate, tmp_path) == []


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("pytorch_model_fsdp_0/.metadata", "pytorch_model_fsdp_0/: no .metadata"),
        ("optimizer_0/.metadata", "optimizer_0/: no .metadata"),
        ("random_states_1.pkl", "no random_states_1.pkl"),
    ],
)
def test_what_fsdp_must_have(tmp_path: Path, lost: str, words: str) -> None:
    missing = claim_of(Accelerate, tmp_path, without(fsdp("checkpoint_3"), lost)).missing
    assert missing is not None
    assert missing.startswith(words)


def test_a_data_file_that_dcp_names_in_vain(tmp_path: Path) -> None:
    (finding,) = findings_of(
        Accelerate, tmp_path, without(fsdp("checkpoint_3"), "optimizer_0/__1_0.distcp")
    )
    assert finding.file == "checkpoint_3/optimizer_0/__1_0.distcp"


def test_fsdp_with_a_file_for_each_rank(tmp_path: Path) -> None:
    files = {f"pytorch_model_fsdp_rank{rank}.bin": torch_zip() for rank in (0, 1, 2)}
    tree = without(saved("checkpoint_3", files, ranks=3), "/model.safetensors")
    assert claim_of(Accelerate, tmp_path, tree).missing is None
    (tmp_path / "checkpoint_3" / "pytorch_model_fsdp_rank1.bin").unlink()
    missing = claim_of(Accelerate, tmp_path).missing
    assert missing is not None
    assert "rank 1" in missing


def test_deepspeed_saves_under_a_tag(tmp_path: Path) -> None:
    claim = claim_of(Accelerate, tmp_path, deepspeed("checkpoint_3"))
    assert (claim.missing, claim.resumable) == (None, True)
    assert metadata_of(Accelerate, tmp_path).missing is None


@pytest.mark.parametrize(
    "lost", ["zero_pp_rank_0_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt", "latest"]
)
def test_what_deepspeed_must_have(tmp_path: Path, lost: str) -> None:
    assert claim_of(Accelerate, tmp_path, without(deepspeed("checkpoint_3"), lost)).missing


def test_the_tag_that_latest_names_is_not_there(tmp_path: Path) -> None:
    tree = {**deepspeed("checkpoint_3"), "checkpoint_3/latest": "pytorch_model_1"}
    assert metadata_of(Accelerate, tmp_path, tree).missing is not None


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin", "random_states_0.pkl"])
def test_a_file_that_is_cut_off(tmp_path: Path, file: str) -> None:
    tree = saved("checkpoint_3")
    tree[f"checkpoint_3/{file}"] = tree[f"checkpoint_3/{file}"][:-8]
    (finding,) = findings_of(Accelerate, tmp_path, tree)
    assert (finding.file, finding.code) == (f"checkpoint_3/{file}", "torn")
