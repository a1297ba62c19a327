"""The lock of a run: who gets it, who waits, and whose lock is taken over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ckptctl.errors import LockedError
from ckptctl.lock import LIFE_NS, Lock, started
from ckptctl.stores import open_store
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

HERE = Path(__file__).parent.parent


def store(path: Path) -> LocalStore:
    return LocalStore(str(path))


def holder(tmp_path: Path, **changes: object) -> None:
    """Leave a lock of ours behind, as a process that was killed does, with some keys changed."""
    lock = Lock(store(tmp_path), time.time_ns)
    lock.acquire()
    content = json.loads((tmp_path / "lock").read_text())
    lock.release()
    (tmp_path / "lock").write_text(json.dumps(content | {"token": "another"} | changes))


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_a_second_one_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    first, second = Lock(store(tmp_path), time.time_ns), Lock(store(tmp_path), time.time_ns)
    first.acquire()
    with pytest.raises(LockedError, match=f"process {os.getpid()}"):
        second.acquire()
    first.check()
    first.release()
    assert not list(tmp_path.iterdir())
    second.acquire()
    second.release()


def test_a_process_that_is_gone_from_this_host_has_no_lock(tmp_path: Path) -> None:
    holder(tmp_path, pid=dead_pid())
    lock = Lock(store(tmp_path), time.time_ns)
    lock.acquire()
    lock.check()
    lock.release()


def test_a_process_that_was_killed_and_that_nobody_waits_for_has_no_lock(tmp_path: Path) -> None:
    """As below a process 1 of a container that is no init."""
    with subprocess.Popen(["sleep", "100"]) as process:
        holder(tmp_path, pid=process.pid, started=started(process.pid))
        lock = Lock(store(tmp_path), time.time_ns)
        with pytest.raises(LockedError):
            lock.acquire()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        lock.acquire()
        lock.release()


def test_a_reused_process_id_is_not_taken_for_its_holder(tmp_path: Path) -> None:
    holder(tmp_path, started="1")
    lock = Lock(store(tmp_path), time.time_ns)
    lock.acquire()
    lock.check()
    assert json.loads((tmp_path / "lock").read_text())["token"] != "another"
    lock.release()


def test_a_process_of_another_user_that_proc_hides_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `hidepid=2`, which login nodes have; process 1 is always there, and not ours."""
    holder(tmp_path, pid=1, started="7")
    monkeypatch.setattr("ckptctl.lock.started", lambda _: "")
    with pytest.raises(LockedError, match="process 1 on"):
        Lock(store(tmp_path), time.time_ns).acquire()
    (tmp_path / "lock").unlink()
    holder(tmp_path, pid=dead_pid())
    lock = Lock(store(tmp_path), time.time_ns)
    lock.acquire()
    lock.release()


HIDDEN = """
import os, sys, time
from ckptctl.errors import LockedError
from ckptctl.lock import Lock, started
from ckptctl.stores.local import LocalStore

holder = Lock(LocalStore(sys.argv[1]), time.time_ns)
holder.acquire()
own = os.getpid()
if child := os.fork():
    _, code = os.waitpid(child, 0)
    holder.check()
    os._exit(os.waitstatus_to_exitcode(code))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    Lock(LocalStore(sys.argv[1]), time.time_ns).acquire()
except LockedError as error:
    print(repr(started(own)), str(own) in str(error), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and become another user")
def test_a_process_that_a_real_proc_hides_keeps_its_lock(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(prefix="ckptctl-lock-"))  # that the other user reaches
    place.chmod(0o777)
    (tmp_path / "hidden.py").write_text(HIDDEN)
    script = 'mount -o remount,hidepid=2 /proc && exec "$0" "$@"'
    call = [sys.executable, str(tmp_path / "hidden.py"), str(place)]
    done = subprocess.run(
        ["unshare", "-mpf", "--mount-proc", "sh", "-c", script, *call],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(HERE)},
    )  # fmt: skip
    shutil.rmtree(place)
    assert (done.returncode, done.stdout) == (0, "'' True\n"), done.stderr


@pytest.mark.parametrize(
    "elsewhere", [{"host": "node7"}, {"boot": "another"}, {"namespace": "pid:[1]"}]
)
def test_a_process_that_cannot_be_seen_from_here_keeps_its_lock_until_it_expires(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    holder(tmp_path, pid=dead_pid(), **elsewhere)
    with pytest.raises(LockedError):
        Lock(store(tmp_path), time.time_ns).acquire()
    later = Lock(store(tmp_path), lambda: time.time_ns() + 2 * LIFE_NS)
    later.acquire()
    later.release()


def test_a_lock_that_changes_hands_while_its_holder_is_judged_is_never_moved(
    tmp_path: Path,
) -> None:
    """Of many that wait one may see a holder that ends, when the next has the lock already."""
    moved: list[str] = []

    class Watched(LocalStore):
        def rename_to(self, path: str, other: Store, new: str) -> None:
            moved.append(path)
            super().rename_to(path, other, new)

    holder(tmp_path, pid=dead_pid())
    following = Lock(store(tmp_path), time.time_ns)
    looks = 0

    def clock() -> int:
        nonlocal looks
        looks += 1
        if looks == 2:  # after the look at the holder, before the verdict
            (tmp_path / "lock").unlink()
            following.acquire()
        return time.time_ns()

    with pytest.raises(LockedError, match=f"process {os.getpid()}"):
        Lock(Watched(str(tmp_path)), clock).acquire()
    assert moved == []
    following.check()
    following.release()


def test_a_lock_that_cannot_be_read_is_respected_until_it_is_old(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("{")
    with pytest.raises(LockedError):
        Lock(store(tmp_path), time.time_ns).acquire()
    os.utime(tmp_path / "lock", (0, 0))
    lock = Lock(store(tmp_path), time.time_ns)
    lock.acquire()
    lock.release()


def test_a_store_without_conditional_writes_lets_nobody_take_over() -> None:
    there = open_store("memory://without-conditions/state")
    there.create("lock", json.dumps({"expires_ns": 1, "token": "another"}).encode())
    with pytest.raises(LockedError, match="its holder is gone"):
        Lock(there, time.time_ns).acquire()
    there.remove_file("lock")
    lock = Lock(there, time.time_ns)
    lock.acquire()
    lock.check()
    lock.release()


def test_a_lock_that_was_taken_away_is_noticed_before_the_next_action_and_not_removed(
    tmp_path: Path,
) -> None:
    lock = Lock(store(tmp_path), time.time_ns)
    lock.acquire()
    holder_now = json.loads((tmp_path / "lock").read_text()) | {"token": "another"}
    (tmp_path / "lock").write_text(json.dumps(holder_now))
    with pytest.raises(LockedError, match="lost"):
        lock.check()
    lock.release()
    assert json.loads((tmp_path / "lock").read_text())["token"] == "another"
