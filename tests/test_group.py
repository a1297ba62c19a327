"""Which names become checkpoints, which folders runs, and what is left alone: formats together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.decision import Context
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._samples import torch_zip
from ckptctl.formats.deepspeed import DeepSpeed
from ckptctl.formats.hf_trainer import HfTrainer
from ckptctl.formats.orbax import Orbax
from ckptctl.formats.tensor_folder import TensorFolder
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.model import Layout, Run
from ckptctl.survey import Reading, read_run, survey
from tests.trees import make_tree

NOW = 2_000_000_000 * 10**9


def runs_of(root: Path) -> list[Run]:
    view = survey(str(root), deep=True)
    return [read_run(view, found, Reading(context=Context(NOW))) for found in view.found]


def found(root: Path) -> dict[str, list[str]]:
    return {run.path: sorted(c.name for c in run.checkpoints) for run in runs_of(root)}


NONE = [
    "exp_12/model.pt", "version_3/model.pt", "fold_1/model.pt", "resnet_50.pth", "train_000001.bin", "sample_17.pt",
    "1000.pt", "model-00001-of-00004.safetensors", "train_0001.bin", "vocab.pt", "unet/model.safetensors",
    "model.safetensors", "checkpoint-500-best/model.safetensors", "iter_0001000.bak/model.pt", "step_1000.json",
    "ckpt_20260102.pt", "ckpt-2026-01-02.pt", "model_20260102.pt", "step_5.txt", "step_5.pt.tmp", "laststep_5.pt",
    "step_100k.pt", "checkpoint_7b.pt", "model_2.5.pt", "llama_7.pt", "step_1000-best.pt", "step_1000.bak.pt",
]  # fmt: skip


@pytest.mark.parametrize("path", NONE)
def test_what_the_contract_does_not_call_a_checkpoint_is_none(tmp_path: Path, path: str) -> None:
    make_tree(tmp_path, {path: torch_zip()})
    assert found(tmp_path) == {}


COPIES = [
    "best-checkpoint-10",
    "backup-checkpoint-10",
    "best_checkpoint-10",
    "old-checkpoint-10",
    ".checkpoint-10",
]


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("kind", [HfTrainer, TorchDcp, TensorFolder, Orbax])
def test_a_copy_with_a_word_before_a_frameworks_name_is_unknown(
    tmp_path: Path, name: str, kind: type[Format]
) -> None:
    """Whatever lies in it: neither it nor what it holds is listed, and so never deleted."""
    first = next(path for path in kind.example if "/" in path).split("/")[0]
    own = "checkpoint_1000" if kind is Orbax else first
    tree = {path.replace(first, own, 1): content for path, content in kind.example.items()}
    copy = re.sub("checkpoint-10$", own, name)
    copied = {path.replace(own, copy, 1): content for path, content in tree.items() if "/" in path}
    make_tree(tmp_path, tree | copied)
    assert found(tmp_path) == {"": [own]}


def test_a_copy_with_a_deepspeed_part_of_its_own_count_is_no_run(tmp_path: Path) -> None:
    parts = ("backup-checkpoint-10", "checkpoint-10-before-crash", ".deleted-checkpoint-10")
    rank = "global_step9/mp_rank_00_model_states.pt"
    make_tree(tmp_path, {f"{copy}/{rank}": torch_zip() for copy in parts})
    assert found(tmp_path) == {}


@pytest.mark.parametrize("dump", ["wgrads", "dgrads", "activations"])
def test_dumps_of_megatron_are_nobodys(tmp_path: Path, dump: str) -> None:
    ranks = ("mp_rank_00.pth", "mp_rank_01.pth", "mp_rank_00_001.pth")
    tree = {f"{dump}/iter_{s:07}/{rank}": torch_zip() for s in (1, 2) for rank in ranks}
    own = {f"iter_000000{s}/mp_rank_00/model_optim_rng.pt": torch_zip() for s in (1, 2)}
    make_tree(tmp_path, tree | own)
    assert found(tmp_path) == {"": ["iter_0000001", "iter_0000002"]}
    assert found(tmp_path / dump) == {}


def test_what_else_a_folder_of_an_iteration_holds_makes_it_a_checkpoint(tmp_path: Path) -> None:
    make_tree(tmp_path, {f"iter_5/{file}": torch_zip() for file in ("mp_rank_00.pth", "model.pt")})
    assert found(tmp_path) == {"": ["iter_5"]}


def test_a_run_whose_name_says_that_it_is_old_is_one(tmp_path: Path) -> None:
    make_tree(tmp_path, {f"old-epoch-3/step_{step}.pt": torch_zip() for step in (1, 2)})
    assert found(tmp_path) == {"old-epoch-3": ["step_1", "step_2"]}


@pytest.mark.parametrize(
    "path", [".step_5.pt", ".epoch=3-step=5.ckpt", "._G_5.pth", ".step_5/model.pt"]
)
def test_what_is_hidden_is_never_a_checkpoint(tmp_path: Path, path: str) -> None:
    make_tree(tmp_path, {path: torch_zip()})
    anything = Layout(name="any", match=r".*(?P<step>5).*")
    assert found(tmp_path) == {}
    assert survey(str(tmp_path), (anything, replace(anything, directory=True))).found == ()


ONE = {
    "step_1000.pt": "step_1000", "model_1000.pt": "model_1000", "G_1000.pth": "G_1000", "optim_1000.bin": "optim_1000",
    "ema_model-7.ckpt": "ema_model-7", "epoch-3.pth.tar": "epoch-3", "iter_5/weights.pt": "iter_5", "ckpt-2026-01-02-step_7.pt": "ckpt-2026-01-02-step_7",
    "global_step10.safetensors": "global_step10", "snapshot_0.pt": "snapshot_0", "run1-update=12.pt": "run1-update=12", "model_1000-v1.pt": "model_1000-v1",
}  # fmt: skip


@pytest.mark.parametrize(("path", "name"), ONE.items())
def test_what_carries_a_step_or_an_epoch_is_one(tmp_path: Path, path: str, name: str) -> None:
    make_tree(tmp_path, {path: torch_zip()})
    assert found(tmp_path) == {"": [name]}


def test_a_folder_with_other_numbers_below_is_a_run(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {"epoch_3/step_100.pt": b"x", "epoch_3/step_200.pt": b"x", "step_7/step_7.pt": b"x"},
    )
    assert found(tmp_path) == {"": ["step_7"], "epoch_3": ["step_100", "step_200"]}


@pytest.mark.parametrize("first", [0, 1])
def test_parts_that_are_numbered_in_a_numbered_folder_are_left_alone(
    tmp_path: Path, first: int
) -> None:
    make_tree(
        tmp_path,
        {f"run/step_{s}/model_{p}.pt": b"x" for s in (1000, 2000) for p in range(first, first + 4)},
    )
    assert found(tmp_path) == {}
    assert found(tmp_path / "run" / "step_1000") == {}


def test_hugging_face_directories_with_deepspeed_parts_of_another_step(tmp_path: Path) -> None:
    first = next(iter(HfTrainer.example)).split("/")[0]
    own = {
        path.replace(first, "checkpoint-500", 1): content.replace(
            first.split("-")[1].encode(), b"500"
        )
        for path, content in HfTrainer.example.items()
    }
    speed = {path: content for path, content in DeepSpeed.example.items() if "/" in path}
    top = next(iter(speed)).split("/")[0]
    tree = own | {
        "checkpoint-500/" + path.replace(top, "global_step499", 1): content
        for path, content in speed.items()
    }
    tree["checkpoint-500/latest"] = b"global_step499"
    make_tree(tmp_path, tree)
    assert found(tmp_path) == {"": ["checkpoint-500"]}


def test_a_link_is_never_a_checkpoint_and_a_hard_link_under_a_fixed_name_is_one(
    tmp_path: Path,
) -> None:
    make_tree(
        tmp_path,
        {
            "step_1.pt": torch_zip(),
            "step_2.pt": "-> step_1.pt",
            "step_3": "-> .",
            "last.ckpt": "-> step_1.pt",
        },
    )
    (tmp_path / "best.pt").hardlink_to(tmp_path / "step_1.pt")
    (run,) = runs_of(tmp_path)
    by_name = {c.name: c for c in run.checkpoints}
    assert sorted(by_name) == ["best", "step_1"]
    assert by_name["best"].named
    assert by_name["step_1"].pointers == ("last.ckpt", "step_2.pt")


def test_files_that_would_share_a_name_use_their_full_one_and_still_find_their_sidecar(
    tmp_path: Path,
) -> None:
    make_tree(
        tmp_path,
        {
            "step_1.pt": torch_zip(),
            "step_1.ckpt": torch_zip(),
            "step_1/model.pt": torch_zip(),
            "step_1.json": '{"loss": 2}',
        },
    )
    (run,) = runs_of(tmp_path)
    assert sorted(c.name for c in run.checkpoints) == ["step_1", "step_1.ckpt", "step_1.pt"]
    assert all(c.metrics == {"loss": 2} for c in run.checkpoints)


def test_rank_files_are_one_group_and_complete_only_when_the_grid_is(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {f"step_{s}_rank{r}.pt": torch_zip() for s in (1, 2) for r in range(3) if (s, r) != (2, 1)},
        age=10**8,
    )
    (run,) = runs_of(tmp_path)
    assert {c.name: (c.kind, c.state, sorted(c.files)) for c in run.checkpoints} == {
        "step_1_rank0": (
            "group",
            "complete",
            ["step_1_rank0.pt", "step_1_rank1.pt", "step_1_rank2.pt"],
        ),
        "step_2_rank0": ("group", "incomplete", ["step_2_rank0.pt", "step_2_rank2.pt"]),
    }


@pytest.mark.parametrize(
    "own", ['"sharded_backend": "zarr", "version": 1', '"is_temporary": false']
)
@pytest.mark.parametrize("model", ["model.pt", "__0_0.distcp"])
def test_a_frameworks_metadata_in_a_folder_that_no_format_knows_is_no_sidecar(
    tmp_path: Path, model: str, own: str
) -> None:
    config = f'{{{own}, "step": 7, "loss": 0.5}}'
    make_tree(tmp_path, {f"iter_100/{model}": torch_zip(), "iter_100/metadata.json": config})
    (checkpoint,) = runs_of(tmp_path)[0].checkpoints
    assert (checkpoint.metrics, checkpoint.sidecars) == ({}, ())
    assert "iter_100/metadata.json" in checkpoint.files
    assert "step" not in " ".join(problem.text for problem in checkpoint.problems)


@pytest.mark.parametrize("own", ['"pinned": true', '"tags": ["release"]'])
def test_what_a_user_says_in_a_frameworks_metadata_still_counts(tmp_path: Path, own: str) -> None:
    config = f'{{"is_temporary": true, {own}}}'
    make_tree(tmp_path, {"iter_100/model.pt": torch_zip(), "iter_100/metadata.json": config})
    (checkpoint,) = runs_of(tmp_path)[0].checkpoints
    assert checkpoint.pinned or checkpoint.tags


@pytest.mark.parametrize("other", ["megatron", "verl", "torch-dcp", "olmo-core"])
def test_a_file_of_accelerate_makes_no_others_checkpoint_its_own(
    other: str, tmp_path: Path
) -> None:
    kind = FORMATS[other]
    make_tree(tmp_path / "run", kind.example)
    (top,) = (path for path in (tmp_path / "run").iterdir() if path.is_dir())
    (top / "random_states_0.pkl").write_bytes(torch_zip())
    assert [c.format for run in runs_of(tmp_path / "run") for c in run.checkpoints] == [other]


def test_a_fault_of_one_format_hides_no_checkpoint_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Orbax, "find", broken)
    (run,) = runs_of(make_tree(tmp_path / "run", {"step_1.pt": torch_zip(), "folder/": ""}))
    assert [c.name for c in run.checkpoints] == ["step_1"]
    assert any("ZeroDivisionError" in text for text in run.unread)  # so nothing is deleted
