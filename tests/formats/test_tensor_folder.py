from __future__ import annotations

import re
from pathlib import Path

import pytest

from ckptctl.formats._foreign import foreign
from ckptctl.formats._samples import safetensors, shard_index, torch_zip
from ckptctl.formats.tensor_folder import TensorFolder
from ckptctl.group import look, runs_below
from ckptctl.known import known_formats
from ckptctl.model import Kind, Unit
from ckptctl.stores.local import LocalStore
from tests.claims import claim_of, claims_of, findings_of
from tests.trees import make_tree

ST, PT = safetensors(), torch_zip()


def test_a_folder_of_tensor_files_with_a_step(tmp_path: Path) -> None:
    tree = {"run_step_500/model.safetensors": ST, "run_step_500/sub/optimizer.pt": PT}
    claim = claim_of(TensorFolder, tmp_path, tree)
    assert (claim.format, claim.kind, claim.name) == (
        "tensor-folder",
        Kind.DIRECTORY,
        "run_step_500",
    )
    assert (claim.step, claim.epoch, claim.counts) == (500, None, Unit.STEP)
    assert (claim.family, claim.members) == ("run_step_#", ("run_step_500",))
    assert claim.key_file == "run_step_500/model.safetensors"
    assert (claim.missing, claim.resumable, claim.expects_marker) == (None, None, False)


@pytest.mark.parametrize(
    "folder",
    ["exp_12", "version_3", "fold_1", "unet", "1000", "2024-01-31", "checkpoint_20240131", "model_5",
     "model_1000", "step_5_best", "step_5.bak", "step_5-old", ".step_5", "seed_5", "final"],
)  # fmt: skip
def test_other_folders_are_none(tmp_path: Path, folder: str) -> None:
    assert not claims_of(TensorFolder, tmp_path, {f"{folder}/model.pt": PT})


def test_a_folder_without_tensor_files_is_none(tmp_path: Path) -> None:
    assert not claims_of(TensorFolder, tmp_path, {"step_5/log.txt": b"x", "step_6/": b""})


@pytest.mark.parametrize(
    "below",
    [
        "checkpoint-10/model.pt",
        "step_6.pt",
        "deep/er/epoch_3.pt",
        "model_1000.pt",
        "epoch_3/x.txt",
        "logs/iter_100.log",
        "step_5_epoch_3/step_6.pt",
    ],
)
def test_a_folder_below_which_something_else_is_numbered_is_a_run(
    tmp_path: Path, below: str
) -> None:
    assert not claims_of(TensorFolder, tmp_path, {"step_5/model.pt": PT, f"step_5/{below}": PT})


@pytest.mark.parametrize(
    "below",
    ["step_5.pt", "model_5.pt", "global_step5/x.pt", "step_5_epoch_3.pt", "rank_0.pt", "layer_7.pt",
     "2024-01-31/x.pt", "model-00001-of-00001.safetensors", "exp_12/x.pt"],
)  # fmt: skip
def test_what_carries_no_other_number_is_part_of_it(tmp_path: Path, below: str) -> None:
    claim = claim_of(TensorFolder, tmp_path, {"step_5/model.pt": PT, f"step_5/{below}": ST})
    assert claim.step == 5


def test_the_run_is_found_in_its_place(tmp_path: Path) -> None:
    make_tree(tmp_path, {"exp_step_5/step_10.pt": PT, "exp_step_5/step_20.pt": PT})
    store = LocalStore(str(tmp_path))
    (run,) = runs_below(store.listing(), store, known_formats(), deep=False)
    assert run.folder.path == "exp_step_5"
    assert [item.name for item in run.items] == ["step_10", "step_20"]


def test_parts_that_a_format_knows_may_carry_another_number(tmp_path: Path) -> None:
    tree = {"checkpoint-500/model.pt": PT, "checkpoint-500/global_step499/step_1.pt": PT}
    make_tree(tmp_path, tree)
    store = LocalStore(str(tmp_path))
    inside = store.listing().folders["checkpoint-500"]
    assert foreign(inside, 500, None) == "global_step499"
    assert foreign(inside, 500, None, re.compile("global_step[0-9]+")) is None


def test_a_users_copy_of_a_frameworks_folder_is_unknown(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {
            "checkpoint-500-best/model.safetensors": ST,
            "iter_0001000.bak/model.pt": PT,
            "checkpoint-600/model.safetensors": ST,
        },
    )
    store = LocalStore(str(tmp_path))
    found = look(store.listing(), store, known_formats())
    assert [item.name for item in found.items] == ["checkpoint-600"]


@pytest.mark.parametrize(
    ("files", "key"),
    [
        (["b.pt", "a.pt"], "a.pt"),
        (["a.pt", "my_model.pt"], "my_model.pt"),
        (["model_rank_1.pt", "model_rank_0.pt", "a.pt"], "model_rank_0.pt"),
        (["rank_10.pt", "rank_9.pt"], "rank_9.pt"),
        (["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"],
         "model-00001-of-00002.safetensors"),
        (["a.pt", "model.pt", "x.index.json"], "x.index.json"),
        (["sub/model.pt", "model_z.pt"], "model_z.pt"),
        (["config.json", "sub/weights.bin"], "sub/weights.bin"),
    ],
)  # fmt: skip
def test_the_key_file(tmp_path: Path, files: list[str], key: str) -> None:
    claim = claim_of(TensorFolder, tmp_path, {f"step_5/{file}": PT for file in files})
    assert claim.key_file == f"step_5/{key}"


def test_shards_in_a_folder_are_whole_or_it_is_not(tmp_path: Path) -> None:
    tree = {f"step_5/model-{at:05}-of-00003.safetensors": ST for at in (1, 2, 3)}
    assert claim_of(TensorFolder, tmp_path, tree).missing is None
    (tmp_path / "step_5/model-00002-of-00003.safetensors").unlink()
    assert claim_of(TensorFolder, tmp_path).missing == (
        "model-#.safetensors: shard 2 of 3 is not there"
    )


@pytest.mark.parametrize("shape", ["rank_{}.pt", "rank_{}/state.pt", "sub/optim_rank{}.bin"])
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_ranks_in_a_folder_are_those_of_its_family(tmp_path: Path, shape: str, lost: int) -> None:
    tree = {f"step_{step}/{shape.format(rank)}": PT for step in (5, 6) for rank in range(4)}
    claims = claims_of(TensorFolder, tmp_path, tree)
    assert [claim.missing for claim in claims.values()] == [None, None]
    (tmp_path / "step_6" / shape.format(lost)).unlink()
    claims = claims_of(TensorFolder, tmp_path)
    assert claims["step_5"].missing is None
    assert f"rank {lost} is not there" in (claims["step_6"].missing or "")


def test_an_empty_tensor_file_is_not_whole(tmp_path: Path) -> None:
    tree = {"step_5/model.pt": b"", "step_6/__0_0.distcp": b"", "step_6/a.pt": PT}
    claims = claims_of(TensorFolder, tmp_path, tree)
    assert claims["step_5"].missing == "model.pt is empty"
    assert claims["step_6"].missing is None


def test_proof_looks_at_each_file_and_at_what_an_index_names(tmp_path: Path) -> None:
    index = shard_index({"model-a.safetensors": ["w"], "../x.safetensors": ["v"]})
    tree = {
        "step_5/model.safetensors.index.json": index,
        "step_5/optimizer.pt": PT[:-5],
        "step_5/scheduler.pt": PT,
    }
    found = {(one.file, one.code) for one in findings_of(TensorFolder, tmp_path, tree)}
    assert found == {
        ("step_5/optimizer.pt", "torn"),
        ("step_5/model.safetensors.index.json", "shard-missing"),
        ("step_5/model.safetensors.index.json", "index-escapes"),
    }
