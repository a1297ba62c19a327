"""What recovery does with what a crash left in the trash."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.deletion.disk import DiskDeleter
from ckptctl.deletion.journal import Intent, Journal
from ckptctl.reading import TooLargeError
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree, read_tree


def left_behind(tmp_path: Path, *, now: dict[str, bytes], taken: bytes, meant: bool) -> DiskDeleter:
    """A run, and a deletion of step_1.pt that died after its rename; what it took was meant or not."""
    run = LocalStore(str(make_tree(tmp_path / "run", now)))
    state = LocalStore(str(make_tree(tmp_path / "state", {"trash/gone-1-1-1/0": taken})))
    found = state.identity("trash/gone-1-1-1/0")
    assert found is not None
    inode = found[1] if meant else found[1] + 10**6
    entry = Intent(
        id="1-1-1",
        name="step_1",
        folder="trash/gone-1-1-1",
        kept=False,
        parts={"step_1.pt": (3, 0, inode)},
        bytes=3,
    )
    Journal(state).begin(entry)
    return DiskDeleter(run, state, lambda: False, lambda: "2-2-2")


def state_left(tmp_path: Path) -> dict[str, bytes]:
    return {
        path: content for path, content in read_tree(tmp_path / "state").items() if "trash" in path
    }


def test_what_was_meant_is_removed(tmp_path: Path) -> None:
    deleter = left_behind(tmp_path, now={"step_2.pt": b"two"}, taken=b"old", meant=True)
    assert [done.name for done in deleter.recover()] == ["step_1"]
    assert state_left(tmp_path) == {}
    assert not deleter.pending(0)


def test_what_took_the_name_just_before_the_rename_is_put_back(tmp_path: Path) -> None:
    deleter = left_behind(tmp_path, now={"step_2.pt": b"two"}, taken=b"new", meant=False)
    assert list(deleter.recover()) == []
    assert read_tree(tmp_path / "run") == {"step_1.pt": b"new", "step_2.pt": b"two"}
    assert state_left(tmp_path) == {}


def test_where_its_name_is_taken_too_it_is_kept_and_told(tmp_path: Path) -> None:
    deleter = left_behind(tmp_path, now={"step_1.pt": b"newer"}, taken=b"new", meant=False)
    ((name, _, removed),) = deleter.recover()
    assert (name, removed.freed) == ("step_1", 0)
    assert "look at it yourself" in removed.left[0]
    assert state_left(tmp_path) == {"trash/gone-1-1-1/0": b"new"}
    assert read_tree(tmp_path / "run") == {"step_1.pt": b"newer"}


@pytest.mark.parametrize("folder", ["trash", "trash/gone-9-9-9", "records", "../run"])
def test_a_journal_that_no_deletion_of_ours_wrote_makes_nothing_go(
    tmp_path: Path, folder: str
) -> None:
    run = LocalStore(str(make_tree(tmp_path / "run", {"step_9.pt": b"keep"})))
    state = LocalStore(
        str(
            make_tree(tmp_path / "state", {"trash/5-5-5/info.json": b"{}", "records/a.json": b"{}"})
        )
    )
    entry = run.stat("step_9.pt")
    assert entry is not None
    parts = {"gone.pt": (1, 1, 1), "step_9.pt": (entry.size, entry.mtime_ns, entry.inode)}
    Journal(state).begin(
        Intent(id="1-1-1", name="x", folder=folder, kept=False, parts=parts, bytes=0)
    )
    assert list(DiskDeleter(run, state, lambda: False, lambda: "2-2-2").recover()) == []
    assert read_tree(tmp_path / "run") == {"step_9.pt": b"keep"}
    assert {"trash/5-5-5/info.json", "records/a.json"} <= read_tree(tmp_path / "state").keys()


def test_a_journal_of_any_size_is_read_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = LocalStore(str(make_tree(tmp_path, {"other": b""})))
    journal = Journal(state)
    parts = {f"{'long' * 9000}_{rank}.pt": (1, 1, rank) for rank in range(9)}
    one = Intent(id="1", name="a", folder="trash/gone-1", kept=False, parts=parts, bytes=1)
    journal.begin(one)
    journal.end("1")
    settled = (tmp_path / "journal.jsonl").read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(settled * (24 * 2**20 // len(settled)))
    journal.begin(replace(one, id="2"))
    tracemalloc.start()
    try:
        assert [intent.id for intent in journal.open_intents()] == ["2"]
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    monkeypatch.setattr("ckptctl.deletion.journal._OPEN", 2**20)
    (tmp_path / "journal.jsonl").write_bytes(b"x" * 3 * 2**20)
    with pytest.raises(TooLargeError):
        journal.open_intents()
