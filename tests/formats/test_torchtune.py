"""torchtune: directories with a recipe's state, the last one without, and those of DCP."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, safetensors, shard_index, torch_zip
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.formats.torchtune import Torchtune
from ckptctl.model import Unit
from tests.claims import Tree, claim_of, claims_of, findings_of

ONE, TWO = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
INDEX = "model.safetensors.index.json"


def saved(name: str, *, recipe: bool = True) -> dict[str, bytes | str]:
    tree: dict[str, bytes | str] = {
        "config.json": b"{}",
        ONE: safetensors("a"),
        TWO: safetensors("b"),
        INDEX: shard_index({ONE: ["a"], TWO: ["b"]}),
    }
    if recipe:
        tree["recipe_state.pt"] = torch_zip()
    return {f"{name}/{path}": content for path, content in tree.items()}


def dcp(name: str) -> dict[str, bytes | str]:
    index = dcp_metadata({"__0_0.distcp": len(torch_zip())})
    tree = {".metadata": index, "__0_0.distcp": torch_zip()}
    return {f"{name}/{path}": content for path, content in tree.items()}


def without(tree: Tree, *parts: str) -> dict[str, bytes | str]:
    return {p: content for p, content in tree.items() if not any(part in p for part in parts)}


@pytest.mark.parametrize(
    ("name", "step", "epoch", "counts"),
    [("epoch_0", None, 0, Unit.EPOCH), ("step_100", 100, None, Unit.STEP)],
)
def test_a_checkpoint(
    tmp_path: Path, name: str, step: int | None, epoch: int | None, counts: Unit
) -> None:
    claim = claim_of(Torchtune, tmp_path, saved(name))
    assert (claim.step, claim.epoch, claim.counts) == (step, epoch, counts)
    assert claim.family == f"{counts}_#"
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.key_file == f"{name}/{INDEX}"
    assert findings_of(Torchtune, tmp_path) == []


def test_the_last_one_has_no_recipe_state(tmp_path: Path) -> None:
    tree = {**saved("epoch_0"), **saved("epoch_1", recipe=False), **saved("step_5", recipe=False)}
    found = claims_of(Torchtune, tmp_path, tree)
    assert set(found) == {"epoch_0", "epoch_1"}  # `step_5` is anyone's
    assert (found["epoch_1"].missing, found["epoch_1"].resumable) == (None, False)


def test_older_versions_keep_the_state_one_level_up(tmp_path: Path) -> None:
    tree = {**saved("epoch_0", recipe=False), "recipe_state/recipe_state.pt": torch_zip()}
    assert claim_of(Torchtune, tmp_path, tree).resumable is None


def test_an_adapter(tmp_path: Path) -> None:
    tree = {
        "epoch_0/adapter_model.pt": torch_zip(),
        "epoch_0/adapter_model.safetensors": safetensors(),
        "epoch_0/adapter_config.json": b"{}",
    }
    claim = claim_of(Torchtune, tmp_path, tree)
    assert (claim.missing, claim.resumable) == (None, False)
    assert claim.key_file.startswith("epoch_0/adapter_model")


@pytest.mark.parametrize(
    "tree",
    [
        saved("epoch_0", recipe=False),
        saved("epoch_0_best"),
        saved("myepoch_0"),
        {**saved("step_5"), "step_5/training_info.json": b"{}"},  # NeMo-RL
        {**saved("step_5"), "step_5/_CHECKPOINT_METADATA": b"{}"},  # Orbax
        {**saved("step_5"), "step_5/random_states_0.pkl": torch_zip()},  # accelerate
        dcp("step_5"),
    ],
)
def test_what_is_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Torchtune, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (INDEX, f"no {INDEX}, which is written after the shards"),
        (ONE, "shard 1 of 2"),
        ("model", "no weights"),
    ],
)
def test_what_is_not_there(tmp_path: Path, lost: str, words: str) -> None:
    missing = claim_of(Torchtune, tmp_path, without(saved("epoch_0"), lost)).missing
    assert missing is not None
    assert words in missing


def test_through_dcp_its_index_commits(tmp_path: Path) -> None:
    tree = {**dcp("epoch_0"), "epoch_0/recipe_state.pt": torch_zip()}
    claim = claim_of(Torchtune, tmp_path, tree)
    assert claim.marker == claim.key_file == "epoch_0/.metadata"
    assert (claim.missing, claim.resumable) == (None, None)
    assert claim.uncovered == ("epoch_0/recipe_state.pt",)
    assert claims_of(TorchDcp, tmp_path) == {}
    (tmp_path / "epoch_0" / ".metadata").unlink()
    torn = claim_of(Torchtune, tmp_path)
    assert torn.marker is None
    assert torn.missing is not None


def test_an_adapter_through_dcp(tmp_path: Path) -> None:
    tree = {**dcp("epoch_0/adapter_model"), "epoch_0/recipe_state.pt": torch_zip()}
    claim = claim_of(Torchtune, tmp_path, tree)
    assert (claim.marker, claim.missing) == ("epoch_0/adapter_model/.metadata", None)
    (tmp_path / "epoch_0" / "adapter_model" / ".metadata").unlink()
    assert claim_of(Torchtune, tmp_path).missing is not None
