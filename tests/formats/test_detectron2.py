"""detectron2: iterations from zero, copies under fixed names, and the tracker that may name these."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.detectron2 import Detectron2
from ckptctl.model import Kind, Unit
from tests.claims import claim_of, claims_of, findings_of, pointers_of, recognised
from tests.program import Ckptctl
from tests.trees import make_tree, set_age

PT = torch_zip()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("model_0004999", 4999),
        ("model_0000000", 0),
        ("model_9999999", 9999999),
        ("model_10000000", 10000000),
        ("model_98765432109876543210", 98765432109876543210),
    ],
)
def test_iterations(tmp_path: Path, name: str, step: int) -> None:
    claim = claim_of(Detectron2, tmp_path, {f"{name}.pth": PT})
    assert (claim.kind, claim.name, claim.key_file) == (Kind.FILE, name, f"{name}.pth")
    assert (claim.step, claim.epoch, claim.counts, claim.log_offset) == (step, None, Unit.STEP, 0)
    assert (claim.family, claim.missing, claim.named) == ("model_#.pth", None, False)


@pytest.mark.parametrize("name", ["model_final", "model_best"])
def test_names_that_are_its_own(tmp_path: Path, name: str) -> None:
    claim = claim_of(Detectron2, tmp_path, {f"{name}.pth": PT})
    assert (claim.named, claim.step, claim.counts, claim.family) == (
        True,
        None,
        None,
        f"{name}.pth",
    )


@pytest.mark.parametrize(
    "file",
    [
        "model_004999.pth", "model_00004999.pth", "model_0004999.pt", "model_0004999.pth.tar",
        "model_0004999_best.pth", "model_final_280758.pkl", "model_last.pth", "model.pth",
        "my_model_0004999.pth", ".model_0004999.pth", "model_0004999.pth.bak",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(Detectron2, tmp_path, {file: PT}) == {}


def test_shorter_numbers_are_a_loop_of_the_users(tmp_path: Path) -> None:
    tree = {"model_0004999.pth": PT, "model_500.pth": PT, "model_final.pth": PT}
    assert recognised(tmp_path, tree) == {
        "model_0004999": "detectron2",
        "model_500": "torch-file",
        "model_final": "detectron2",
    }


@pytest.mark.parametrize(
    ("content", "target"),
    [
        (b"model_0004999.pth", "model_0004999.pth"),
        (b"model_best.pth", "model_best.pth"),
        (b"model_final.pth\n", "model_final.pth"),
        (b"/data/run/epoch_12.pth", None),  # MMEngine's
        (b"", None),
        (b"x" * 70_000, None),
    ],
)
def test_what_the_tracker_names(tmp_path: Path, content: bytes, target: str | None) -> None:
    found = pointers_of(Detectron2, tmp_path, {"last_checkpoint": content})
    assert found == ([("last_checkpoint", target)] if target else [])


@pytest.mark.parametrize("name", ["model_0000004", "model_final", "model_best", "model_0000009"])
def test_a_torn_file_is_found(tmp_path: Path, name: str) -> None:
    assert findings_of(Detectron2, tmp_path, {f"{name}.pth": PT}) == []
    (finding,) = findings_of(Detectron2, tmp_path, {f"{name}.pth": PT[:40]})
    assert finding.code == "torn"
    assert claim_of(Detectron2, tmp_path, {f"{name}.pth": b""}).missing == f"{name}.pth is empty"


def test_what_the_tracker_names_is_kept_whatever_was_saved_last(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    tree: dict[str, bytes | str] = {f"model_000{step}999.pth": PT for step in range(1, 6)}
    run = make_tree(
        tmp_path / "run",
        {**tree, "model_best.pth": PT, "last_checkpoint": "model_best.pth", "metrics.json": "{}"},
    )
    set_age(run, 7200)
    listed = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert {c["name"]: c["pointers"] for c in listed if c["pointers"]} == {
        "model_best": ["last_checkpoint"]
    }
    (run / "last_checkpoint").write_text("model_0002999.pth")
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert {path.name for path in run.glob("*.pth")} == {
        "model_0002999.pth", "model_0005999.pth", "model_best.pth",
    }  # fmt: skip


def test_a_row_of_metrics_json_has_the_iteration_of_the_name(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    rows = '{"iteration": 4998, "total_loss": 3}\n{"iteration": 4999, "total_loss": 2}\n'
    run = make_tree(tmp_path / "run", {"model_0004999.pth": PT, "metrics.json": rows})
    done = ckptctl("list", "--metrics-from", "metrics.json", run, "--json")
    (one,) = done.json["runs"][0]["checkpoints"]
    assert one["metrics"] == {"total_loss": 2}
