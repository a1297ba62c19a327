"""Ultralytics: which files are its own, how its epochs count, what it replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.ultralytics import Ultralytics
from ckptctl.group import look
from ckptctl.known import known_formats
from tests.claims import claim_of, claims_of, findings_of, opened
from tests.program import Ckptctl
from tests.trees import make_tree

PT = torch_zip()
RUN = {f"weights/{name}": PT for name in ("last.pt", "best.pt", "epoch0.pt", "epoch10.pt")}


def seen(root: Path, below: str = "") -> dict[str, str]:
    """Return the format of each checkpoint in a directory, which is looked at as a location."""
    with opened(root / below) as (folder, store):
        found = look(folder, store, known_formats(), (root / below).name)
        return {item.name: item.claim.format for item in found.items}


def test_a_whole_run(tmp_path: Path) -> None:
    make_tree(tmp_path, RUN)
    found = claims_of(Ultralytics, tmp_path / "weights")
    assert {name: (c.epoch, c.step, c.named, c.family) for name, c in found.items()} == {
        "last": (None, None, True, "last.pt"),
        "best": (None, None, True, "best.pt"),
        "epoch0": (0, None, False, "epoch#.pt"),
        "epoch10": (10, None, False, "epoch#.pt"),
    }
    assert {c.missing for c in found.values()} == {None}
    assert Ultralytics.rewrites == {"last.pt", "best.pt"}


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        ("1,0.25\n2,0.5\n11,0.75\n", 0.75),
        ("0,0.25\n1,0.5\n10,0.75\n11,0.9\n", 0.75),  # YOLOv5's, under the same names
    ],
    ids=["from one", "from zero"],
)
def test_a_log_that_counts_from_one_or_from_zero(
    rows: str, metric: float, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    make_tree(tmp_path, {**RUN, "results.csv": f"epoch,map\n{rows}"})
    done = ckptctl("list", tmp_path / "weights", "--metrics-from", "../results.csv", "--json")
    found = {c["name"]: c["metrics"] for c in done.json["runs"][0]["checkpoints"]}
    assert found["epoch10"] == {"map": metric}
    assert found["last"] == {}


def test_the_name_of_the_directory_tells_it_from_a_loop_of_the_users(tmp_path: Path) -> None:
    loop = {path.replace("weights", "ckpts"): data for path, data in RUN.items()}
    make_tree(tmp_path, {**RUN, **loop})
    assert set(seen(tmp_path, "weights").values()) == {"ultralytics"}
    assert set(seen(tmp_path, "ckpts").values()) == {"torch-file"}
    assert set(seen(tmp_path, "ckpts")) == set(seen(tmp_path, "weights"))


def test_without_last_it_is_another_loops(tmp_path: Path) -> None:
    make_tree(tmp_path, {"weights/epoch1.pt": PT, "weights/best.pt": PT})
    assert set(seen(tmp_path, "weights").values()) == {"torch-file"}


@pytest.mark.parametrize(
    "file",
    ["epoch-1.pt", "epoch_1.pt", "epoch01.pt", "epoch1.pth", "epoch1_best.pt", "epoch.pt", "last.pth"],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert set(claims_of(Ultralytics, tmp_path, {"last.pt": PT, file: PT})) == {"last"}


def test_links_are_none(tmp_path: Path) -> None:
    assert claims_of(Ultralytics, tmp_path, {"last.pt": "-> epoch1.pt", "epoch1.pt": PT}) == {}


def test_torn_files(tmp_path: Path) -> None:
    assert claim_of(Ultralytics, tmp_path / "a", {"last.pt": b""}).missing == "last.pt is empty"
    (finding,) = findings_of(Ultralytics, tmp_path / "b", {"last.pt": PT[:-1]})
    assert (finding.file, finding.code) == ("last.pt", "torn")
