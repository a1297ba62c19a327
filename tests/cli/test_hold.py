"""`ckptctl hold`: a reader keeps prune away, for a while or while a command runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ckptctl.lock import Lock
from ckptctl.model import NS
from ckptctl.recording import LOCK, Recorder
from ckptctl.statedir import find_state
from tests.cli.test_processes import ENV, HERE, start
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.trees import make_tree
from tests.waiting import until


def stopping(when: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a call that stops at a moment (tests.faults.signalled), and wait until it has."""
    process = start("SIGSTOP", when, *arguments, module="tests.faults.signalled")
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    return process


def has_open(process: subprocess.Popen[str], path: str) -> bool:
    """Whether a process has a directory open."""
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has closed another one this moment
            if file.samefile(path):
                return True
    return False


def holds(ckptctl: Ckptctl, run: Path, name: str = "step_1") -> list[dict[str, Any]]:
    """Return the holds of a checkpoint that have not ended."""
    for each in ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]:
        if each["name"] == name:
            return [
                h for h in each["holds"] if datetime.fromisoformat(h["until"]) > datetime.now(UTC)
            ]
    raise AssertionError(name)


def test_by_default_it_keeps_prune_away_for_a_day(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    done = ckptctl("hold", "step_1", run)
    assert done.code == 0
    assert "step_1: held by " in done.stdout
    (hold,) = holds(ckptctl, run)
    left = datetime.fromisoformat(hold["until"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left < timedelta(hours=24, minutes=1)
    assert hold.keys() == {"by", "host", "until"}
    assert hold["host"] == os.uname().nodename
    assert hold["by"] in done.stdout
    pruned = ckptctl("prune", "--keep-last", "1", run, "--json")
    assert pruned.code == 0
    assert steps_left(run) == [1, 4]


def test_it_ends_by_itself_or_when_released(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    assert ckptctl("hold", "step_1", run, "--ttl", "1s").code == 0
    assert ckptctl("hold", "step_2", run).code == 0
    time.sleep(1)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [2, 4]
    released = ckptctl("hold", "--release", "step_2", run, "--json")
    assert released.code == 0
    assert (released.json["schema"], released.json["version"]) == ("ckptctl/hold", 1)
    (result,) = released.json["results"]
    assert (result["status"], result["holds"]) == ("released", [])
    assert ckptctl("hold", "--release", "step_2", run).code == 0  # nothing to do is no error
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [4]


def test_a_second_hold_renews_its_own_entry_and_never_shortens_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    ckptctl("hold", "step_1", run, "--ttl", "1h")
    first = holds(ckptctl, run)
    ckptctl("hold", "step_1", run, "--ttl", "1m")
    assert holds(ckptctl, run) == first
    ckptctl("hold", "step_1", run, "--ttl", "2h")
    (longer,) = holds(ckptctl, run)
    assert longer["until"] > first[0]["until"]


def test_others_holds_stay_when_one_is_released(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    ckptctl("hold", "step_1", run)
    (record,) = (tmp_path / ".ckptctl" / "run" / "records").iterdir()
    value = json.loads(record.read_text())
    value["holds"].append({"by": "somebody", "host": "node7", "until_ns": time.time_ns() + 10**12})
    record.write_text(json.dumps(value))
    done = ckptctl("hold", "--release", "step_1", run)
    assert "held by somebody on node7" in done.stdout
    assert [hold["by"] for hold in holds(ckptctl, run)] == ["somebody"]


def test_while_a_command_runs_it_is_held_and_renewed_and_then_released(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    go_on = tmp_path / "go-on"
    script = f"while ! test -e {go_on}; do sleep 0.05; done; echo read; exit 7"
    process = start("hold", "step_1", run, "--ttl", "60s", "--json", "--", "sh", "-c", script)
    assert until(lambda: holds(ckptctl, run))
    (first,) = holds(ckptctl, run)
    assert first["by"].endswith(": sh")
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [1, 4]
    go_on.touch()
    out, _ = process.communicate()
    assert (process.returncode, out) == (7, "read\n")  # stdout is the command's
    assert holds(ckptctl, run) == []


def test_it_is_renewed_long_before_it_ends(tmp_path: Path) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    process = reading(run, "step_1", "6s")
    first = ends_ns(run)
    assert until(lambda: ends_ns(run) > first)
    process.terminate()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command_and_the_hold_ends_with_it(
    tmp_path: Path, ckptctl: Ckptctl, number: signal.Signals
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    ready = tmp_path / "ready"
    program = f"import pathlib, signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); pathlib.Path({str(ready)!r}).touch(); time.sleep(300)"
    process = start("hold", "step_1", run, "--", sys.executable, "-c", program)
    assert until(ready.exists)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 128 + number
    assert holds(ckptctl, run) == []


def test_a_command_that_handles_its_signal_ends_as_it_likes(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    ready = tmp_path / "ready"
    script = f"trap 'exit 9' TERM; touch {ready}; while :; do sleep 0.05; done"
    process = start("hold", "step_1", run, "--", "sh", "-c", script)
    assert until(ready.exists)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 9
    assert holds(ckptctl, run) == []


def test_signals_that_come_as_the_command_ends_leave_no_hold(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """As from a batch system, which sends some to all processes of a job."""
    run = save(tmp_path / "run", {1: None, 2: None})
    sent = "; ".join(f"kill -{name} $PPID" for name in ("STOP", "HUP", "USR1", "TERM"))
    script = f"{sent}; (sleep 0.3; kill -CONT $PPID) & exit 3"  # all of them are there at once then
    process = start("hold", "step_1", run, "--", "sh", "-c", script)
    process.communicate()
    assert process.returncode == 3
    assert holds(ckptctl, run) == []


def test_one_that_is_stopped_for_long_goes_on_renewing_and_repeats_no_signal(
    tmp_path: Path,
) -> None:
    """As by Ctrl-Z; sigtimedwait(2) is interrupted then, which Python takes for any signal at all."""
    run = save(tmp_path / "run", {1: None, 2: None})
    got = tmp_path / "got"
    program = (
        "import pathlib, signal; some = {signal.SIGUSR1, signal.SIGTERM};"
        "signal.pthread_sigmask(signal.SIG_BLOCK, some);"
        f"got = pathlib.Path({str(got)!r}); got.touch()\n"
        "while (one := signal.sigwait(some)) != signal.SIGTERM: got.write_text(got.read_text() + 'x')"
    )
    process = start("hold", "step_1", run, "--ttl", "1s", "--", sys.executable, "-c", program)
    assert until(got.exists)
    process.send_signal(signal.SIGUSR1)
    assert until(lambda: got.read_text() == "x")
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    stopped = ends_ns(run)
    process.send_signal(signal.SIGCONT)
    assert until(lambda: ends_ns(run) > stopped)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0
    assert got.read_text() == "x"


def test_a_signal_that_a_thread_of_a_library_gets_is_passed_on() -> None:
    """A client of a bucket has some, and none of them blocks any signal."""
    program = """
import os, signal, threading
from ckptctl.cli.reader import Reader
threading.Thread(target=threading.Event().wait, daemon=True).start()
renewing = lambda: os.kill(os.getpid(), signal.SIGUSR1)
print(Reader(["sleep", "60"], renewing, 10**8, lambda: None).run())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENV, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "138\n"), done.stderr


def test_the_terminals_ctrl_c_reaches_the_command_once(tmp_path: Path) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    ready = tmp_path / "ready"
    got = tmp_path / "got"
    program = (
        "import pathlib, signal, sys, time; mine = {signal.SIGINT};"
        "signal.pthread_sigmask(signal.SIG_BLOCK, mine);"
        f"pathlib.Path({str(ready)!r}).touch(); signal.sigwait(mine);"
        f"pathlib.Path({str(got)!r}).touch();"
        "time.sleep(2); sys.exit(40 + (mine & signal.sigpending() == set()))"
    )
    pid, fd = pty.fork()
    if pid == 0:  # the child: nothing of the test runner may go on here
        os.environ["PYTHONPATH"] = str(HERE)
        command = ["hold", "step_1", str(run), "--", sys.executable, "-c", program]
        os.execv(sys.executable, [sys.executable, "-m", "ckptctl", *command])
    assert until(ready.exists)
    os.kill(pid, signal.SIGSTOP)  # so that a second one would come apart from the first
    os.write(fd, b"\x03")
    assert until(got.exists)
    os.kill(pid, signal.SIGCONT)
    while True:
        try:
            if not os.read(fd, 65536):
                break
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 41


def records(run: Path) -> Iterator[Path]:
    return (run.parent / ".ckptctl" / "run" / "records").glob("*.json")


def ends_ns(run: Path) -> int:
    """Return when the one hold of a run ends, whether it has or not."""
    (hold,) = (hold for file in records(run) for hold in json.loads(file.read_text())["holds"])
    return int(hold["until_ns"])


def reading(run: Path, name: str, ttl: str) -> subprocess.Popen[bytes]:
    """Start a reader of a checkpoint, and wait until it holds it."""
    arguments = ["hold", name, str(run), "--ttl", ttl, "-q", "--", "sleep", "300"]
    process = subprocess.Popen([sys.executable, "-m", "ckptctl", *arguments], env=ENV)
    assert until(lambda: any(f'"{name}.pt"' in r.read_text() for r in records(run)))
    return process


def test_the_hold_of_a_process_that_died_ends_by_its_ttl(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    process = reading(run, "step_1", "1h")
    process.kill()
    process.wait()
    assert time.time_ns() < ends_ns(run) <= time.time_ns() + 3600 * NS
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [1, 4]
    (record,) = records(run)
    past = json.loads(record.read_text())
    past["holds"][0]["until_ns"] = time.time_ns() - 1
    record.write_text(json.dumps(past))
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [4]


def test_release_takes_back_what_a_dead_process_left_and_nothing_that_may_be_read(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    dead = reading(run, "step_1", "1h")
    dead.kill()
    dead.wait()
    alive = reading(run, "step_2", "1h")
    assert ckptctl("hold", "--release", "step_1", run).code == 0
    kept = ckptctl("hold", "--release", "step_2", run)
    assert "held by" in kept.stdout
    assert [len(holds(ckptctl, run, name)) for name in ("step_1", "step_2")] == [0, 1]
    alive.terminate()
    alive.wait()
    assert holds(ckptctl, run, "step_2") == []


def test_wrong_command_lines(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    for arguments in (
        ("--ttl", "0"),
        ("--ttl", "soon"),
        ("--",),
        ("--release", "--", "true"),
        ("--", "no-such-program"),
    ):
        done = ckptctl("hold", "step_1", run, *arguments)
        assert (done.code, done.stdout) == (2, ""), arguments
    assert holds(ckptctl, run) == []
    told = ckptctl("hold", "step_9", run, "--", "echo", "--json")
    assert told.code == 8
    assert told.stdout == ""  # --json is the command's


def test_a_prune_that_runs_honours_a_hold_from_its_next_deletion_on(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    tree = {f"step_{s}/part{n}.pt": b"x" for s in range(1, 13) for n in range(20)}
    run = make_tree(tmp_path / "run", tree, age=7200)
    process = stopping("os.rename:step_:4", "prune", "--keep-last", "1", run, "--json")
    left = steps_left(run, "step_*")
    meant = [left[1], left[len(left) // 2], left[-2]]
    for step in meant:
        assert ckptctl("hold", f"step_{step}", run).code == 0
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate()
    assert process.returncode == 5, err
    outcomes = {o["checkpoint"]: o for o in json.loads(out)["runs"][0]["outcomes"]}
    for step in meant:
        assert outcomes[f"step_{step}"]["status"] == "skipped"
        assert outcomes[f"step_{step}"]["error"].startswith("kept by held now: by ")
    assert steps_left(run, "step_*") == [*meant, 12]
    for step in meant:
        assert len(list((run / f"step_{step}").iterdir())) == 20


def test_a_hold_is_seen_at_once_where_no_record_was_before(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 6)))
    done = ckptctl(
        run, "prune", "--keep-last", "1", run, env={"MEDDLE": "hold"}, module=("tests.faults.meddling",)
    )  # fmt: skip
    assert done.code == 5, done.stderr
    assert steps_left(run) == [2, 5]


def test_a_hold_and_a_prune_that_start_together_end_well(tmp_path: Path) -> None:
    """Either the reader holds what is whole, or it is told that there is nothing to hold."""
    for number in range(4):
        run = save(tmp_path / str(number) / "run", dict.fromkeys(range(1, 20)))
        reader = start("hold", "step_15", run)
        pruner = start("prune", "--keep-last", "1", run)
        reader.communicate()
        pruner.communicate()
        assert reader.returncode in {0, 8}
        assert pruner.returncode in {0, 5}
        if reader.returncode == 8:
            assert 15 not in steps_left(run)


def test_a_signal_that_comes_while_another_writer_is_waited_for_ends_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    marker = tmp_path / "ran"
    dirs = find_state(str(run), option=None, uid=os.geteuid(), forbids=None)
    recorder = Recorder.open(str(run), dirs, time.time_ns, time.monotonic, time.sleep)
    other = Lock(recorder.state, time.time_ns, file=LOCK)
    for command in (["--", "touch", str(marker)], []):
        other.acquire()
        process = start("hold", "step_1", run, *command)
        assert until(partial(has_open, process, recorder.state.root))
        time.sleep(0.2)  # by then it waits; were it slower, less would be shown
        process.terminate()
        time.sleep(0.2)
        other.release()
        _, said = process.communicate()
        assert process.returncode == 143, said
        assert holds(ckptctl, run) == []
    assert not marker.exists()
    recorder.state.close()


def test_two_holders_at_once_both_count(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    both = [start("hold", "step_1", run, "--", "sleep", "300") for _ in range(2)]
    assert until(lambda: len(holds(ckptctl, run)) == 2)
    both[0].terminate()
    both[0].communicate()
    assert len(holds(ckptctl, run)) == 1
    both[1].terminate()
    both[1].communicate()
    assert holds(ckptctl, run) == []
