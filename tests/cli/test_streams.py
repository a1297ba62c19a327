"""Streams, files and directories as a job may leave them: closed, full, gone, or not what they seem."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.program import Ckptctl
from tests.saved import save, steps_left

HERE = Path(__file__).parent.parent.parent
ENV = {**os.environ, "PYTHONPATH": str(HERE), "CKPTCTL_DEBUG": "1"}
CKPTCTL = f"{sys.executable} -m ckptctl"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "run", dict.fromkeys(range(1, 5)))


def shell(
    command: str, place: Path, seconds: float = 60, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a line in bash, whose exit code is that of the first program of a pipe that fails."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=place,
        env=env or ENV,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def all_shown(terminal: int) -> str:
    """Return all that was written to a terminal that nobody has open any more."""
    shown = b""
    with suppress(OSError):  # EIO: there is no more
        while part := os.read(terminal, 1 << 16):
            shown += part
    return shown.decode()


# --- streams that are closed or full


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stdin_or_stderr_changes_nothing(run: Path, closed: str) -> None:
    done = shell(f"{CKPTCTL} prune run --keep-last 1 --json {closed}", run.parent)
    assert done.returncode == 0, done.stderr
    assert [o["status"] for o in json.loads(done.stdout)["runs"][0]["outcomes"]] == ["done"] * 3
    assert steps_left(run) == [4]


@pytest.mark.parametrize("also", ["", "<&-", "<&- 2>&-"])
def test_no_file_of_ours_becomes_a_standard_stream(run: Path, also: str) -> None:
    done = shell(f"{CKPTCTL} prune run --keep-last 1 --log-file log >&- {also}", run.parent)
    lines = (run.parent / "log").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["done"] * 3
    assert done.returncode == 1


@pytest.mark.parametrize("json_too", ["", "--json"])
@pytest.mark.parametrize(
    ("to", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
def test_a_result_that_cannot_be_written_is_told_with_what_was_done(
    run: Path, to: str, why: str, json_too: str
) -> None:
    done = shell(f"{CKPTCTL} prune run --keep-last 1 {json_too} {to}", run.parent)
    assert done.returncode == 1
    assert steps_left(run) == [4]
    first, *more = done.stderr.splitlines()
    assert first == (
        f"ckptctl: the result could not be written to stdout ({why}); "
        "what was done: deleted 3 checkpoints"
    )
    assert len(more) == 1  # what to do


def test_a_list_that_cannot_be_written_is_1(run: Path) -> None:
    for command in ("list run", "list --formats", "interval run --mtbf 1d --save-cost 1m"):
        done = shell(f"{CKPTCTL} {command} >/dev/full", run.parent)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "No space left on device" in done.stderr


@pytest.mark.parametrize("argument", ["--version", "--help", "config example"])
def test_help_that_cannot_be_written_is_1_without_a_traceback(
    tmp_path: Path, argument: str
) -> None:
    quiet = {key: value for key, value in ENV.items() if key != "CKPTCTL_DEBUG"}
    done = shell(f"{CKPTCTL} {argument} >/dev/full", tmp_path, env=quiet)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert shell(f"{CKPTCTL} {argument} | true", tmp_path, env=quiet).returncode == 0


def test_a_reader_that_has_gone_is_no_failure(run: Path) -> None:
    for command in ("list run", "list run --json", "prune run --keep-last 1"):
        done = shell(f"{CKPTCTL} {command} | true", run.parent)
        assert (done.returncode, done.stderr) == (0, "")
    assert steps_left(run) == [4]
    gone = shell(f"{CKPTCTL} list nowhere --json | true", run.parent)
    assert gone.returncode == 7


def test_a_full_stderr_stops_nothing(run: Path) -> None:
    os.mkfifo(run / "ckptctl.yaml")  # which is warned of
    done = shell(f"{CKPTCTL} prune run --keep-last 1 --json 2>/dev/full", run.parent)
    assert done.returncode == 0
    assert json.loads(done.stdout)["dry_run"] is False
    assert steps_left(run) == [4]
    assert shell(f"{CKPTCTL} list nowhere 2>/dev/full", run.parent).returncode == 7


def test_nobody_is_asked_about_a_plan_that_could_not_be_shown(run: Path) -> None:
    ours, theirs = pty.openpty()
    reader, unread = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    program = [*CKPTCTL.split(), "prune", str(run), "--keep-last", "1"]
    for stdout in (full, unread):
        process = subprocess.Popen(program, env=ENV, stdin=theirs, stdout=stdout, stderr=theirs)
        os.close(stdout)
        os.write(ours, b"y\n")
        assert process.wait(timeout=60) == 1
    os.close(theirs)
    shown = all_shown(ours)
    os.close(ours)
    assert shown.count("nothing was changed") == 2
    assert "[y/N]" not in shown
    assert steps_left(run) == [1, 2, 3, 4]


# --- --log-file


def test_a_full_log_stops_nothing_and_is_told_once(run: Path, ckptctl: Ckptctl) -> None:
    done = ckptctl("prune", run, "--keep-last", "1", "--log-file", "/dev/full", "--json")
    assert done.code == 5
    assert [o["status"] for o in done.json["runs"][0]["outcomes"]] == ["done"] * 3
    assert done.json["runs"][0]["error"] is None
    assert [p["code"] for p in done.json["problems"]] == ["log-unwritten"]
    assert done.stderr.count("/dev/full") == 1
    assert "3 of 3" in done.stderr
    assert "No space left on device" in done.stderr
    assert steps_left(run) == [4]


def test_a_full_log_of_undo_and_purge_is_told_too(run: Path, ckptctl: Ckptctl) -> None:
    assert ckptctl("prune", run, "--keep-last", "1", "--grace", "1d").code == 0
    undone = ckptctl("undo", run, "--log-file", "/dev/full")
    assert undone.code == 5
    assert "/dev/full" in undone.stderr
    assert steps_left(run) == [1, 2, 3, 4]


def test_a_log_may_be_a_device_or_a_pipe_that_is_read(run: Path) -> None:
    piped = "prune run --keep-last 1 -n --log-file"
    for log in ("/dev/null", "/dev/stderr", ">(cat >/dev/null)"):
        assert shell(f"{CKPTCTL} {piped} {log}", run.parent).returncode == 0, log
    done = shell(f"{CKPTCTL} prune run --keep-last 1 --log-file >(cat >&2)", run.parent)
    assert done.returncode == 0
    assert [json.loads(line)["status"] for line in done.stderr.splitlines()] == ["done"] * 3


# --- what would hang


def test_a_log_that_nobody_reads_is_2(run: Path) -> None:
    os.mkfifo(run.parent / "log")
    done = shell(f"{CKPTCTL} prune run --keep-last 1 --log-file log", run.parent)
    assert done.returncode == 2
    assert "nothing was touched" in done.stderr
    assert steps_left(run) == [1, 2, 3, 4]


def test_a_configuration_that_is_no_file_is_passed_over_or_refused(
    run: Path, ckptctl: Ckptctl
) -> None:
    os.mkfifo(run / "ckptctl.yaml")
    done = shell(f"{CKPTCTL} prune run --keep-last 1", run.parent)
    assert done.returncode == 0, done.stderr
    assert f"{run}/ckptctl.yaml is passed over: it is no regular file" in done.stderr
    assert steps_left(run) == [4]
    for option in ("--config", "--policy"):
        named = shell(f"{CKPTCTL} prune run {option} run/ckptctl.yaml", run.parent)
        assert named.returncode == 2
        assert "is no regular file" in named.stderr
    no_rule = ckptctl("prune", run)
    assert no_rule.code == 2
    assert "is passed over" in no_rule.stderr  # so that the missing rule is no riddle


# --- what is empty or gone


def test_an_empty_location_is_2_and_not_here(run: Path) -> None:
    for command in (
        "prune '' --keep-last 1",
        "list ''",
        "config check ''",
        "undo ''",
        "purge '' --all",
        "status ''",
    ):
        done = shell(f"{CKPTCTL} {command}", run)
        assert done.returncode == 2, command
        assert " is empty; " in done.stderr
    assert steps_left(run) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "option", ["--state-dir", "--config", "--policy", "--log-file", "--metrics-from", "--as-user"]
)
def test_an_empty_path_of_an_option_is_2(run: Path, ckptctl: Ckptctl, option: str) -> None:
    done = ckptctl("prune", run, "--keep-last", "1", option, "")
    assert done.code == 2
    assert option in done.stderr
    assert steps_left(run) == [1, 2, 3, 4]


def test_a_current_directory_that_is_gone_is_7(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    for command in ("list --json", "prune --keep-last 1 --json", "list ../run --json"):
        done = shell(
            f"rmdir gone; mkdir gone; cd gone; rmdir ../gone; {CKPTCTL} {command}", tmp_path
        )
        assert (done.returncode, json.loads(done.stdout)["code"]) == (7, 7), command
        assert "the current directory" in json.loads(done.stdout)["message"]
    save(tmp_path / "run", {1: None})
    named = shell(f"cd gone; rmdir ../gone; {CKPTCTL} list {tmp_path}/run -o paths", tmp_path)
    assert (named.returncode, named.stdout) == (0, f"{tmp_path}/run/step_1.pt\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, so root; CI is root")
def test_state_that_is_passed_over_is_told_on_stderr_once(run: Path, ckptctl: Ckptctl) -> None:
    state = run.parent / ".ckptctl" / "run"
    state.mkdir(parents=True)
    os.chown(state, 65534, 65534)
    for command in (("list",), ("prune", "--keep-last", "1", "-n"), ("status",), ("undo",)):
        done = ckptctl(*command, run)
        assert done.code == 0, done.stderr
        assert done.stderr.count(str(state)) == 2, command  # once what, once whose
        assert done.stderr.count("warning: state is passed over") == 1
        assert ckptctl(*command, run, "-q").stderr == ""


# --- signals


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_does_not_cut_a_result_that_is_being_written(
    tmp_path: Path, number: signal.Signals, code: int, unbuffered: str
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 400)))
    process = subprocess.Popen(
        [*CKPTCTL.split(), "prune", "--keep-last", "390", "-n", "--json", str(run)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        env={**ENV, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert process.stdout is not None
    begun = process.stdout.read(1)  # the pipe is full now, and nobody reads it
    for _ in range(3):
        time.sleep(0.2)
        process.send_signal(number)
    rest, err = process.communicate()
    assert process.returncode == code
    assert len(json.loads(begun + rest)["runs"][0]["decisions"]) == 399
    assert err == b""


LATE = """
import os, signal, sys
class Importing:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Importing())
sys.argv = ["ckptctl", *{arguments!r}]
from ckptctl.__main__ import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", ["typer", "ckptctl.survey"])
def test_a_signal_while_modules_load_ends_it_quietly(
    run: Path, name: str, number: signal.Signals, code: int
) -> None:
    for arguments in (["list", str(run)], ["list", str(run), "--json"]):
        program = LATE.format(name=name, number=int(number), arguments=arguments)
        done = subprocess.run(
            [sys.executable, "-c", program], env=ENV, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (code, "")
        if "--json" in arguments:
            assert json.loads(done.stdout) == {
                "schema": "ckptctl/error",
                "version": 1,
                "code": code,
                "kind": "interrupted",
                "message": "interrupted",
                "hint": "run the same command again to finish",
            }
        else:
            assert done.stdout == ""


def test_a_signal_after_the_result_adds_nothing_to_it(run: Path) -> None:
    program = f"""
import atexit, os, signal, sys
from ckptctl.cli import app
inner = app.run
def run(arguments):
    code = inner(arguments)
    os.kill(os.getpid(), signal.SIGTERM)
    return code
app.run = run
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
sys.argv = ["ckptctl", "list", {str(run)!r}, "--json"]
from ckptctl.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENV, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (143, "")
    assert len(json.loads(done.stdout)["runs"]) == 1
