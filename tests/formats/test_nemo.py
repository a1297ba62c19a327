"""NeMo: names after two dashes, directories without a suffix, and the sibling `-unfinished`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.formats.lightning import Lightning
from ckptctl.formats.nemo import Nemo
from ckptctl.model import Claim, Kind, Unit
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree

Tree = Mapping[str, bytes | str]
NAME = "megatron_gpt--val_loss=1.20-step=100-consumed_samples=6400.0"
CORE = {
    ".metadata": b"\x80\x02}.", "__0_0.distcp": b"x", "common.pt": torch_zip(),
    "metadata.json": b'{"sharded_backend": "torch_dist", "sharded_backend_version": 1}',
}  # fmt: skip


def second(name: str = NAME, *gone: str) -> dict[str, bytes | str]:
    tree = {f"weights/{path}": data for path, data in CORE.items()} | {"context/io.json": b"{}"}
    return {f"{name}/{path}": data for path, data in tree.items() if path not in gone}


def find(root: Path, tree: Tree) -> dict[str, Claim]:
    make_tree(root, tree)
    store = LocalStore(str(root))
    found = {claim.members[0]: claim for claim in Nemo().find(store.listing(), store)}
    store.close()
    return found


def test_a_whole_directory_of_nemo_2(tmp_path: Path) -> None:
    claim = find(tmp_path, second())[NAME]
    assert (claim.kind, claim.name, claim.step, claim.epoch) == (Kind.DIRECTORY, NAME, 100, None)
    assert claim.metrics == {"val_loss": 1.2, "consumed_samples": 6400.0}
    assert claim.family == "megatron_gpt--val_loss=#-step=#-consumed_samples=#"
    assert claim.key_file == claim.marker == f"{NAME}/weights/metadata.json"
    assert claim.uncovered == (f"{NAME}/context/io.json",)
    assert claim.missing is None
    assert (claim.counts, claim.log_offset) == (Unit.STEP, -1)


@pytest.mark.parametrize(
    ("name", "step", "epoch", "family"),
    [
        (f"{NAME}-last", 100, None, "megatron_gpt--val_loss=#-step=#-consumed_samples=#-last"),
        ("gpt--val_loss=0.00-epoch=0", None, 0, "gpt--val_loss=#-epoch=#"),
        ("gpt--val_loss=-1.5-step=0-v1", 0, None, "gpt--val_loss=#-step=#"),
        ("gpt-1--reduced_train_loss=nan-epoch=2-consumed_samples=8.0", None, 2,
         "gpt-1--reduced_train_loss=#-epoch=#-consumed_samples=#"),
        ("step=5-last", 5, None, "step=#-last"),
        ("gpt--step=5-end", 5, None, "gpt--step=#-end"),
    ],
)  # fmt: skip
def test_names(tmp_path: Path, name: str, step: int | None, epoch: int | None, family: str) -> None:
    claim = find(tmp_path, second(name))[name]
    assert (claim.step, claim.epoch, claim.family) == (step, epoch, family)
    assert not claim.named
    assert claim.missing is None


def test_a_metric_that_was_not_logged(tmp_path: Path) -> None:
    name = "gpt--val_loss=0.00-epoch=0"
    assert find(tmp_path, second(name))[name].zeros == {"val_loss"}


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (["weights/metadata.json"], "no weights/metadata.json, which is written last"),
        (["weights/.metadata"], "no .metadata, which is written last (weights/)"),
        (["weights/__0_0.distcp"], "no .distcp file (weights/)"),
        (["weights/metadata.json", "weights/common.pt"], None),  # DCP alone
        (["context/io.json"], None),  # saved at the end of training only
        ([f"weights/{path}" for path in CORE], "no weights/"),
    ],
)
def test_what_commits_the_weights(tmp_path: Path, gone: list[str], missing: str | None) -> None:
    assert find(tmp_path, second(NAME, *gone))[NAME].missing == missing


def test_weights_of_hugging_face(tmp_path: Path) -> None:
    claim = find(tmp_path, {f"{NAME}/weights/model.safetensors": safetensors()})[NAME]
    assert (claim.missing, claim.marker) == (None, None)


def test_a_distributed_directory_of_nemo_1(tmp_path: Path) -> None:
    claim = find(tmp_path, {f"{NAME}/{path}": data for path, data in CORE.items()})[NAME]
    assert claim.marker == f"{NAME}/metadata.json"
    assert claim.claims_sidecars == ("metadata.json",)
    assert claim.missing is None


@pytest.mark.parametrize("name", [NAME, f"{NAME}-last"])
def test_an_unfinished_directory(tmp_path: Path, name: str) -> None:
    found = find(tmp_path, {**second(), **second(f"{NAME}-last"), f"{name}-unfinished": b""})
    assert found[name].missing == f"{name}-unfinished is still there"
    assert sum(claim.missing is None for claim in found.values()) == 1


def test_files_and_their_ema_twin_share_the_sign_of_being_unfinished(tmp_path: Path) -> None:
    files = {f"{NAME}.ckpt": torch_zip(), f"{NAME}-EMA.ckpt": torch_zip()}
    found = find(tmp_path / "done", files)
    assert [claim.missing for claim in found.values()] == [None, None]
    assert {claim.family for claim in found.values()} == {
        "megatron_gpt--val_loss=#-step=#-consumed_samples=#.ckpt",
        "megatron_gpt--val_loss=#-step=#-consumed_samples=#-EMA.ckpt",
    }
    found = find(tmp_path / "open", {**files, f"{NAME}-unfinished": b""})
    assert all(claim.missing == f"{NAME}-unfinished is still there" for claim in found.values())


def test_an_archive_is_the_trainers_own_copy(tmp_path: Path) -> None:
    tree = {f"{NAME}.ckpt": torch_zip(), "megatron_gpt.nemo": b"", "megatron_gpt-v1.nemo": b"",
            "other.nemo": b""}  # fmt: skip
    found = find(tmp_path, tree)
    assert set(found) == {f"{NAME}.ckpt", "megatron_gpt.nemo", "megatron_gpt-v1.nemo"}
    archive = found["megatron_gpt.nemo"]
    assert (archive.named, archive.step, archive.family) == (True, None, "megatron_gpt.nemo")
    assert archive.resumable is False


def test_an_archive_alone_makes_no_run(tmp_path: Path) -> None:
    assert find(tmp_path, {"megatron_gpt.nemo": b""}) == {}


@pytest.mark.parametrize(
    "tree",
    [
        {f"{NAME}/notes.txt": b""},
        {f"{NAME}/": b""},
        {f"{NAME}.ckpt/weights/common.pt": b""},
        {"imported/weights/common.pt": b""},
        second(f"{NAME}-copy"),
        {"run--lr=0.1.ckpt": b""},
        {"epoch=3-step=7.ckpt": torch_zip()},
        {f"{NAME}-unfinished": b""},
        {"x-last": "-> elsewhere"},
    ],
)
def test_what_is_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert find(tmp_path, tree) == {}


@pytest.mark.parametrize(
    "rank", ["mp_rank_00", "tp_rank_00_pp_rank_000", "mp_rank_01_fsdp_shard_00000"]
)
def test_one_rank_of_nemo_1_is_never_decided_alone(tmp_path: Path, rank: str) -> None:
    make_tree(tmp_path, {f"{rank}/{NAME}.ckpt": torch_zip(), f"{NAME}.ckpt": torch_zip()})
    store = LocalStore(str(tmp_path))
    top = store.listing()
    for folder, alone in ((top, True), (top.folders[rank], False)):
        (claim,) = Nemo().find(folder, store)
        assert (Nemo().metadata(claim, folder, store).unread is None) is alone
    store.close()


def test_lightning_leaves_these_names_to_nemo(tmp_path: Path) -> None:
    make_tree(tmp_path, {f"{NAME}.ckpt": torch_zip(), "gpt--epoch=1-val/loss=0.5.ckpt": b""})
    store = LocalStore(str(tmp_path))
    claimed = [claim.name for claim in Lightning().find(store.listing(), store)]
    store.close()
    assert claimed == ["gpt--epoch=1-val"]
