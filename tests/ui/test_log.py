"""What a log notes that runs out of space in the middle of a line, or that logrotate renames."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ckptctl.report import Outcome
from ckptctl.ui.log import ActionLog


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: like a full disk, it takes the part of a write that fits."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def adding(log: ActionLog, *names: str) -> None:
    for name in names:
        log.add("prune", "run", Outcome(name, f"/run/{name}", "delete", "done", 1))


def noted(path: Path) -> list[str]:
    return [json.loads(line)["checkpoint"] for line in path.read_text().splitlines()]


def test_a_line_that_is_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = ActionLog(str(path), {}, lambda: 0)
    adding(log, "a")
    assert log.lost() is None
    with room(path.stat().st_size + 50):
        adding(log, "b")  # in part
        adding(log, "c")  # not at all
    adding(log, "d")
    first, torn, last = path.read_text().splitlines()
    assert [json.loads(line)["checkpoint"] for line in (first, last)] == ["a", "d"]
    assert len(torn) == 50
    lost = log.lost()
    assert lost is not None
    assert "2 of 4 lines" in lost
    assert str(path) in lost


def test_what_is_renamed_or_cut_by_logrotate_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = ActionLog(str(path), {}, lambda: 0)
    adding(log, "a")
    path.rename(tmp_path / "log.1")  # nocreate
    adding(log, "b")
    path.rename(tmp_path / "log.2")
    path.touch(0o600)  # create
    adding(log, "c", "d")
    found = [noted(tmp_path / name) for name in ("log.1", "log.2", "log")]
    assert found == [["a"], ["b"], ["c", "d"]]
    assert path.stat().st_mode & 0o777 == 0o600
    os.truncate(path, 0)  # copytruncate: no hole of zeros is left before the next line
    adding(log, "e")
    assert noted(path) == ["e"]
    assert log.lost() is None


def test_where_the_new_file_cannot_be_opened_the_old_one_takes_the_lines(tmp_path: Path) -> None:
    """As where root opened it and was dropped; a directory in its place stands for that."""
    path = tmp_path / "log"
    log = ActionLog(str(path), {}, lambda: 0)
    path.rename(tmp_path / "log.1")
    path.mkdir()
    adding(log, "a")
    assert noted(tmp_path / "log.1") == ["a"]
    assert log.lost() is None
    (tmp_path / "log.1").unlink()  # nobody can read what is written there any more
    adding(log, "b")
    lost = log.lost()
    assert lost is not None
    assert "1 of 2 lines" in lost
