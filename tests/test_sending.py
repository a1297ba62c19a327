"""What did not arrive as it was sent is taken away again: in a bucket it has its name already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptctl.listing import Entry
from ckptctl.stores._moving import Moving
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.cargo import Piece
from ckptctl.transfer.notes import Notes
from ckptctl.transfer.sending import DroppedError, Sender
from ckptctl.transfer.throttle import Throttle
from tests.trees import make_tree


class Garbling(LocalStore):
    """A store that holds other bytes than it was given."""

    def blocks(self, path: str, entry: Entry, offset: int = 0) -> Iterator[memoryview]:
        yield memoryview(b"other")

    def copied(self, path: str, entry: Entry, source: Moving, target: str) -> Entry | None:
        return None


class Copying(LocalStore):
    """A store that copies by itself."""

    def copied(self, path: str, entry: Entry, source: Moving, target: str) -> Entry | None:
        self.replace(target, b"12345")
        return self.stat(target)


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
    free = Throttle(None, float, lambda _: None)
    sender = Sender(here, free, 1, lambda: False, lambda _: None)
    piece = Piece("step_1.pt", "step_1.pt", entry, entry.mtime_ns, noted)
    with pytest.raises(error):
        sender.send_one(piece, there, "step_1.pt", Notes(state, "step_1.pt", 1))
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["other"]
