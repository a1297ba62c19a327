"""Several processes, signals, terminals, users: what happens around a prune."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.planted import open_unled
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.trees import make_tree, set_age

HERE = Path(__file__).parent.parent.parent
ENV = {**os.environ, "PYTHONPATH": str(HERE)}


def start(*arguments: object, module: str = "ckptctl") -> subprocess.Popen[str]:
    program = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(
        program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )


def test_two_at_once_end_well_and_delete_each_thing_once(tmp_path: Path) -> None:
    for number in range(3):
        run = save(tmp_path / str(number) / "run", dict.fromkeys(range(1, 60)))
        both = [
            start("prune", "--keep-last", "2", run, "--json", "--lock-wait", "2m") for _ in range(2)
        ]
        results = [(p.communicate(), p.returncode) for p in both]
        done = [json.loads(out)["runs"][0]["outcomes"] for (out, _), _ in results]
        deleted = [o["checkpoint"] for outcomes in done for o in outcomes if o["status"] == "done"]
        assert sorted(deleted) == sorted(set(deleted))
        assert len(deleted) == 57
        assert {code for _, code in results} <= {0, 5}
        assert steps_left(run) == [58, 59]


def test_the_epilogs_of_eight_nodes_at_once_all_end_with_0(tmp_path: Path) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 60)))
    nodes = [
        start("prune", "--keep-last", "2", run, "--json", "--lock-wait", "2m") for _ in range(8)
    ]
    results = [(*node.communicate(), node.returncode) for node in nodes]
    assert [code for *_, code in results] == [0] * 8, [err for _, err, _ in results]
    done = [json.loads(out)["runs"][0]["outcomes"] for out, *_ in results]
    deleted = [o["checkpoint"] for outcomes in done for o in outcomes]
    assert len(deleted) == len(set(deleted)) == 57
    assert steps_left(run) == [58, 59]


def test_one_that_had_to_wait_decides_anew(tmp_path: Path) -> None:
    tree = {f"step_{s}/part{n}.pt": b"x" for s in range(1, 8) for n in range(2000)}
    run = make_tree(tmp_path / "run", tree, age=7200)
    first = start("prune", "--keep-last", "2", run, "--json")
    while not (tmp_path / ".ckptctl" / "run" / "lock").exists() and first.poll() is None:
        time.sleep(0.001)
    second = start("prune", "--keep-last", "2", run, "--json", "--lock-wait", "2m")
    (out, _), (again, err) = first.communicate(), second.communicate()
    assert (first.returncode, second.returncode) == (0, 0), err
    assert len(json.loads(out)["runs"][0]["outcomes"]) == 5
    assert all(o["status"] == "done" for o in json.loads(again)["runs"][0]["outcomes"])
    assert sorted(path.name for path in run.iterdir()) == ["step_6", "step_7"]


def test_without_waiting_the_second_is_3_and_changes_nothing(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    fd = os.open(run, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    done = ckptctl("prune", "--keep-last", "1", run)
    assert done.code == 3
    assert "locked" in done.stderr
    assert steps_left(run) == [1, 2, 3, 4]
    os.close(fd)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_settles_names_and_leaves_bytes_to_the_next(
    tmp_path: Path, ckptctl: Ckptctl, number: signal.Signals, code: int
) -> None:
    tree = {f"step_{s}/part{n}.pt": b"x" for s in range(1, 10) for n in range(20)}
    run = make_tree(tmp_path / "run", tree, age=7200)
    when = (number.name, "os.rename:step_:4")
    done = ckptctl(
        *when, "prune", "--keep-last", "1", run, "--json", module=("tests.faults.signalled",)
    )
    assert (done.code, done.json["code"]) == (code, code), done.stderr
    assert 4 < len(list(run.iterdir())) < 9
    for folder in run.iterdir():
        assert len(list(folder.iterdir())) == 20  # none is seen half
    trash = tmp_path / ".ckptctl" / "run" / "trash"
    assert list(trash.iterdir())
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert [p.name for p in run.iterdir()] == ["step_9"]
    assert not list(trash.iterdir())


def test_a_timeout_begins_nothing_new_and_is_5(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    done = ckptctl("prune", "--keep-last", "1", run, "--timeout", "0", "--json")
    assert done.code == 5
    assert {o["status"] for o in done.json["runs"][0]["outcomes"]} == {"skipped"}
    assert steps_left(run) == [1, 2, 3, 4]


def on_a_terminal(answer: bytes, *arguments: object) -> tuple[int, str]:
    """Run the program with a terminal for stdin and stderr, and answer its first question."""
    pid, fd = pty.fork()
    if pid == 0:  # the child: nothing of the test runner may go on here
        os.environ["PYTHONPATH"] = str(HERE)
        os.execv(sys.executable, [sys.executable, "-m", "ckptctl", *map(str, arguments)])
    shown = b""
    answered = False
    while True:
        ready, _, _ = select.select([fd], [], [], 60)
        try:
            part = os.read(fd, 65536) if ready else b""
        except OSError:
            part = b""
        if not part:
            break
        shown += part
        if b"?" in shown and not answered:
            answered = True
            os.write(fd, answer)
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def test_on_a_terminal_it_shows_the_plan_and_asks(tmp_path: Path) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    code, shown = on_a_terminal(b"n\n", "prune", "--keep-last", "2", run)
    assert code == 0
    assert "Delete 2 checkpoints" in shown
    assert "kept by --keep-last" in shown
    assert steps_left(run) == [1, 2, 3, 4]
    code, shown = on_a_terminal(b"\x03", "prune", "--keep-last", "2", run)
    assert code == 130
    assert steps_left(run) == [1, 2, 3, 4]
    code, shown = on_a_terminal(b"y\n", "prune", "--keep-last", "2", run)
    assert code == 0, shown
    assert steps_left(run) == [3, 4]
    save(run, dict.fromkeys(range(5, 9)), newest_hours_ago=1)
    code, shown = on_a_terminal(b"", "prune", "--keep-last", "2", run, "--yes")
    assert "?" not in shown
    assert steps_left(run) == [7, 8]


@pytest.mark.parametrize(
    "user", ["", "nobody-has-this-name", "0", "root", "99999999999999999999", "-1"]
)
def test_as_user_refuses_whom_it_must_not_be(tmp_path: Path, ckptctl: Ckptctl, user: str) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 5)))
    done = ckptctl("prune", "--keep-last", "1", f"--as-user={user}", run)
    assert done.code == 2
    assert "nothing was touched" in done.stderr
    assert steps_left(run) == [1, 2, 3, 4]


def test_nothing_is_left_to_be_imported_where_only_root_can_read_the_interpreter() -> None:
    program = """if True:
        import ast, importlib, pathlib, sys
        import ckptctl
        from ckptctl.cli import as_user
        as_user._import_all()
        as_user.import_others()
        known = set(sys.modules)
        late = set()
        for file in pathlib.Path(ckptctl.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    late |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    late.add(node.module)
        for name in late:
            importlib.import_module(name)
        print(*sorted(set(sys.modules) - known))
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; CI is root")
def test_as_user_drops_root_before_anything_is_touched(reachable: Path, ckptctl: Ckptctl) -> None:
    mine, theirs = (
        save(reachable / "mine", {1: None, 2: None, 3: None}),
        save(reachable / "theirs", {1: None, 2: None, 3: None}),
    )
    for path in (theirs, *theirs.iterdir()):
        os.chown(path, 65534, 65534)
    log = reachable / "root.log"
    log.touch(mode=0o600)
    refused = ckptctl(
        "prune",
        "--keep-last",
        "1",
        "--as-user",
        "nobody",
        "--log-file",
        log,
        mine,
    )
    assert refused.code in {5, 7}, refused.stdout
    assert steps_left(mine) == [1, 2, 3]
    done = ckptctl(
        "prune",
        "--keep-last",
        "1",
        "--as-user",
        "nobody",
        "--log-file",
        log,
        theirs,
    )
    assert done.code == 0, done.stderr
    assert steps_left(theirs) == [3]
    assert (theirs / ".ckptctl").stat().st_uid == 65534
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["user"] for line in lines} == {"nobody"}
    assert [line["checkpoint"] for line in lines if line["status"] == "done"] == [
        "step_1",
        "step_2",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root follows what users may not; CI is root")
def test_root_follows_no_link_of_a_user_to_its_log(
    reachable: Path, ckptctl: Ckptctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save(reachable / "run", dict.fromkeys(range(1, 4)))
    secret, made = reachable / "roots" / "secret", reachable / "roots" / "new"
    theirs = make_tree(reachable / "theirs", {})
    make_tree(secret.parent, {"secret": "root's"})
    for name, target in {"log": secret, "new": made, "dir": secret.parent}.items():
        (theirs / name).symlink_to(target)
    for path in (theirs, *theirs.iterdir()):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for log in ("log", "new", "dir/secret"):
        done = ckptctl("prune", "--keep-last", "1", run, "--log-file", theirs / log)
        assert (done.code, done.stdout) == (2, "")
        assert "is a symbolic link of uid 65534, which root does not follow" in done.stderr
    assert (secret.read_text(), made.exists(), steps_left(run)) == ("root's", False, [1, 2, 3])
    # A link of root's own leads anywhere: `/var/log` may be one.
    (theirs / "mine").symlink_to("../roots")
    done = ckptctl("prune", "--keep-last", "1", run, "--log-file", theirs / "mine" / "new")
    assert (done.code, len(made.read_text().splitlines())) == (0, 2)
    # Whoever is no root can write to nothing by a link that is not open to them anyway.
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    os.close(open_unled(str(theirs / "dir" / "secret"), os.O_WRONLY, 0o600))


def test_the_log_has_a_line_for_each_action(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    log = tmp_path / "log"
    assert (
        ckptctl(
            "prune", "--keep-last", "1", run, "--log-file", log, env={"SLURM_JOB_ID": "123"}
        ).code
        == 0
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["checkpoint"], line["status"], line["slurm_job_id"]) for line in lines] == [
        ("step_1", "done", "123"),
        ("step_2", "done", "123"),
    ]
    assert {"time", "host", "user", "pid", "action", "path", "bytes"} <= lines[0].keys()
    unwritable = ckptctl("prune", "--keep-last", "1", run, "--log-file", tmp_path / "no" / "log")
    assert unwritable.code == 2


def test_a_bare_environment_and_closed_streams_do(tmp_path: Path) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 4)))
    program = [sys.executable, "-m", "ckptctl", "prune", "--keep-last", "1", str(run)]
    done = subprocess.run(
        program,
        env={"PYTHONPATH": str(HERE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert steps_left(run) == [3]
    listed = f"{sys.executable} -m ckptctl list {run} | head -c 1"
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {listed}"], env=ENV, capture_output=True, check=False
    )
    assert b"Traceback" not in piped.stderr
    closed = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m ckptctl list {run} >&- 2>&- <&-; echo $?"],
        env=ENV,
        capture_output=True,
        check=False,
    )
    assert closed.stdout.strip() in {b"0", b"1"}


HEAVY = ("s3fs", "gcsfs", "aiohttp", "obstore", "fsspec", "rich", "pydantic", "asyncio")


def test_a_local_list_imports_nothing_heavy(tmp_path: Path) -> None:
    run = save(tmp_path / "run", {1: 2.0, 2: 3.0})
    set_age(run, 7200)
    (run / "extra.pt").write_bytes(torch_zip())
    code = f"""
import sys
from ckptctl.cli.app import run
run(["list", {str(run)!r}])
run(["prune", "--keep-last", "1", {str(run)!r}])
sys.stderr.write(repr([name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENV,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert done.stderr.endswith("[]"), done.stderr


def test_version_answers_before_anything_is_imported() -> None:
    code = "import sys; sys.argv = ['ckptctl', '--version']; from ckptctl.__main__ import main; main(); assert 'typer' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ckptctl ")


def test_a_signal_that_falls_into_a_finalizer_is_not_lost() -> None:
    """What is raised there Python prints and forgets: the program went on, with a traceback."""
    program = """
import os, signal, time
from ckptctl.cli.signals import SIGNALS
from ckptctl.errors import Arrived

class Final:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

SIGNALS.reading()
try:
    Final()
    time.sleep(30)
except Arrived as error:
    print("ended by", error.signal)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENV, check=False
    )
    assert (done.stdout, done.stderr) == ("ended by 15\n", "")


@pytest.mark.parametrize(
    "waiting",
    ['confirm("Delete?", stdin=os.fdopen(nobody), stderr=sys.stderr)', "Watcher().wait(300)"],
)
def test_a_signal_that_comes_just_before_it_waits_is_not_lost(waiting: str) -> None:
    """It interrupts nothing then, as one that another thread gets: Ctrl-C waited for the answer."""
    program = f"""
import os, signal, sys, threading, time
from ckptctl.cli.signals import SIGNALS
from ckptctl.errors import Arrived
from ckptctl.ui.ask import confirm
from ckptctl.watcher import Watcher

def other():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGTERM}})
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

SIGNALS.reading()
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
threading.Thread(target=other, daemon=True).start()
nobody, _ = os.pipe()
try:
    {waiting}
except Arrived as arrived:
    print("ended by", arrived.signal)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENV, check=False, timeout=60
    )  # fmt: skip
    assert done.stdout == "ended by 15\n", done.stderr


def test_an_interrupt_before_anything_is_imported_shows_no_traceback() -> None:
    program = """
import os, signal
from ckptctl.ui import streams
streams.mend = lambda: os.kill(os.getpid(), signal.SIGINT)
from ckptctl.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENV, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
