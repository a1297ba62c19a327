"""timm: what its saver names how, and that links under fixed names are checkpoints of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.timm import Timm
from ckptctl.model import Kind, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, recognised
from tests.program import Ckptctl
from tests.trees import make_tree, set_age

PT = torch_zip()


def test_the_corpus(corpus: Path) -> None:
    claims = claims_of(Timm, corpus / "timm")
    named = {name for name, claim in claims.items() if claim.named}
    assert named == {"last", "model_best"}
    assert {c.epoch for c in claims.values() if c.family == "checkpoint-#.pth.tar"} == {
        2, 4, 6, 7, 8, 9, 10, 11, 12, 13,
    }  # fmt: skip
    assert claims["recovery-13-0"].epoch == 13


@pytest.mark.parametrize("epoch", [0, 12, 98765432109876543210])
def test_an_epoch_counts_from_zero_as_the_summary_does(tmp_path: Path, epoch: int) -> None:
    claim = claim_of(Timm, tmp_path, {f"checkpoint-{epoch}.pth.tar": PT})
    assert (claim.kind, claim.name) == (Kind.FILE, f"checkpoint-{epoch}")
    assert claim.key_file == f"checkpoint-{epoch}.pth.tar"
    assert (claim.step, claim.epoch, claim.counts, claim.log_offset) == (None, epoch, Unit.EPOCH, 0)
    assert (claim.family, claim.missing, claim.named) == ("checkpoint-#.pth.tar", None, False)


def test_a_recovery_is_in_the_midst_of_an_epoch_so_that_no_log_is_joined(tmp_path: Path) -> None:
    claim = claim_of(Timm, tmp_path, {"recovery-13-500.pth.tar": PT})
    assert (claim.epoch, claim.step, claim.counts) == (13, None, None)
    assert claim.family == "recovery-#-#.pth.tar"


@pytest.mark.parametrize("name", ["last", "model_best"])
def test_names_that_are_timms_own(tmp_path: Path, name: str) -> None:
    claim = claim_of(Timm, tmp_path, {f"{name}.pth.tar": PT})
    assert (claim.named, claim.epoch, claim.counts) == (True, None, None)


@pytest.mark.parametrize(
    ("file", "family"),
    [("tmp.pth.tar", "checkpoint-#.pth.tar"), ("recovery_tmp.pth.tar", "recovery-#-#.pth.tar")],
)
def test_what_was_not_renamed_would_have_joined_a_family(
    tmp_path: Path, file: str, family: str
) -> None:
    claim = claim_of(Timm, tmp_path, {file: PT})
    assert (claim.temporary, claim.family, claim.named) == (True, family, False)
    assert claim.missing == "timm had not renamed it yet"


@pytest.mark.parametrize(
    "file",
    [
        "checkpoint-12.pth", "checkpoint-012.pth.tar", "checkpoint-12-best.pth.tar", "checkpoint.pth.tar",
        "checkpoint-.pth.tar", "checkpoint-1.5.pth.tar", "recovery-13.pth.tar", "milestone-10.pth.tar",
        "Checkpoint-12.pth.tar", "my_checkpoint-12.pth.tar", ".checkpoint-12.pth.tar", "best.pth.tar",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(Timm, tmp_path, {file: PT}) == {}


def test_neither_a_directory_nor_a_link_is_one(tmp_path: Path) -> None:
    tree: Tree = {"checkpoint-1.pth.tar/x.pt": PT, "checkpoint-2.pth.tar": "-> elsewhere.pth.tar"}
    assert claims_of(Timm, tmp_path, tree) == {}


def test_a_directory_of_that_number_is_the_trainers(tmp_path: Path) -> None:
    tree = {
        "checkpoint-12.pth.tar": PT,
        "checkpoint-12/trainer_state.json": b'{"global_step": 12}',
        "checkpoint-12/model.safetensors": b"",
    }
    assert recognised(tmp_path, tree) == {
        "checkpoint-12": "hf-trainer",
        "checkpoint-12.pth.tar": "timm",
    }


@pytest.mark.parametrize(
    "file", ["checkpoint-1.pth.tar", "recovery-1-2.pth.tar", "last.pth.tar", "model_best.pth.tar"]
)
def test_a_torn_file_is_found(tmp_path: Path, file: str) -> None:
    assert findings_of(Timm, tmp_path, {file: PT}) == []
    (finding,) = findings_of(Timm, tmp_path, {file: PT[:-1]})
    assert (finding.file, finding.code) == (file, "torn")
    assert claim_of(Timm, tmp_path, {file: b""}).missing == f"{file} is empty"


def test_deleting_an_epoch_leaves_its_links_and_frees_nothing(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = make_tree(tmp_path / "run", {f"checkpoint-{epoch}.pth.tar": PT for epoch in range(3)})
    os.link(run / "checkpoint-0.pth.tar", run / "model_best.pth.tar")
    os.link(run / "checkpoint-2.pth.tar", run / "last.pth.tar")
    set_age(run, 7200)
    for epoch in range(3):
        os.utime(run / f"checkpoint-{epoch}.pth.tar", (10**9 + epoch, 10**9 + epoch))
    done = ckptctl("prune", "--keep-last", "1", run, "--json")
    assert done.code == 0, done.stderr
    left = {path.name for path in run.iterdir()}
    assert left - {".ckptctl"} == {"checkpoint-2.pth.tar", "last.pth.tar", "model_best.pth.tar"}
    assert (run / "model_best.pth.tar").read_bytes() == PT
    allocated = (run / "model_best.pth.tar").stat().st_blocks * 512
    assert done.json["freed_bytes"] == allocated  # of checkpoint-1 alone: the other has a link
