"""What an interrupted copy left is removed only where it is known that nobody goes on with it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from ckptctl.listing import Folder
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.notes import Notes, note_name, stage_name
from ckptctl.transfer.sweeping import sweep
from tests.trees import make_tree


class Failing(LocalStore):
    """A state whose files cannot be read just now."""

    def read(self, path: str, limit: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error", path)


def test_what_cannot_be_read_now_is_kept_and_told(tmp_path: Path) -> None:
    note = json.dumps({"schema": "ckptctl/staging", "version": 1, "began_ns": 5, "files": {}})
    make_tree(tmp_path, {note_name("step_1"): note, f"{stage_name('step_1')}/step_1/a": b"1"})
    state = Failing(str(tmp_path))
    with pytest.raises(OSError, match="Input/output error"):
        sweep(state, state, (), now_ns=6)
    with pytest.raises(OSError, match="Input/output error"):
        Notes(state, "step_1", 6)
    assert (tmp_path / stage_name("step_1") / "step_1/a").exists()
    sweep(LocalStore(str(tmp_path)), state, ("step_1",), now_ns=6)
    assert not list((tmp_path / "staging").iterdir())


class Fading(LocalStore):
    """A state that still lists the directory of what has just been removed, as SeaweedFS does."""

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        if path.endswith("gone.parts"):
            raise FileNotFoundError(errno.ENOENT, "there is nothing below it", path)
        return super().listing(path, deep=deep)


def test_parts_that_another_has_just_removed_keep_nobody_from_sweeping(tmp_path: Path) -> None:
    make_tree(tmp_path, {"staging/gone.parts/": "", "staging/old.parts/0.json": "{}"}, age=9)
    sweep(Fading(str(tmp_path)), Fading(str(tmp_path)), (), now_ns=2**62)
    assert [path.name for path in (tmp_path / "staging").iterdir()] == ["gone.parts"]
