"""What a prune sees before a deletion of what others wrote since its last look."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from ckptctl.asking import Asking
from ckptctl.decision import Context
from ckptctl.listing import Entry
from ckptctl.model import Checkpoint, Hold, Run
from ckptctl.noting import held
from ckptctl.plan import Action, Doing, Plan
from ckptctl.recording import Recorder
from ckptctl.sight import DiskSight
from ckptctl.stores.local import LocalStore
from tests.checkpoints import HOUR, NOW, checkpoint, run
from tests.trees import make_tree

HOLD = Hold("eval", "node7", NOW + HOUR)


class Watched:
    """A run on disk, and an asking whose every look takes a second: it is used for five."""

    def __init__(self, root: Path) -> None:
        self.root = make_tree(root / "run", {f"step_{n}.pt": b"x" for n in range(1, 4)})
        self.state = root / "state"
        self.store = LocalStore(str(self.root))
        self.checkpoints = {n: self._checkpoint(n) for n in range(1, 4)}
        self.looks = 0
        seconds: Iterator[int] = count()
        plan = Plan(run=self._run(), decisions=(), actions=(), keepers=frozenset({"step_3.pt"}))
        self.asking = Asking(
            plan,
            DiskSight(plan, self.store, (str(self.state),), lambda: next(seconds) / 2),
            look=self._look,
            metrics=(),
            context=lambda: Context(NOW),
        )

    def _checkpoint(self, step: int) -> Checkpoint:
        entry = self.store.stat(f"step_{step}.pt")
        assert isinstance(entry, Entry)
        made = checkpoint(NOW, step=step, saved=f"{9 - step}h")
        return replace(made, files={f"step_{step}.pt": entry})

    def _run(self) -> Run:
        return run(list(self.checkpoints.values()))

    def _look(self) -> Run:
        self.looks += 1
        return self._run()

    def hold(self, step: int) -> None:
        """Let somebody hold a checkpoint, in the state directory and in the next look."""
        self.state.mkdir(exist_ok=True)
        state = LocalStore(str(self.state))
        recorder = Recorder(state, time.time_ns, time.monotonic, time.sleep)
        recorder.change(f"step_{step}.pt", lambda old: held(old, HOLD, NOW))
        state.close()
        self.checkpoints[step] = replace(self.checkpoints[step], holds=(HOLD,))

    def answer(self, step: int) -> str | None:
        """Return why a checkpoint may not go."""
        answer = self.asking.about(Action(Doing.DELETE, self._checkpoint(step)))
        return answer.text if answer else None


def test_one_look_does_for_several_deletions_while_nothing_changes(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.answer(1) is None
    looks = watched.looks
    assert watched.answer(2) is None
    assert watched.looks == looks


def test_the_first_record_of_a_run_is_seen_at_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.answer(1) is None
    watched.hold(2)
    assert watched.answer(2) == "kept by held now: by eval on node7 until 2026-01-15T13:00:00Z"


def test_a_record_written_while_we_delete_is_not_taken_for_our_own_change(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.hold(3)
    assert watched.answer(1) is None
    watched.asking.taking()
    watched.hold(2)
    watched.asking.done()
    assert (watched.answer(2) or "").startswith("kept by held now")


def test_a_file_made_just_before_we_delete_is_not_taken_for_our_own_change(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.answer(1) is None
    (watched.root / "step_2.json").write_text('{"pinned": true}')
    watched.checkpoints[2] = replace(watched.checkpoints[2], pinned=True)
    watched.asking.taking()
    (watched.root / "step_1.pt").unlink()
    watched.asking.done()
    assert (watched.answer(2) or "").startswith("kept by pinned now")


def test_our_own_change_asks_for_no_new_look(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.answer(1) is None
    looks = watched.looks
    watched.asking.taking()
    (watched.root / "step_1.pt").unlink()
    watched.asking.done()
    assert watched.answer(2) is None
    assert watched.looks == looks


def test_each_record_makes_the_folders_time_a_later_one(tmp_path: Path) -> None:
    """Two within one tick of the kernel's clock would else look like one."""
    watched = Watched(tmp_path)
    watched.hold(1)
    folder = watched.state / "records"
    ahead = time.time_ns() + 10**12
    os.utime(folder, ns=(ahead, ahead))
    watched.hold(2)
    assert folder.stat().st_mtime_ns > ahead
