"""What an interrupted copy left is removed only where it is known that nobody goes on with it."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from ckptctl.cli.drilling import SCRATCH, sweep_scratch
from ckptctl.listing import Folder
from ckptctl.lock import Lock
from ckptctl.stores.local import LocalStore
from ckptctl.transfer.notes import Notes, note_name, stage_name
from ckptctl.transfer.sweeping import sweep
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.trees import make_tree, read_tree, set_age


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


WEEK = 7 * 24 * 3600
LEFT = {
    "resolving/77.0/0-0.json": "{}",
    "resolving/78.0/": "",
    "verifying/0-of-2.jsonl": "{}",
    "verifying.jsonl": "{}",
    "staging/parts/0-of-2.lock": json.dumps({"expires_ns": 5}),
    "staging/parts/0-of-2.json": "{}",
    "staging/parts/step_1.open.json": "{}",
    "staging/step_1.parts/0.json": "{}",
}


def left_by_dead_calls(state: Path, age: float) -> None:
    make_tree(state, LEFT, age=age)
    set_age(state, age)
    note = {"schema": "ckptctl/staging", "version": 1, "files": {}, "began_ns": time.time_ns() - int(age * 1e9)}  # fmt: skip
    make_tree(state, {f"{stage_name('step_1')}/step_1.pt": b"1", note_name("step_1"): json.dumps(note)})  # fmt: skip


@pytest.mark.parametrize("command", ["prune", "sync"])
def test_what_calls_left_that_died_is_gone_after_a_week_and_stays_before(
    command: str, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    for age, name in ((WEEK + 3600, "old"), (WEEK - 3600, "new")):
        run = save(tmp_path / name, dict.fromkeys((4, 5, 6)))
        state = tmp_path / ".ckptctl" / name
        left_by_dead_calls(state, age)
        before = read_tree(state)
        source = make_tree(tmp_path / f"to-{name}" / name, {})
        save(source, {7: None})
        args = ("prune", run, "--keep-last", "1") if command == "prune" else ("sync", source, run)
        done = ckptctl(*args)
        assert done.code == 0, done.stderr
        assert steps_left(run) == ([6] if command == "prune" else [4, 5, 6, 7])
        after = read_tree(state)
        left = {path for path in before if path in after}
        assert left == (set() if name == "old" else set(before))
        assert (state / "resolving/78.0").exists() == (name == "new")


def test_the_note_of_one_call_goes_though_others_go_on_calling(tmp_path: Path) -> None:
    left_by_dead_calls(tmp_path, WEEK + 3600)
    alive = {"staging/parts/1-of-2.json": "{}", "staging/parts/2-of-2.lock": "{}"}
    make_tree(tmp_path, alive)
    state = LocalStore(str(tmp_path))
    # One that has not been renewed for a week, of a process that lives, is its own all the same.
    held = Lock(state, lambda: 2**62, file="staging/parts/3-of-4.lock")
    held.acquire()
    os.utime(tmp_path / "staging/parts/3-of-4.lock", (5, 5))
    sweep(state, state, (), time.time_ns())
    held.check()
    held.release()
    assert set(read_tree(tmp_path)) == set(alive)


def test_a_drill_that_was_killed_leaves_its_copies_for_a_week_only(tmp_path: Path) -> None:
    ours = f"{SCRATCH}{'0a' * 8}"
    other = f"{SCRATCH}mine"
    for name in (ours, other):
        make_tree(tmp_path / name, {"llm/step_1.pt": b"1"}, age=9 * WEEK)
    now_ns = time.time_ns()
    sweep_scratch(str(tmp_path), now_ns)
    assert (tmp_path / ours / "llm/step_1.pt").exists()
    sweep_scratch(str(tmp_path), now_ns + (WEEK + 60) * 10**9)
    assert [path.name for path in tmp_path.iterdir()] == [other]
