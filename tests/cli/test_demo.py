"""`ckptctl demo`: what a new user sees first."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.program import Ckptctl
from tests.trees import read_tree

LEFT = {
    "best.pt",
    "train.log",
    "step_9000.pt",
    *(f"step_{n}000.{end}" for n in (4, 6, 7, 8) for end in ("pt", "json")),
}


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_the_walk_ends_well_and_leaves_what_it_says(
    there: bool, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    place = tmp_path / "sample"
    if there:
        place.mkdir()
    done = ckptctl("demo", place)
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    assert {path.name for path in (place / "tiny-llm").iterdir()} == LEFT
    for word in ("saving", "would delete 4 of 10", "deleted 4 of 10", "best #2 by val_ppl (12.1)"):
        assert word in done.stdout


def test_each_command_shown_can_be_typed(tmp_path: Path, ckptctl: Ckptctl) -> None:
    done = ckptctl("demo", tmp_path / "sample")
    shown = re.findall(r"^\$ ckptctl (.*)$", done.stdout, re.MULTILINE)
    assert len(shown) == 4
    for line in shown:
        assert ckptctl(*line.split()).code == 0


def test_without_a_directory_it_names_the_temporary_one(ckptctl: Ckptctl, tmp_path: Path) -> None:
    done = ckptctl("demo", env={"TMPDIR": str(tmp_path)})
    assert done.code == 0
    (place,) = tmp_path.iterdir()
    assert str(place) in done.stdout.splitlines()[-1]
    assert (place / "tiny-llm" / "step_8000.pt").exists()
    shutil.rmtree(place)


def test_a_directory_that_holds_something_is_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    (tmp_path / "step_1.pt").write_bytes(b"mine")
    done = ckptctl("demo", tmp_path)
    assert done.code == 2
    assert "not empty" in done.stderr
    assert read_tree(tmp_path) == {"step_1.pt": b"mine"}


def test_a_file_is_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    assert ckptctl("demo", file).code == 2
    assert file.read_bytes() == b"mine"
