"""torch.distributed.checkpoint: what commits a directory, what it lacks, what its index proves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._dcp_index import files_needed
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.model import Unit
from tests.claims import Tree, agrees, claim_of, claims_of, findings_of
from tests.trees import make_tree

BLOB = torch_zip()
INDEX = dcp_metadata({"__0_0.distcp": len(BLOB), "__1_0.distcp": len(BLOB)})


def saved(name: str = "step-1000", more: Tree | None = None) -> dict[str, bytes | str]:
    return {
        f"{name}/.metadata": INDEX,
        f"{name}/__0_0.distcp": BLOB,
        f"{name}/__1_0.distcp": BLOB,
        **{f"{name}/{path}": data for path, data in (more or {}).items()},
    }


def by_ranks(name: str, ranks: int) -> dict[str, bytes | str]:
    """Each rank commits by its own marker."""
    return {
        f"{name}/__{rank}{rest}": BLOB
        for rank in range(ranks)
        for rest in (".metadata", "_0.distcp")
    }


def at(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


@pytest.mark.parametrize("run", ["torch-dcp", "torch-dcp-torn"])
def test_the_corpus(corpus: Path, truth: Mapping[str, list[dict[str, Any]]], run: str) -> None:
    agrees(TorchDcp, corpus / run, truth[run])


def test_a_whole_one(tmp_path: Path) -> None:
    claim = claim_of(TorchDcp, tmp_path, saved())
    assert (claim.step, claim.counts, claim.family) == (1000, Unit.STEP, "step-#")
    assert claim.key_file == claim.marker == "step-1000/.metadata"
    assert (claim.missing, claim.expects_marker, claim.resumable) == (None, True, None)


@pytest.mark.parametrize(
    ("name", "step", "epoch"),
    [
        ("step-0", 0, None),
        ("step_5", 5, None),
        ("ckpt-00000007", 7, None),
        ("epoch_3", None, 3),
        ("step-98765432109876543210", 98765432109876543210, None),
    ],
)
def test_names_with_a_number(tmp_path: Path, name: str, step: int, epoch: int) -> None:
    claim = claim_of(TorchDcp, tmp_path, saved(name))
    assert (claim.step, claim.epoch, claim.missing) == (step, epoch, None)


@pytest.mark.parametrize(
    "name",
    [
        "exp_12",
        "model",
        "20260102",
        "step-1000-best",
        "step_1000.bak",
        "iter_0001000",
        "step=5.ckpt",
    ],
)
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(TorchDcp, tmp_path, saved(name)) == {}


@pytest.mark.parametrize(
    ("name", "sign"),
    [("checkpoint-5", "trainer_state.json"), ("step_5", "common.pt"), ("step_5", "meta.pt")],
)
def test_those_of_other_frameworks_are_not_claimed(tmp_path: Path, name: str, sign: str) -> None:
    assert claims_of(TorchDcp, tmp_path, saved(name, {sign: b"x"})) == {}


def test_nemos_are_not_claimed(tmp_path: Path) -> None:
    assert claims_of(TorchDcp, tmp_path, saved("gpt--val_loss=1.20-step=100")) == {}


def test_a_directory_without_data_is_not_claimed(tmp_path: Path) -> None:
    tree = {"step_5/.metadata": b"x", "step_6/notes.txt": b"", "step_7/": b""}
    assert claims_of(TorchDcp, tmp_path, tree) == {}


def test_a_link_is_not_claimed(tmp_path: Path) -> None:
    tree = {**saved("step-1"), "step-2": "-> step-1"}
    assert list(claims_of(TorchDcp, tmp_path, tree)) == ["step-1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({".metadata": None}, "no .metadata, which is written last"),
        ({".metadata": None, ".metadata.tmp": b"x"}, "no .metadata, which is written last"),
        ({".metadata.tmp": b"x"}, ".metadata.tmp is there: a save is under way, or was cut off"),
        ({".metadata": b""}, "its commit marker is empty"),
        ({"__0_0.distcp": None, "__1_0.distcp": None}, "no .distcp file"),
    ],
)
def test_what_is_not_whole(tmp_path: Path, change: dict[str, bytes | None], words: str) -> None:
    tree = saved()
    for path, data in change.items():
        if data is None:
            del tree[f"step-1000/{path}"]
        else:
            tree[f"step-1000/{path}"] = data
    assert claim_of(TorchDcp, tmp_path, tree).missing == words


def test_without_a_marker_the_key_file_is_the_lowest_ranks(tmp_path: Path) -> None:
    tree = {f"step-1/__{rank}_0.distcp": BLOB for rank in (10, 2, 3)}
    claim = claim_of(TorchDcp, tmp_path, tree)
    assert (claim.key_file, claim.marker) == ("step-1/__2_0.distcp", None)


def test_the_marker_covers_data_and_nothing_else(tmp_path: Path) -> None:
    tree = saved(more={"config.json": b"{}", "logs/a/b.txt": b""})
    uncovered = claim_of(TorchDcp, tmp_path, tree).uncovered
    assert set(uncovered) == {"step-1000/config.json", "step-1000/logs/"}


def test_ranks_that_commit_for_themselves(tmp_path: Path) -> None:
    claim = claim_of(TorchDcp, tmp_path, by_ranks("step-5", 2))
    assert (claim.missing, claim.key_file) == (None, "step-5/__0.metadata")


def test_only_the_first_rank_has_committed(tmp_path: Path) -> None:
    tree = by_ranks("step-5", 2)
    del tree["step-5/__1.metadata"]
    claim = claim_of(TorchDcp, tmp_path, tree)
    assert claim.missing == "no __1.metadata, by which rank 1 commits"
    assert claim.marker is None


def test_a_rank_in_between_has_not_committed(tmp_path: Path) -> None:
    tree = {p: d for p, d in by_ranks("step-5", 3).items() if not p.startswith("step-5/__1")}
    assert claim_of(TorchDcp, tmp_path, tree).missing == "no __1.metadata, by which rank 1 commits"


def test_a_rank_that_saves_over_its_part_is_not_hidden_by_another(tmp_path: Path) -> None:
    make_tree(tmp_path, by_ranks("step-5", 2))
    for name, when in [
        ("__0_0.distcp", 10), ("__1.metadata", 20), ("__1_0.distcp", 30), ("__0.metadata", 40),
    ]:  # fmt: skip
        at(tmp_path / "step-5" / name, when)
    claim = claim_of(TorchDcp, tmp_path)
    assert claim.marker == "step-5/__1.metadata"
    assert set(claim.uncovered) == {"step-5/__0.metadata", "step-5/__0_0.distcp"}


LOST = "no __2.metadata, which others of its family have"


@pytest.mark.parametrize("whole", [["1", "4"], ["1"], ["4"]])
def test_a_last_rank_without_any_file_is_told_by_the_others(
    tmp_path: Path, whole: list[str]
) -> None:
    steps = {*whole, "2", "3"}
    tree = {p: d for s in steps for p, d in by_ranks(f"step-{s}", 3 if s in whole else 2).items()}
    found = claims_of(TorchDcp, tmp_path, tree)
    assert {step for step in steps if found[f"step-{step}"].missing is None} == set(whole)
    assert found["step-2"].missing == found["step-3"].missing == LOST


@pytest.mark.parametrize("lost", ["__1.metadata", "__2.metadata"])
def test_one_that_is_torn_itself_tells_of_the_highest_rank(tmp_path: Path, lost: str) -> None:
    tree = {**by_ranks("step-1", 2), **by_ranks("step-2", 3)}
    del tree[f"step-2/{lost}"]
    assert claims_of(TorchDcp, tmp_path, tree)["step-1"].missing == LOST


def test_ranks_say_nothing_of_what_one_marker_commits(tmp_path: Path) -> None:
    found = claims_of(TorchDcp, tmp_path, {**by_ranks("step-1", 3), **saved("step-2")})
    assert found["step-1"].missing is found["step-2"].missing is None


def test_whole_data_proves_whole(tmp_path: Path) -> None:
    assert findings_of(TorchDcp, tmp_path, saved()) == []


def test_files_of_an_earlier_larger_run_are_no_damage(tmp_path: Path) -> None:
    assert findings_of(TorchDcp, tmp_path, saved(more={"__7_0.distcp": b""})) == []


@pytest.mark.parametrize(
    ("data", "code"),
    [(None, "data-missing"), (b"", "data-truncated"), (BLOB[:-1], "data-truncated")],
)
def test_data_that_the_index_names(tmp_path: Path, data: bytes | None, code: str) -> None:
    tree = saved()
    del tree["step-1000/__1_0.distcp"]
    if data is not None:
        tree["step-1000/__1_0.distcp"] = data
    (finding,) = findings_of(TorchDcp, tmp_path, tree)
    assert (finding.file, finding.code) == ("step-1000/__1_0.distcp", code)


@pytest.mark.parametrize("index", [INDEX[:-1], INDEX[:20], b"\0" * len(INDEX), b"no pickle"])
def test_an_index_that_is_cut_off(tmp_path: Path, index: bytes) -> None:
    tree = {**saved(), "step-1000/.metadata": index}
    (finding,) = findings_of(TorchDcp, tmp_path, tree)
    assert (finding.file, finding.code) == ("step-1000/.metadata", "index-unreadable")


def test_a_real_index_names_every_byte(corpus: Path) -> None:
    for step in (corpus / "torch-dcp").iterdir():
        needed = files_needed((step / ".metadata").read_bytes())
        assert needed == {path.name: path.stat().st_size for path in step.glob("*.distcp")}


def test_a_real_index_cut_anywhere_is_noticed(corpus: Path) -> None:
    index = (corpus / "torch-dcp/step-500/.metadata").read_bytes()
    for length in range(0, len(index), 97):
        with pytest.raises(ValueError, match=r"pickle|bytes|stream|opcode"):
            files_needed(index[:length])
