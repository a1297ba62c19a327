"""A sync that ends before the pointers were written is finished by the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layouts import EXAMPLES, grid
from tests.program import Ckptctl
from tests.trees import make_tree, read_tree

UNFINISHED = {
    "a tag that only latest makes a checkpoint": (
        {**grid("final", 1, 1), "latest": "final"},
        "latest",
    ),
    "directories that only the snapshot makes whole": (
        EXAMPLES["ray-train"],
        "checkpoint_manager_snapshot.json",
    ),
}


@pytest.mark.parametrize("which", UNFINISHED)
def test_the_next_sync_writes_a_pointer_that_is_missing(
    which: str, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    tree, pointer = UNFINISHED[which]
    here, there = make_tree(tmp_path / "here", tree, age=3600), tmp_path / "there"
    first = ckptctl("sync", here, there, "--json")
    assert first.code == 0, first.stderr
    assert read_tree(there) == read_tree(here)
    (there / pointer).unlink()
    done = ckptctl("sync", here, there, "--json")
    assert done.code == 0, done.stdout
    assert [(one["action"], one["status"]) for one in done.json["results"]] == [
        ("copy", "equal"),
        ("point", "done"),
    ]
    assert read_tree(there) == read_tree(here)
