"""MMEngine: files and directories of its hook, what it publishes, and how its logs are joined."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._base import Digest
from ckptctl.formats._samples import safetensors, shard_index, torch_zip
from ckptctl.formats.deepspeed import DeepSpeed
from ckptctl.formats.mmengine import MMEngine
from ckptctl.model import Kind, Unit
from tests.claims import (
    Tree,
    checkpoint_of,
    claim_of,
    claims_of,
    findings_of,
    opened,
    pointers_of,
    recognised,
)
from tests.program import Ckptctl

PT = torch_zip()


def deepspeed(name: str, ranks: int = 2) -> dict[str, bytes | str]:
    optim = {f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt": PT for rank in range(ranks)}
    return {f"{name}/{f}": data for f, data in {"mp_rank_00_model_states.pt": PT, **optim}.items()}


def fsdp(name: str, ranks: int = 3) -> dict[str, bytes | str]:
    return {f"{name}/rank{rank}.pth": PT for rank in range(ranks)}


def colossal(name: str) -> dict[str, bytes | str]:
    shards = {f"pytorch_model-0000{at}.bin": [f"w{at}"] for at in (1, 2)}
    files = {
        "meta.pth": PT,
        "model/pytorch_model.bin.index.json": shard_index(shards),
        **{f"model/{shard}": PT for shard in shards},
        "optimizer/pytorch_optim-00001.bin": PT,
        "scheduler/scheduler_0.pth": PT,
    }
    return {f"{name}/{path}": data for path, data in files.items()}


def digests_of(root: Path, tree: Tree) -> list[Digest]:
    claim = claim_of(MMEngine, root, tree)
    with opened(root) as (folder, store):
        return list(MMEngine().digests(checkpoint_of(claim, folder), store))


def test_the_corpus(corpus: Path) -> None:
    claims = claims_of(MMEngine, corpus / "mmengine-epoch")
    assert {c.epoch for c in claims.values() if not c.named} == set(range(1, 13))
    best = claims["best_val_mse_epoch_12"]
    assert (best.named, best.step, best.epoch, best.counts) == (True, None, None, None)
    assert best.resumable is False  # the hook saves it without the optimizer
    assert pointers_of(MMEngine, corpus / "mmengine-epoch") == [("last_checkpoint", "epoch_12.pth")]


def test_a_validation_is_joined_by_the_epoch_that_it_logs_as_its_step(
    corpus: Path,
    truth: Mapping[str, list[dict[str, Any]]],
    tmp_path: Path,
    ckptctl: Ckptctl,
) -> None:
    run = shutil.copytree(corpus / "mmengine-epoch", tmp_path / "run")
    (log,) = run.glob("*/vis_data/scalars.json")
    (directory,) = ckptctl("list", "--metrics-from", log, run, "--json").json["runs"]
    seen = {c["name"]: c["metrics"].get("val/mse") for c in directory["checkpoints"]}
    true = {c["name"]: c["metrics"] for c in truth["mmengine-epoch"]}
    assert seen == {
        name: metrics["val/mse"]["value"] if metrics else None for name, metrics in true.items()
    }


@pytest.mark.parametrize(
    ("name", "step", "epoch", "family"),
    [
        ("epoch_12", None, 12, "epoch_#.pth"),
        ("iter_5000", 5000, None, "iter_#.pth"),
        ("epoch_12-0a1b2c3d", None, 12, "epoch_#-#.pth"),
        ("iter_98765432109876543210", 98765432109876543210, None, "iter_#.pth"),
    ],
)
def test_names(tmp_path: Path, name: str, step: int | None, epoch: int | None, family: str) -> None:
    claim = claim_of(MMEngine, tmp_path, {f"{name}.pth": PT})
    assert (claim.kind, claim.name, claim.key_file) == (Kind.FILE, name, f"{name}.pth")
    assert (claim.step, claim.epoch, claim.family) == (step, epoch, family)
    assert claim.counts is (Unit.EPOCH if epoch else Unit.STEP)
    assert (claim.missing, claim.named, claim.log_offset) == (None, False, 0)
    assert claim.resumable is (False if "-" in name else None)


@pytest.mark.parametrize(
    "name",
    [
        "best_coco_bbox_mAP_epoch_9", "best_acc_iter_500", "best_accuracy_top1_epoch_12-0a1b2c3d",
        "best_epoch_loss_epoch_3",
    ],
)  # fmt: skip
def test_the_best_belongs_to_the_trainer(tmp_path: Path, name: str) -> None:
    claim = claim_of(MMEngine, tmp_path, {f"{name}.pth": PT})
    assert (claim.named, claim.step, claim.epoch, claim.counts) == (True, None, None, None)
    assert claim.resumable is False


@pytest.mark.parametrize(
    "file",
    [
        "epoch_12.pt", "epoch12.pth", "epoch_12_best.pth", "my_epoch_12.pth", "epoch_12-0a1b2c3.pth",
        "epoch_12-20261123.pth", "best_epoch_12.pth", "epoch_.pth", "epoch_12.pth.tmp", ".epoch_12.pth",
        "epoch_1.5.pth", "best_model.pth", "latest.pth",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(MMEngine, tmp_path, {file: PT}) == {}


@pytest.mark.parametrize(
    ("content", "target"),
    [
        (b"/data/out/run/epoch_12.pth", "epoch_12.pth"),
        (b"./work_dirs/run/iter_500.pth\n", "iter_500.pth"),
        (b"/data/out/run/epoch_12.pth/", "epoch_12.pth"),
        (b"", None),
        (b"/", None),
    ],
)
def test_the_tracker_holds_a_path_that_may_lie_elsewhere(
    tmp_path: Path, content: bytes, target: str | None
) -> None:
    found = pointers_of(MMEngine, tmp_path, {"last_checkpoint": content})
    assert found == ([("last_checkpoint", target)] if target else [])


@pytest.mark.parametrize(
    ("tree", "key", "resumable"),
    [
        (deepspeed("epoch_3.pth"), "mp_rank_00_model_states.pt", True),
        (fsdp("epoch_3.pth"), "rank0.pth", None),
        (fsdp("epoch_3.pth", 12), "rank0.pth", None),
        (colossal("epoch_3.pth"), "meta.pth", True),
    ],
)
def test_directories_of_the_strategies(
    tmp_path: Path, tree: Tree, key: str, resumable: bool | None
) -> None:
    assert recognised(tmp_path, tree) == {"epoch_3.pth": "mmengine"}
    claim = claim_of(MMEngine, tmp_path)
    assert (claim.kind, claim.members, claim.epoch) == (Kind.DIRECTORY, ("epoch_3.pth",), 3)
    assert (claim.missing, claim.resumable, claim.key_file) == (
        None,
        resumable,
        f"epoch_3.pth/{key}",
    )
    assert findings_of(MMEngine, tmp_path) == []


def test_a_best_directory_is_the_trainers_too(tmp_path: Path) -> None:
    claim = claim_of(MMEngine, tmp_path, deepspeed("best_acc_iter_500.pth"))
    assert (claim.named, claim.step, claim.resumable) == (True, None, True)


def test_tags_of_deepspeed_itself_are_not_mmengines(tmp_path: Path) -> None:
    tree = {**deepspeed("epoch_3"), **deepspeed("iter_4.pth")}
    assert set(claims_of(DeepSpeed, tmp_path, tree)) == {"epoch_3"}
    assert set(claims_of(MMEngine, tmp_path)) == {"iter_4.pth"}


def test_what_is_in_such_a_directory_decides(tmp_path: Path) -> None:
    tree = {"epoch_3.pth/weights.pt": PT, "epoch_4.pth/notes.txt": b"x"}
    assert claims_of(MMEngine, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("tree", "lost", "missing"),
    [
        (deepspeed("epoch_3.pth"), "mp_rank_00_model_states.pt", "model states"),
        (deepspeed("epoch_3.pth"), "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
         "optimizer states of dp rank 0, mp rank 0"),
        (fsdp("epoch_3.pth"), "rank0.pth", "no rank0.pth"),
        (fsdp("epoch_3.pth"), "rank1.pth", "no rank1.pth"),
        (colossal("epoch_3.pth"), "meta.pth", "no meta.pth, which is written last"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there(tmp_path: Path, tree: Tree, lost: str, missing: str) -> None:
    left = {path: data for path, data in tree.items() if path != f"epoch_3.pth/{lost}"}
    assert claim_of(MMEngine, tmp_path, left).missing == missing


def test_a_shard_that_colossals_index_names_in_vain(tmp_path: Path) -> None:
    tree = colossal("epoch_3.pth")
    del tree["epoch_3.pth/model/pytorch_model-00002.bin"]
    (finding,) = findings_of(MMEngine, tmp_path, tree)
    assert finding.code == "shard-missing"


@pytest.mark.parametrize("make", [deepspeed, fsdp, colossal])
def test_each_file_that_is_cut_off_is_found(tmp_path: Path, make: Any) -> None:
    tree: dict[str, bytes | str] = make("epoch_3.pth")
    for at, (path, whole) in enumerate(tree.items()):
        assert isinstance(whole, bytes)
        torn = {**tree, path: whole[: len(whole) // 2]}
        findings = findings_of(MMEngine, tmp_path / f"cut{at}", torn)
        assert [finding.file for finding in findings] == [path]
        empty = claim_of(MMEngine, tmp_path / f"empty{at}", {**tree, path: b""}).missing
        assert empty == (None if path.endswith(".json") else f"{path.split('/', 1)[1]} is empty")


@pytest.mark.parametrize("make", [deepspeed, fsdp])
def test_the_last_rank_is_missed_where_another_epoch_has_it(tmp_path: Path, make: Any) -> None:
    tree = {**make("epoch_3.pth", 3), **make("epoch_4.pth", 2)}
    claims = claims_of(MMEngine, tmp_path, tree)
    assert claims["epoch_3.pth"].missing is None
    assert "which others of its family have" in (claims["epoch_4.pth"].missing or "")


def test_fewer_ranks_are_sure_where_the_tracker_names_them(tmp_path: Path) -> None:
    tree = {**fsdp("epoch_3.pth", 3), **fsdp("epoch_4.pth", 2), "last_checkpoint": "/x/epoch_4.pth"}
    assert claims_of(MMEngine, tmp_path, tree)["epoch_4.pth"].missing is None


def test_published_weights_say_how_their_digest_begins(tmp_path: Path) -> None:
    """So `publish_model.py` names what it has written: here in torch's older stream, without a ZIP."""
    content = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    file = f"epoch_12-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (digest,) = digests_of(tmp_path, {file: content})
    assert (digest.path, digest.algorithm, digest.sure) == (file, "sha256", True)
    assert hashlib.sha256(content).hexdigest().startswith(digest.hexdigest)
    assert digest.said_by == file


@pytest.mark.parametrize(
    ("top", "sure"), [("epoch_12", True), ("archive", False), ("other", False)]
)
def test_what_the_hook_publishes_carries_a_digest_of_other_bytes(
    tmp_path: Path, top: str, sure: bool
) -> None:
    """The hook hashes a pickle and saves through memory, so that torch calls the top folder `archive`."""
    content = PT.replace(b"archive/", f"{top}/".encode())
    (digest,) = digests_of(tmp_path, {"epoch_12-0a1b2c3d.pth": content})
    assert (digest.hexdigest, digest.sure) == ("0a1b2c3d", sure)


@pytest.mark.parametrize("tree", [{"epoch_12.pth": PT}, fsdp("epoch_12-0a1b2c3d.pth")])
def test_without_a_digest_in_a_files_name_there_is_none(tmp_path: Path, tree: Tree) -> None:
    assert digests_of(tmp_path, tree) == []


def test_other_formats_keep_what_is_theirs(tmp_path: Path) -> None:
    tree = {"epoch_12.pth": PT, "epoch_12.safetensors": safetensors(), "step_5.pth": PT}
    assert recognised(tmp_path, tree) == {
        "epoch_12.pth": "mmengine",
        "epoch_12.safetensors": "safetensors",
        "step_5": "torch-file",
    }
