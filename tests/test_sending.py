"""What did not arrive as it was sent is taken away again: in a bucket it has its name already."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.listing import Entry
from ckptctl.model import Kind
from ckptctl.reading import VanishedError
from ckptctl.stores._base import Capabilities
from ckptctl.stores._moving import Giving
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.notes import Notes, Sent
from ckptctl.transfer.sending import DroppedError, Sender
from ckptctl.transfer.throttle import Throttle
from tests.checkpoints import checkpoint
from tests.trees import make_tree


class Garbling(LocalStore):
    """A store that holds other bytes than it was given."""

    def blocks(self, path: str, entry: Entry, offset: int = 0) -> Iterator[memoryview]:
        yield memoryview(b"other")

    def copied(self, path: str, entry: Entry, source: Giving, target: str) -> Entry | None:
        return None


class Copying(LocalStore):
    """A store that copies by itself."""

    def copied(self, path: str, entry: Entry, source: Giving, target: str) -> Entry | None:
        self.replace(target, b"12345")
        return self.stat(target)


class Meeting(LocalStore):
    """A store like a bucket, that answers once so many files are on their way to it."""

    def __init__(self, root: str, awaited: int) -> None:
        super().__init__(root)
        self.meeting = threading.Barrier(awaited)

    @property
    def able(self) -> Capabilities:
        return Capabilities()

    def copied(self, path: str, entry: Entry, source: Giving, target: str) -> Entry | None:
        self.meeting.wait(60)
        return super().copied(path, entry, source, target)


def sender_of(source: LocalStore, jobs: int = 1, small_jobs: int = 1) -> Sender:
    free = Throttle(None, float, lambda _: None)
    return Sender(source, free, jobs, small_jobs, lambda: False, lambda _: None)


def test_what_changes_in_any_way_while_it_is_copied_is_no_copy(tmp_path: Path) -> None:
    make_tree(tmp_path, {"step_1/model.pt": b"12345"})
    store = LocalStore(str(tmp_path))
    entry = store.listing().folders["step_1"].files["model.pt"]
    one = replace(
        checkpoint(step=1),
        member="step_1",
        kind=Kind.DIRECTORY,
        folders=("step_1",),
        files={"step_1/model.pt": entry},
    )
    piece = Piece("step_1/model.pt", "step_1/model.pt", entry, entry.mtime_ns)
    cargo = Cargo(checkpoint=one, member="step_1", pieces=(piece,))
    sender = sender_of(store)
    sender.refuse_changed(cargo)
    make_tree(tmp_path, {"step_1/late.pt": b"1"})
    with pytest.raises(VanishedError, match="it came while the rest was copied"):
        sender.refuse_changed(cargo)
    shutil.rmtree(tmp_path / "step_1")
    with pytest.raises(VanishedError, match="saved anew"):
        sender.refuse_changed(cargo)


@pytest.mark.parametrize(
    ("store", "noted", "error"),
    [(Garbling, None, OSError), (Copying, "another digest", DroppedError)],
    ids=["read back", "copied by the store"],
)
def test_nothing_is_left_of_what_is_not_what_was_sent(
    tmp_path: Path, store: type[LocalStore], noted: str | None, error: type[OSError]
) -> None:
    make_tree(tmp_path, {"here/step_1.pt": b"12345", "there/other": b"mine", "state/": b""})
    here, there, state = (
        kind(str(tmp_path / name))
        for kind, name in ((LocalStore, "here"), (store, "there"), (LocalStore, "state"))
    )
    entry = here.listing().files["step_1.pt"]
    sender = sender_of(here)
    piece = Piece("step_1.pt", "step_1.pt", entry, entry.mtime_ns, noted)
    with pytest.raises(error):
        sender.send_one(piece, there, "step_1.pt", Notes(state, "step_1.pt", 1))
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["other"]


class Counting(LocalStore):
    """A state in memory that knows how many bytes were written into it."""

    written = 0
    content = b""

    def replace(self, path: str, content: bytes, *, if_match: str = "") -> None:
        self.written += len(content)
        self.content = content

    def read(self, path: str, limit: int) -> bytes:
        return self.content or super().read(path, limit)


def test_notes_of_many_files_cost_little(tmp_path: Path) -> None:
    state = Counting(str(tmp_path))
    notes = Notes(state, "step_1", 1)
    for number in range(8000):
        entry = Entry(1, 1, inode=number + 1)
        piece = Piece(f"{number}", f"step_1/{number}", entry, 1)
        notes.finished(piece, Sent(entry, "0" * 64))
    notes.flush()
    assert state.written < 9 * len(state.content)
    assert Notes(state, "step_1", 1).sent(piece) == (entry.version, "0" * 64)


@pytest.mark.parametrize(("size", "jobs"), [(2**20, (1, 8)), (2**20 + 1, (8, 1))])
def test_more_small_files_than_large_ones_are_on_their_way_to_a_bucket(
    tmp_path: Path, size: int, jobs: tuple[int, int]
) -> None:
    make_tree(tmp_path, {f"here/{n}.pt": b"1" * size for n in range(8)} | {"there/": b""})
    here = LocalStore(str(tmp_path / "here"))
    files = here.listing().files.items()
    pieces = [Piece(name, name, entry, entry.mtime_ns) for name, entry in files]
    there = Meeting(str(tmp_path / "there"), awaited=8)
    sent = sender_of(here, *jobs).send(pieces, there, str, Notes(here, "step_1", 0))
    assert sent.keys() == dict(files).keys() == there.listing().files.keys()
