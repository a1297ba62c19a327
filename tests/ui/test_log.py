"""What a log notes that runs out of space in the middle of a line."""

from __future__ import annotations

import json
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


def test_a_line_that_is_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = ActionLog(str(path), {}, lambda: 0)

    def add(name: str) -> None:
        log.add("prune", "run", Outcome(name, f"/run/{name}", "delete", "done", 1))

    add("a")
    assert log.lost() is None
    with room(path.stat().st_size + 50):
        add("b")  # in part
        add("c")  # not at all
    add("d")
    first, torn, last = path.read_text().splitlines()
    assert [json.loads(line)["checkpoint"] for line in (first, last)] == ["a", "d"]
    assert len(torn) == 50
    lost = log.lost()
    assert lost is not None
    assert "2 of 4 lines" in lost
    assert str(path) in lost
