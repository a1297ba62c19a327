"""Megatron-LM: three layouts under one name, told apart and judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.formats.megatron import Megatron
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.model import Unit
from tests.claims import (
    Tree,
    claim_of,
    claims_of,
    findings_of,
    metadata_of,
    pointers_of,
)

PT = torch_zip()
CONFIG = json.dumps({"sharded_backend": "torch_dist", "sharded_backend_version": 1}).encode()
TRACKER = "latest_checkpointed_iteration.txt"


def dcp(name: str) -> dict[str, bytes | str]:
    return {
        f"{name}/.metadata": dcp_metadata({"__0_0.distcp": len(PT)}),
        f"{name}/__0_0.distcp": PT,
    }


def core(name: str, more: Tree | None = None) -> dict[str, bytes | str]:
    extra = {f"{name}/{path}": data for path, data in (more or {}).items()}
    return {**dcp(name), f"{name}/metadata.json": CONFIG, **extra}


def ranks(name: str, *folders: str) -> dict[str, bytes | str]:
    return {f"{name}/mp_rank_{folder}/model_optim_rng.pt": PT for folder in folders}


def test_megatron_core(tmp_path: Path) -> None:
    claim = claim_of(Megatron, tmp_path, core("iter_0001000", {"integrity.json": b"{}"}))
    assert (claim.step, claim.counts, claim.family) == (1000, Unit.STEP, "iter_#")
    assert claim.key_file == claim.marker == "iter_0001000/metadata.json"
    assert (claim.missing, claim.expects_marker, claim.named) == (None, True, False)
    assert claim.claims_sidecars == ("metadata.json",)
    assert claim.uncovered == ("iter_0001000/integrity.json",)
    assert metadata_of(Megatron, tmp_path).missing is None
    assert findings_of(Megatron, tmp_path) == []


@pytest.mark.parametrize("name", ["iter_0000000", "iter_10000000", "iter_98765432109876543210"])
def test_the_padding_is_a_least_width(tmp_path: Path, name: str) -> None:
    assert claim_of(Megatron, tmp_path, core(name)).step == int(name[5:])


@pytest.mark.parametrize("name", ["iter_000100", "iter_0001000.bak", "iter_0001000-best", "iter_x"])
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(Megatron, tmp_path, core(name)) == {}


def test_plain_dcp_leaves_its_names_alone(tmp_path: Path) -> None:
    assert claims_of(TorchDcp, tmp_path, {**dcp("iter_0001000"), **core("iter_0002000")}) == {}


def test_a_link_is_never_a_checkpoint(tmp_path: Path) -> None:
    tree = {**core("iter_0001000"), "iter_0002000": "-> iter_0001000"}
    assert list(claims_of(Megatron, tmp_path, tree)) == ["iter_0001000"]


@pytest.mark.parametrize("folder", ["wgrads", "dgrads", "activations"])
def test_debug_dumps_are_none(tmp_path: Path, folder: str) -> None:
    tree = {f"iter_0001000/mp_rank_0{rank}.pth": PT for rank in range(2)}
    assert claims_of(Megatron, tmp_path / folder, tree) == {}


def test_the_dataloaders_own_root_is_none(tmp_path: Path) -> None:
    tree: Tree = {"iter_0001000/mp_rank_00/train_dataloader_dprank000.pt": PT}
    assert claims_of(Megatron, tmp_path, tree) == {}


def test_a_users_sidecar_makes_nothing_megatrons(tmp_path: Path) -> None:
    tree = {"iter_0001000/model.pt": PT, "iter_0001000/metadata.json": b'{"loss": 1}'}
    assert claims_of(Megatron, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({**dcp("iter_0001000"), "iter_0001000/common.pt": PT}, "no metadata.json, which is written last"),
        ({"iter_0001000/__0_0.distcp": PT}, "no .metadata, which is written last"),
        ({"iter_0001000/common.pt": PT}, "no metadata.json, which is written last"),
        (
            {"iter_0001000/metadata.json": CONFIG, "iter_0001000/__0_0.distcp": PT},
            "no .metadata, which is written last",
        ),
        ({**core("iter_0001000"), "iter_0001000/metadata.json": b""}, "metadata.json is empty"),
    ],
)  # fmt: skip
def test_what_is_not_whole(tmp_path: Path, tree: Tree, words: str) -> None:
    assert claim_of(Megatron, tmp_path, tree).missing == words


@pytest.mark.parametrize("content", [b'{"step": 5}', b"{", b"[]", b'{"sharded_backend"'])
def test_only_megatrons_own_metadata_json_commits(tmp_path: Path, content: bytes) -> None:
    said = metadata_of(
        Megatron, tmp_path, {**core("iter_0001000"), "iter_0001000/metadata.json": content}
    )
    assert said.missing is not None
    assert said.missing.startswith("metadata.json")


def test_dcp_alone_commits_where_nothing_speaks_for_core(tmp_path: Path) -> None:
    claim = claim_of(Megatron, tmp_path, dcp("iter_0001000"))
    assert (claim.missing, claim.marker) == (None, "iter_0001000/.metadata")
    assert claim.claims_sidecars == ()


def test_dcp_alone_is_torn_beside_one_of_core(tmp_path: Path) -> None:
    tree = {**core("iter_0001000"), **dcp("iter_0002000"), TRACKER: b"2000"}
    found = claims_of(Megatron, tmp_path, tree)
    assert found["iter_0002000"].missing == "no metadata.json, which is written last"
    assert found["iter_0001000"].missing is None


def test_dcp_alone_above_the_tracker_is_not_committed(tmp_path: Path) -> None:
    tree = {**dcp("iter_0001000"), **dcp("iter_0002000"), TRACKER: b"1000\n"}
    found = claims_of(Megatron, tmp_path, tree)
    assert found["iter_0002000"].missing == f"{TRACKER}, which is written last, names 1000"
    assert found["iter_0001000"].missing is None


def test_data_that_is_cut_off(tmp_path: Path) -> None:
    tree = {**core("iter_0001000"), "iter_0001000/__0_0.distcp": PT[:-1]}
    (finding,) = findings_of(Megatron, tmp_path, tree)
    assert finding.code == "data-truncated"


def test_release_has_no_step_and_belongs_to_the_trainer(tmp_path: Path) -> None:
    tree = {**ranks("release", "00", "01"), **core("iter_0001000"), TRACKER: b"release"}
    claim = claims_of(Megatron, tmp_path, tree)["release"]
    assert (claim.named, claim.step, claim.epoch, claim.counts) == (True, None, None, None)
    assert (claim.family, claim.missing, claim.resumable) == ("release", None, False)
    assert pointers_of(Megatron, tmp_path) == [Pointer(TRACKER, "release")]


def test_a_release_of_something_else_is_none(tmp_path: Path) -> None:
    tree = {"release/app.bin": b"x", "release/metadata.json": b"{}"}
    assert claims_of(Megatron, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["00"], None),
        (["00", "01", "02", "03"], None),
        (["00_000", "00_001", "01_000", "01_001"], None),
        (["00_000_000", "00_000_001"], None),
        (["00", "02"], "no rank folder mp_rank_01"),
        (["00_000", "00_001", "01_001"], "no rank folder mp_rank_01_000"),
        (["00_001_000"], "no rank folder mp_rank_00_000_000"),
    ],
)
def test_old_ranks(tmp_path: Path, folders: list[str], words: str | None) -> None:
    claim = claim_of(Megatron, tmp_path, ranks("iter_0001000", *folders))
    assert claim.missing == words
    assert claim.key_file == f"iter_0001000/mp_rank_{folders[0]}/model_optim_rng.pt"
    assert (claim.marker, claim.expects_marker) == (None, False)


def test_old_ranks_without_or_with_an_empty_model_file(tmp_path: Path) -> None:
    tree = {
        **ranks("iter_0001000", "00"),
        "iter_0001000/mp_rank_01/distrib_optim.pt": PT,
        **ranks("iter_0002000", "00", "01"),
        "iter_0002000/mp_rank_01/model_optim_rng.pt": b"",
    }
    found = claims_of(Megatron, tmp_path, tree)
    assert found["iter_0001000"].missing == "no mp_rank_01/model_optim_rng.pt"
    assert found["iter_0002000"].missing == "mp_rank_01/model_optim_rng.pt is empty"


def test_old_ranks_may_have_a_sidecar(tmp_path: Path) -> None:
    tree = {**ranks("iter_0001000", "00"), "iter_0001000/metadata.json": b'{"val_loss": 1.5}'}
    claim = claim_of(Megatron, tmp_path, tree)
    assert (claim.missing, claim.claims_sidecars, claim.marker) == (None, (), None)


LOST = "no mp_rank_01/model_optim_rng.pt, which others of its family have"


def gaps(root: Path, tree: Tree) -> list[str | None]:
    found = claims_of(Megatron, root, tree)
    return [found[name].missing for name in sorted(found)]


def test_the_last_rank_is_lost(tmp_path: Path) -> None:
    tree = {
        **ranks("iter_0001000", "00", "01"),
        **ranks("iter_0002000", "00"),
        **ranks("iter_0003000", "00", "01"),
        TRACKER: b"3000",
    }
    assert gaps(tmp_path, tree) == [None, LOST, None]


def test_the_last_rank_is_lost_of_several_in_a_row(tmp_path: Path) -> None:
    tree = {
        **ranks("iter_0001000", "00", "01"),
        **ranks("iter_0002000", "00"),
        **ranks("iter_0003000", "00"),
    }
    assert gaps(tmp_path, tree) == [None, LOST, LOST]


@pytest.mark.parametrize("higher", ["02", "01"])
def test_one_that_is_torn_itself_tells_of_the_highest_rank(tmp_path: Path, higher: str) -> None:
    tree = {
        **ranks("iter_0001000", "00"),
        **ranks("iter_0002000", "00"),
        f"iter_0002000/mp_rank_{higher}/model_optim_rng.pt": PT if higher == "02" else b"",
    }
    assert gaps(tmp_path, tree)[0] == LOST.replace("01", higher)


def test_the_tracker_vouches_for_fewer_ranks(tmp_path: Path) -> None:
    tree = {
        **ranks("iter_0001000", "00"),
        **ranks("iter_0002000", "00", "01"),
        **ranks("iter_0003000", "00"),
        **ranks("iter_0004000", "00"),
        TRACKER: b"4000",
    }
    assert gaps(tmp_path, tree) == [LOST, None, None, None]


def test_other_axes_of_ranks_are_another_layout(tmp_path: Path) -> None:
    tree = {**ranks("iter_0001000", "00", "01"), **ranks("iter_0002000", "00_000", "00_001")}
    assert gaps(tmp_path, tree) == [None, None]


def test_old_ranks_above_the_tracker_are_not_committed(tmp_path: Path) -> None:
    tree = {**ranks("iter_0001000", "00"), **ranks("iter_0002000", "00"), TRACKER: b"1000"}
    found = claims_of(Megatron, tmp_path, tree)
    assert found["iter_0001000"].missing is None
    assert found["iter_0002000"].missing == f"{TRACKER}, which is written last, names 1000"


@pytest.mark.parametrize("tracker", [b"release", b"", b"x", b"9" * 70_000, b"\xff\xfe"])
def test_a_tracker_without_a_number_says_nothing_of_iterations(
    tmp_path: Path, tracker: bytes
) -> None:
    tree = {**ranks("iter_0001000", "00"), TRACKER: tracker}
    assert claim_of(Megatron, tmp_path, tree).missing is None


def test_the_tracker_names_a_directory(tmp_path: Path) -> None:
    tree = {**core("iter_0001000"), TRACKER: b"1000\n"}
    assert pointers_of(Megatron, tmp_path, tree) == [Pointer(TRACKER, "iter_0001000")]


def test_verls_tracker_is_not_ours(tmp_path: Path) -> None:
    tree: Tree = {"global_step_1000/data.pt": PT, TRACKER: b"1000"}
    assert pointers_of(Megatron, tmp_path, tree) == []
