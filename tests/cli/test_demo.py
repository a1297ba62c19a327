"""`ckptctl demo`: what a new user sees first."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest

from ckptctl.demo import make_run
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
    assert done.stderr.startswith("nothing was freed yet: the trash took 3 checkpoints")
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in (place / "tiny-llm").iterdir()} == LEFT
    for word in (
        "was cut at",
        "step_2000: pinned",
        "best not ranked: no finite val_ppl",
        "would delete 3 of 10",
        "brought back 3 checkpoints",
        "step_2000: no longer pinned",
        "best #2 by val_ppl (12.1)",
    ):
        assert word in done.stdout


def test_each_command_shown_can_be_typed(tmp_path: Path, ckptctl: Ckptctl) -> None:
    place = tmp_path / "sample"
    done = ckptctl("demo", place)
    shown = re.findall(r"^\$ ckptctl (.*)$", done.stdout, re.MULTILINE)
    assert len(shown) == 9
    shutil.rmtree(place)
    make_run(str(place), time.time_ns())
    for line in shown:
        assert ckptctl(*line.split()).code == 0, line
    assert {path.name for path in (place / "tiny-llm").iterdir()} == LEFT


def test_what_was_undone_lies_in_no_trash(tmp_path: Path, ckptctl: Ckptctl) -> None:
    ckptctl("demo", tmp_path / "sample")
    listed = ckptctl("undo", tmp_path / "sample" / "tiny-llm", "--list", "--json")
    assert "step_" not in listed.stdout


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
