"""PEFT adapters in directories that a loop numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, shard_index, torch_zip
from ckptctl.formats.peft import Peft
from ckptctl.model import Unit
from tests.claims import Tree, claim_of, claims_of, findings_of

ADAPTER: Tree = {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors()}


def at(name: str, tree: Tree = ADAPTER) -> dict[str, bytes | str]:
    return {f"{name}/{path}": content for path, content in tree.items()}


@pytest.mark.parametrize(
    ("name", "step", "epoch", "counts", "family"),
    [
        ("step_1000", 1000, None, Unit.STEP, "step_#"),
        ("epoch-3", None, 3, Unit.EPOCH, "epoch-#"),
        ("lora_ckpt_5_loss_0.25", 5, None, Unit.STEP, "lora_ckpt_#_loss_#"),
    ],
)
def test_an_adapter(
    tmp_path: Path, name: str, step: int | None, epoch: int | None, counts: Unit, family: str
) -> None:
    claim = claim_of(Peft, tmp_path, at(name))
    assert (claim.step, claim.epoch, claim.counts, claim.family) == (step, epoch, counts, family)
    assert (claim.missing, claim.resumable) == (None, False)
    assert claim.key_file == f"{name}/adapter_model.safetensors"
    assert findings_of(Peft, tmp_path) == []


def test_several_adapters_lie_in_folders(tmp_path: Path) -> None:
    claim = claim_of(Peft, tmp_path, {**at("step_5/critic"), **at("step_5/actor")})
    assert (claim.missing, claim.key_file) == (None, "step_5/actor/adapter_model.safetensors")


def test_an_optimizer_beside_it(tmp_path: Path) -> None:
    tree = {**at("step_5"), "step_5/optim.pt": torch_zip()}
    assert claim_of(Peft, tmp_path, tree).resumable is None


@pytest.mark.parametrize(
    "tree",
    [
        at("checkpoint-500"),  # of the Trainer
        at("final"),
        at("step_5-best"),
        at("exp_12"),
        {**at("checkpoint-5"), "checkpoint-5/trainer_state.json": b"{}"},
        {**at("step_5"), "step_5/random_states_0.pkl": torch_zip()},  # accelerate
        {**at("epoch_0"), "epoch_0/recipe_state.pt": torch_zip()},  # torchtune
        {**at("epoch_0"), "epoch_0/adapter_model.pt": torch_zip()},
        {"step_5/model.safetensors": safetensors()},
        {"step_5/notes.txt": b""},
    ],
)
def test_what_is_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Peft, tmp_path, tree) == {}


def test_weights_without_a_config(tmp_path: Path) -> None:
    tree = {"step_5/adapter_model.bin": torch_zip()}
    missing = claim_of(Peft, tmp_path, tree).missing
    assert missing == "no adapter_config.json, which is written last"


def test_a_config_without_weights(tmp_path: Path) -> None:
    tree = {**at("step_5/actor"), "step_5/critic/adapter_config.json": b"{}"}
    missing = claim_of(Peft, tmp_path, tree).missing
    assert missing == "no adapter_model beside critic/adapter_config.json"


def test_shards(tmp_path: Path) -> None:
    one, two = (f"adapter_model-0000{n}-of-00002.safetensors" for n in (1, 2))
    tree: Tree = {
        "adapter_config.json": b"{}",
        "adapter_model.safetensors.index.json": shard_index({one: ["a"], two: ["b"]}),
        one: safetensors("a"),
        two: safetensors("b"),
    }
    claim = claim_of(Peft, tmp_path, at("step_5", tree))
    assert claim.missing is None
    assert claim.key_file == "step_5/adapter_model.safetensors.index.json"
    (tmp_path / "step_5" / two).unlink()
    assert claim_of(Peft, tmp_path).missing is not None
    assert [found.code for found in findings_of(Peft, tmp_path)] == ["shard-missing"]


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_that_is_cut_off(tmp_path: Path, file: str) -> None:
    tree = at("step_5")
    tree[f"step_5/{file}"] = tree[f"step_5/{file}"][:-1]
    (finding,) = findings_of(Peft, tmp_path, tree)
    assert finding.file == f"step_5/{file}"
