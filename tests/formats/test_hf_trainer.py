"""Hugging Face Trainer: what its directories say, and what a torn or cut one lacks."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, shard_index, torch_zip
from ckptctl.formats.hf_trainer import HfTrainer
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, State, Unit
from ckptctl.reading import Finding
from ckptctl.stores.local import LocalStore
from tests.claims import recognised
from tests.trees import make_tree

Tree = Mapping[str, bytes | str]


def state(step: int, **more: object) -> bytes:
    return json.dumps({"epoch": 1.5, "global_step": step, "log_history": [], **more}).encode()


def whole(step: int, more: Tree | None = None, *, name: str = "") -> dict[str, bytes | str]:
    folder = name or f"checkpoint-{step}"
    return {
        f"{folder}/config.json": b"{}",
        f"{folder}/model.safetensors": safetensors(),
        f"{folder}/optimizer.pt": torch_zip(),
        f"{folder}/scheduler.pt": torch_zip(),
        f"{folder}/rng_state.pth": torch_zip(),
        f"{folder}/trainer_state.json": state(step),
        f"{folder}/training_args.bin": torch_zip(),
        **{f"{folder}/{path}": data for path, data in (more or {}).items()},
    }


def claims(root: Path, tree: Tree) -> dict[str, Claim]:
    make_tree(root, tree)
    store = LocalStore(str(root))
    found = {claim.name: claim for claim in HfTrainer().find(store.listing(), store)}
    store.close()
    return found


def said(root: Path, name: str) -> Metadata:
    store = LocalStore(str(root))
    folder = store.listing()
    claim = next(c for c in HfTrainer().find(folder, store) if c.name == name)
    metadata = HfTrainer().metadata(claim, folder, store)
    store.close()
    return metadata


def without(tree: Tree, *paths: str) -> dict[str, bytes | str]:
    return {path: data for path, data in tree.items() if not path.endswith(paths)}


def test_a_whole_checkpoint(tmp_path: Path) -> None:
    claim = claims(tmp_path, whole(500))["checkpoint-500"]
    assert (claim.kind, claim.step, claim.epoch, claim.family) == (
        Kind.DIRECTORY,
        500,
        None,
        "checkpoint-#",
    )
    assert claim.members == ("checkpoint-500",)
    assert claim.key_file == claim.marker == "checkpoint-500/trainer_state.json"
    assert claim.missing is None
    assert claim.expects_marker
    assert claim.resumable is True
    assert claim.counts is Unit.STEP


@pytest.mark.parametrize("step", [0, 5, 50, 12345678901234567890])
def test_any_number_is_a_step(tmp_path: Path, step: int) -> None:
    assert claims(tmp_path, whole(step))[f"checkpoint-{step}"].step == step
    assert said(tmp_path, f"checkpoint-{step}").missing is None


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint-500-best", "checkpoint-500.bak", "checkpoint-", "checkpoint-a", "checkpoint-5\n",
        "checkpoint-5x", "mycheckpoint-5", "checkpoint_5", "run-3", "checkpoint--5", "checkpoint-\u0665",
        os.fsdecode(b"checkpoint-5\xff"),
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims(tmp_path, whole(5, name=name)) == {}


@pytest.mark.parametrize(
    "extra",
    [
        {"CHECKPOINT_COMPLETE": b"", "metadata.json": b"{}"},  # LLaMA-Factory v1
        {"rng_state/rank_0.pt": torch_zip()},
        {"model_state.pdparams": b"", "optimizer.pdopt": b""},  # PaddleNLP
    ],
)
def test_those_who_share_the_name_are_not_claimed(tmp_path: Path, extra: dict[str, bytes]) -> None:
    left = "trainer_state.json" if "model_state.pdparams" not in extra else "config.json"
    assert claims(tmp_path, without(whole(5, extra), left)) == {}


def test_a_directory_of_other_things_is_not_claimed(tmp_path: Path) -> None:
    assert claims(tmp_path, {"checkpoint-5/notes.txt": b"", "checkpoint-6/": b""}) == {}


def test_a_link_is_not_claimed(tmp_path: Path) -> None:
    tree = {**whole(5), "checkpoint-6": "-> checkpoint-5"}
    assert list(claims(tmp_path, tree)) == ["checkpoint-5"]


def test_save_only_model_cannot_resume(tmp_path: Path) -> None:
    tree = without(whole(5), "optimizer.pt", "scheduler.pt", "rng_state.pth")
    claim = claims(tmp_path, tree)["checkpoint-5"]
    assert claim.missing is None
    assert claim.resumable is False


def test_a_peft_adapter_is_a_checkpoint(tmp_path: Path) -> None:
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors()}
    tree = without(whole(5, adapter), "/model.safetensors", "/config.json")
    assert claims(tmp_path, tree)["checkpoint-5"].missing is None


def test_an_adapter_without_its_weights_is_not_whole(tmp_path: Path) -> None:
    tree = whole(5, {"default/adapter_config.json": b"{}"})
    missing = claims(tmp_path, tree)["checkpoint-5"].missing
    assert missing == "no adapter_model beside default/adapter_config.json"


@pytest.mark.parametrize("name", ["tmp-checkpoint-5", "tmp-checkpoint-a1b2c3_d"])
def test_staging_directories_are_leftovers(tmp_path: Path, name: str) -> None:
    claim = claims(tmp_path, whole(5, name=name))[name]
    assert claim.temporary
    assert claim.missing is not None
    assert claim.family == "checkpoint-#"


def test_a_staging_name_with_strange_content_is_not_claimed(tmp_path: Path) -> None:
    tree: Tree = {"tmp-checkpoint-notebook/a.txt": b"", "tmp-checkpoint-7/notes.md": b""}
    assert claims(tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("tree", "missing"),
    [
        (without(whole(5), "trainer_state.json"), "no trainer_state.json, which is written last"),
        (whole(5, {"checkpoint-is-incomplete.txt": b""}), "checkpoint-is-incomplete.txt is still there"),
        (without(whole(5), "/model.safetensors"), "no weights"),
        (
            without(whole(5, {"rng_state_0.pth": b"", "rng_state_2.pth": b""}), "rng_state.pth"),
            "no rng_state_1.pth",
        ),
        (
            without(whole(5, {"model-00001-of-00003.safetensors": b"",
                                "model-00003-of-00003.safetensors": b""}), "/model.safetensors"),
            "no shard 2 of 3 of model.safetensors",
        ),
        (
            whole(5, {"pytorch_model.bin.index.json": b"{}"}),
            "no shard that pytorch_model.bin.index.json names",
        ),
        (
            whole(5, {"global_step5/mp_rank_00_model_states.pt": b""}),
            "no latest, which names global_step5",
        ),
        (
            whole(5, {"latest": b"global_step5", "global_step5/mp_rank_00_model_states.pt": b"",
                        "global_step5/zero_pp_rank_1_mp_rank_00_optim_states.pt": b""}),
            "global_step5/: no optimizer states of dp rank 0, mp rank 0",
        ),
        (whole(5, {"optimizer_0/__0_0.distcp": b"x"}), "no optimizer_0/.metadata"),
    ],
)  # fmt: skip
def test_what_is_not_there(tmp_path: Path, tree: Tree, missing: str) -> None:
    assert claims(tmp_path, tree)["checkpoint-5"].missing == missing


def zero3(step: int, tag: str, ranks: int) -> dict[str, bytes | str]:
    states = {
        f"{tag}/{name}": torch_zip()
        for rank in range(ranks)
        for name in (
            f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt",
            f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt",
        )
    }
    rng = {f"rng_state_{rank}.pth": torch_zip() for rank in range(ranks)}
    tree = whole(step, {**states, "latest": tag.encode(), "zero_to_fp32.py": b"", **rng})
    return without(tree, "/model.safetensors", "optimizer.pt", "rng_state.pth")


def test_zero_3_has_no_weights_of_its_own(tmp_path: Path) -> None:
    claim = claims(tmp_path, zero3(500, "global_step498", 2))["checkpoint-500"]
    assert (claim.missing, claim.resumable, claim.step) == (None, True, 500)
    assert said(tmp_path, "checkpoint-500").missing is None


def test_deepspeed_states_under_another_name_are_missing(tmp_path: Path) -> None:
    tree = {**zero3(500, "global_step498", 2), "checkpoint-500/latest": b"global_step500"}
    make_tree(tmp_path, tree)
    assert said(tmp_path, "checkpoint-500").missing == "no DeepSpeed states that latest names"


def test_rank_files_of_an_earlier_larger_run_are_a_problem_not_damage(tmp_path: Path) -> None:
    extra = {f"checkpoint-5/rng_state_{rank}.pth": torch_zip() for rank in (2, 3)}
    make_tree(tmp_path, extra, age=3600)
    claim = claims(tmp_path, zero3(5, "global_step5", 2))["checkpoint-5"]
    assert claim.missing is None
    assert [problem.code for problem in claim.problems] == ["leftover-rank"]


def test_optimizer_states_of_the_highest_rank_are_missed(tmp_path: Path) -> None:
    tree = zero3(5, "global_step5", 3)
    lost = [path for path in tree if "zero_pp_rank_2" in path]
    claim = claims(tmp_path, without(tree, *lost))["checkpoint-5"]
    assert claim.missing == "no optimizer states of the rank of rng_state_2.pth"


def test_one_process_after_a_run_of_several(tmp_path: Path) -> None:
    claim = claims(tmp_path, whole(5, {"rng_state_1.pth": torch_zip()}))["checkpoint-5"]
    assert claim.missing is None
    assert [problem.code for problem in claim.problems] == ["leftover-rank"]


def ranks(step: int, count: int) -> dict[str, bytes | str]:
    rng = {f"rng_state_{rank}.pth": torch_zip() for rank in range(count)}
    return without(whole(step, rng), "rng_state.pth")


@pytest.mark.parametrize("more", [{}, zero3(5, "global_step5", 1)])
def test_a_numbered_rank_is_never_alone(tmp_path: Path, more: Tree) -> None:
    found = claims(tmp_path, {**ranks(5, 1), **more, **ranks(6, 2)})
    assert found["checkpoint-5"].missing == "no rng_state_1.pth"
    assert found["checkpoint-6"].missing is None


def weights_only(step: int) -> dict[str, bytes | str]:
    return without(whole(step), "optimizer.pt", "scheduler.pt", "rng_state.pth")


def test_weights_alone_among_ranks_are_whole(tmp_path: Path) -> None:
    found = claims(tmp_path, {**ranks(9, 4), **weights_only(10), **ranks(11, 4)})
    assert {claim.missing for claim in found.values()} == {None}
    assert found["checkpoint-10"].resumable is False


@pytest.mark.parametrize(
    "left", ["optimizer.pt", "scheduler.pt", "scaler.pt", "optimizer_0/.metadata"]
)
def test_without_ranks_what_can_resume_is_not_whole_among_ranks(tmp_path: Path, left: str) -> None:
    torn = {**weights_only(10), f"checkpoint-10/{left}": torch_zip()}
    found = claims(tmp_path, {**ranks(9, 4), **torn, **ranks(11, 4)})
    assert found["checkpoint-10"].missing == "no rng_state_0.pth"


def test_one_process_among_ranks_is_whole(tmp_path: Path) -> None:
    found = claims(tmp_path, {**ranks(9, 4), **whole(10), **ranks(11, 4)})
    assert {claim.missing for claim in found.values()} == {None}


def test_a_lost_rank_beside_weights_alone_is_missed(tmp_path: Path) -> None:
    tree = {**ranks(8, 4), **weights_only(9), **ranks(10, 3), **weights_only(11), **ranks(12, 4)}
    assert claims(tmp_path, tree)["checkpoint-10"].missing == "no rng_state_3.pth"


def test_a_highest_rank_that_those_before_and_after_have_is_missed(tmp_path: Path) -> None:
    found = claims(tmp_path, {**ranks(9, 4), **ranks(10, 3), **ranks(11, 4)})
    assert found["checkpoint-10"].missing == "no rng_state_3.pth"


def test_a_run_may_go_on_with_fewer_ranks(tmp_path: Path) -> None:
    found = claims(tmp_path, {**ranks(9, 4), **ranks(10, 4), **ranks(11, 2)})
    assert [claim.missing for claim in found.values()] == [None, None, None]


def test_epoch_metrics_and_best(tmp_path: Path) -> None:
    rows = [
        {"step": 4, "eval_loss": 9.0},
        {"step": 5, "epoch": 1.25, "loss": 2, "flag": True, "note": "x"},
        {"step": 5, "epoch": 1.25, "eval_loss": math.nan, "eval_acc": math.inf},
        {"step": 5.0, "loss": 1.5},
        {"step": True, "odd": 1},
        "no row",
    ]
    content = state(
        5, log_history=rows, best_model_checkpoint="/elsewhere/checkpoint-4", epoch=1.25
    )
    make_tree(tmp_path, whole(5, {"trainer_state.json": content}))
    metadata = said(tmp_path, "checkpoint-5")
    assert (metadata.step, metadata.epoch) == (5, 1.25)
    assert metadata.points_to == "/elsewhere/checkpoint-4"
    assert math.isnan(metadata.metrics["eval_loss"])
    assert {name: metadata.metrics[name] for name in ("loss", "eval_acc")} == {
        "loss": 1.5,
        "eval_acc": math.inf,
    }
    assert len(metadata.metrics) == 3


@pytest.mark.parametrize(
    ("content", "unread"),
    [
        (b"", False),
        (b"{", True),
        (b'{"global_step": 5', True),
        (state(5)[:-1], True),
        (b"[1, 2]", True),
        (b"\0" * 100, True),
        (b"\xff\xfe", True),
        (state(5) + b"x", True),
        (b"[" * 100_000, True),
        (b'{"global_step": 5, "a": ' + b"[" * 100_000, True),
        (state(4), False),
        (b"{}", False),
        (b'{"global_step": true}', False),
        (b'{"global_step": NaN}', False),
    ],
)
def test_a_state_that_proves_nothing(tmp_path: Path, content: bytes, unread: bool) -> None:
    make_tree(tmp_path, whole(5, {"trainer_state.json": content}))
    metadata = said(tmp_path, "checkpoint-5")
    assert metadata.missing is not None
    assert (metadata.unread is not None) is unread
    assert metadata.metrics == {}


def test_a_state_of_another_step_says_which(tmp_path: Path) -> None:
    make_tree(tmp_path, whole(5, {"trainer_state.json": state(7)}))
    assert said(tmp_path, "checkpoint-5").missing == "trainer_state.json is of step 7"


def test_a_state_too_large_to_read_is_unread(tmp_path: Path) -> None:
    make_tree(tmp_path, whole(5))
    os.truncate(tmp_path / "checkpoint-5/trainer_state.json", 2**30 + 1)
    metadata = said(tmp_path, "checkpoint-5")
    assert metadata.unread is not None
    assert metadata.missing is None


def test_the_corpus_agrees(corpus: Path, truth: Mapping[str, list[dict[str, object]]]) -> None:
    for run in ("hf-trainer", "hf-trainer-torn-optim"):
        store = LocalStore(str(corpus / run))
        folder = store.listing()
        found = {claim.name: claim for claim in HfTrainer().find(folder, store)}
        assert sorted(found) == sorted(str(wanted["name"]) for wanted in truth[run])
        for wanted in truth[run]:
            claim = found[str(wanted["name"])]
            metadata = HfTrainer().metadata(claim, folder, store)
            whole_one = claim.missing is None and metadata.missing is None
            assert whole_one is (wanted["state"] == "complete")
            assert (claim.kind, claim.step, claim.family) == (
                wanted["kind"], wanted["step"], wanted["family"],
            )  # fmt: skip
            assert metadata.epoch == wanted["epoch"]
            assert claim.members == (wanted["main"],)
            metrics = wanted["metrics"]
            assert isinstance(metrics, dict)
            assert metadata.metrics == {
                name: pytest.approx(metric["value"], abs=metric["tolerance"])
                for name, metric in metrics.items()
            }
        store.close()


def test_an_index_must_name_files_that_are_there(tmp_path: Path) -> None:
    shards = {f"model-0000{i}-of-00002.safetensors": safetensors() for i in (1, 2)}
    for named, code in (
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], None),
        (["model-00001-of-00002.safetensors", "other.safetensors"], "shard-missing"),
        (["../../../etc/passwd"], "index-escapes"),
        (["/etc/passwd"], "index-escapes"),
    ):
        index = shard_index({file: [f"w{at}"] for at, file in enumerate(named)})
        root = tmp_path / str(code) / str(len(named[0]))
        tree = whole(5, {**shards, "model.safetensors.index.json": index})
        make_tree(root, without(tree, "/model.safetensors"))
        assert [finding.code for finding in proven(root)] == ([code] if code else [])


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"weight_map": {}}', b"\0" * 50])
def test_an_index_that_cannot_be_understood(tmp_path: Path, content: bytes) -> None:
    make_tree(tmp_path, whole(5, {"model.safetensors.index.json": content}))
    assert [finding.code for finding in proven(tmp_path)] == ["index-unreadable"]


def proven(root: Path) -> list[Finding]:
    store = LocalStore(str(root))
    files = dict(store.listing().walk())
    checkpoint = Checkpoint(
        run="", name="checkpoint-5", path=str(root), member="checkpoint-5", format="hf-trainer",
        kind=Kind.DIRECTORY, family="checkpoint-#", step=5, epoch=None, saved_ns=0, changed_ns=0, stated=False,
        bytes=0, files=files, folders=(), key_file="checkpoint-5/trainer_state.json", sidecars=(),
        state=State.COMPLETE,
    )  # fmt: skip
    found = [f for f in HfTrainer().prove(checkpoint, store) if f.file.endswith(".index.json")]
    store.close()
    return found


@pytest.mark.parametrize(
    "beside", [{"metadata.json": b'{"val_loss": 1.0}'}, {"rng_state/notes.txt": b""}]
)
def test_what_a_user_put_in_does_not_make_a_torn_one_another_programs(
    tmp_path: Path, beside: dict[str, bytes]
) -> None:
    tree = {**HfTrainer.example, **{f"checkpoint-500/{file}": c for file, c in beside.items()}}
    assert recognised(tmp_path / "whole", tree) == {"checkpoint-500": "hf-trainer"}
    torn = {
        path: content for path, content in tree.items() if not path.endswith("trainer_state.json")
    }
    assert recognised(tmp_path / "torn", torn) == {"checkpoint-500": "hf-trainer"}
