"""`watch`: what is completed goes up at once, what is being written is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from typer import Exit

from ckptctl.cli.options import Common
from ckptctl.cli.runtime import Session
from ckptctl.cli.signals import Signals
from ckptctl.cli.watching import Loop, Round
from ckptctl.errors import UsageError
from ckptctl.formats._samples import torch_zip
from ckptctl.report import Outcome
from ckptctl.ui.log import ActionLog
from ckptctl.watcher import Watcher, is_single
from tests.cli.test_apply import left, tiers
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.waiting import until


@contextmanager
def watching(config: str, *more: str, said: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run `watch` beside the test, its stderr in a file or a pipe; killed where the test did not end it."""
    call = [sys.executable, "-m", "ckptctl", "watch", "-c", config, *more]
    with (
        said.open("w") if said else nullcontext(subprocess.PIPE) as words,
        subprocess.Popen(call, stdout=subprocess.PIPE, stderr=words, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_it_follows_a_training_and_ends_on_sigterm(tmp_path: Path) -> None:
    config = tiers(tmp_path)
    run = save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    with watching(config, "--json", "--settle", "1h", "--interval", "1s") as process:
        assert until(lambda: left(tmp_path)["slow"] == [2, 3, 4])
        (run / "step_5.pt").write_bytes(torch_zip()[:50])  # a save that is not over
        (run / "step_6.tmp").write_bytes(torch_zip())
        (run / "step_6.tmp").rename(run / "step_6.pt")
        assert until(lambda: 6 in left(tmp_path)["slow"] and 3 not in left(tmp_path)["fast"])
        with (run / "step_5.pt").open("r+b") as stream:
            stream.write(torch_zip())
        assert until(lambda: left(tmp_path)["slow"] == [4, 5, 6])
        process.send_signal(signal.SIGTERM)
        said, words = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "ended by a signal" in words
    assert "Traceback" not in words
    rounds = [json.loads(line) for line in said.splitlines()]
    assert {each["schema"] for each in rounds} == {"ckptctl/apply"}
    assert not any(each["tiers"] for each in rounds)


def test_what_has_no_marker_is_copied_when_it_has_settled(tmp_path: Path) -> None:
    config = tiers(tmp_path)
    run = save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 3)))
    with watching(config, "--settle", "2s", "--interval", "1h"):
        assert until(lambda: left(tmp_path)["slow"] == [1, 2])
        folder = run / "step_3"
        folder.mkdir()
        (folder / "model.pt").write_bytes(torch_zip())
        there = tmp_path / "slow" / "llm" / "step_3" / "model.pt"
        assert until(there.exists)
        settled = time.time() - (folder / "model.pt").stat().st_mtime
    assert settled > 1.9


def test_what_is_wrong_is_told_once_and_tried_again(tmp_path: Path) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    (tmp_path / "slow").rename(tmp_path / "away")
    said = tmp_path / "said"
    with watching(config, "--interval", "1s", said=said) as process:
        assert until(lambda: "slow cannot be read" in said.read_text())
        time.sleep(1.1)  # it tries once more; were it slower, less would be shown
        assert left(tmp_path)["fast"] == [1, 2, 3, 4]
        (tmp_path / "cold").rename(tmp_path / "gone")  # one more is told, and that one alone
        assert until(lambda: "the tier cold cannot be read" in said.read_text())
        assert said.read_text().count("the tier slow cannot be read") == 1
        (tmp_path / "gone").rename(tmp_path / "cold")
        (tmp_path / "away").rename(tmp_path / "slow")
        assert until(lambda: "all is well again" in said.read_text())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left(tmp_path)["fast"] == [3, 4]


@pytest.mark.parametrize("finish", ["90s", "0s"])
def test_sigterm_finishes_what_is_in_hand_in_the_time_given(
    tmp_path: Path, ckptctl: Ckptctl, finish: str
) -> None:
    config = tiers(tmp_path)
    run = tmp_path / "fast" / "llm"
    save(run, dict.fromkeys(range(1, 3)))
    head = b'{"x":{"dtype":"U8","shape":[2097152],"data_offsets":[0,2097152]}}'
    for step in (3, 4):
        data = len(head).to_bytes(8, "little") + head + bytes(2 << 20)
        (run / f"step_{step}.safetensors").write_bytes(data)
    when = ("SIGTERM", "write:step_4:1")  # it has begun to copy the first of them
    words = ("watch", "-c", config, "--bwlimit", "700kB", "--finish", finish)
    assert ckptctl(*when, *words, module=("tests.faults.signalled",)).code == 143
    there = [path.name for path in (tmp_path / "slow" / "llm").iterdir()]
    assert there == (["step_4.safetensors"] if finish == "90s" else [])
    assert ckptctl("apply", "-c", config).code == 0
    assert len(list((tmp_path / "slow" / "llm").glob("*.safetensors"))) == 2


def test_nothing_of_a_round_is_left_in_the_next() -> None:
    """A client of a bucket is in a cycle: it would keep its connections, and memory, for hours."""

    class Client:
        itself: Client

    made: list[weakref.ref[Client]] = []

    def once() -> Round:
        assert not [each for each in made if each() is not None]
        if made:
            raise UsageError("enough")
        client = Client()
        client.itself = client
        made.append(weakref.ref(client))
        return Round()

    loop = Loop(Session(common=Common(quiet=True)), Watcher(), [], polled=True, interval=0)
    with pytest.raises(UsageError, match="enough"):
        loop.run(once)


def test_lines_that_the_log_has_lost_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(common=Common(quiet=True), signals=Signals())
    log = session.log = ActionLog("/dev/full", {}, lambda: 0)

    def once() -> Round:
        log.add("prune", "run", Outcome("a", "/run/a", "delete", "done", 1))
        session.signals.arrived = signal.SIGTERM
        return Round()

    with pytest.raises(Exit):
        Loop(session, Watcher(), [], polled=True, interval=0).run(once)
    assert "1 of 1 lines" in capsys.readouterr().err


def test_once_is_apply_and_nonsense_is_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    for words, arguments in (
        ("config example", ["--no-config"]),
        ("--interval", ["-c", config, "--interval", "0s"]),
        ("lies on no tier", ["-c", config, str(tmp_path)]),
    ):
        done = ckptctl("watch", *arguments)
        assert (done.code, words in done.stderr) == (2, True), done.stderr
    assert ckptctl("watch", "-c", config, "--once", "@fast/llm").code == 0
    assert left(tmp_path)["fast"] == [3, 4]


def test_sync_watches_one_source(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "here", dict.fromkeys(range(1, 3)))
    there = tmp_path / "there"
    refused = ckptctl("sync", run, there, "--watch", "-n")
    assert (refused.code, "--watch" in refused.stderr) == (2, True)
    call = [sys.executable, "-m", "ckptctl", "sync", str(run), str(there), "--watch", "--json"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert until(lambda: steps_left(there) == [1, 2])
            (run / "step_3.tmp").write_bytes(torch_zip())
            (run / "step_3.tmp").rename(run / "step_3.pt")
            assert until(lambda: steps_left(there) == [1, 2, 3])
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 143
    assert [json.loads(line)["schema"] for line in said.splitlines()] == ["ckptctl/sync"] * 2


def test_events_come_of_what_is_finished_wherever_it_appears(tmp_path: Path) -> None:
    watcher = Watcher()
    (tmp_path / "a").mkdir()
    assert watcher.watch(str(tmp_path)) is is_single(str(tmp_path))
    assert not watcher.wait(0)
    (tmp_path / "a" / "x").write_text("1")
    assert watcher.wait(5)
    (tmp_path / "a" / ".ckptctl").mkdir()
    (tmp_path / "a" / ".ckptctl" / "lock").write_text("1")
    assert not watcher.wait(0.1)  # our own state is none of it
    (tmp_path / "b.tmp" / "deep").mkdir(parents=True)
    assert watcher.wait(5)
    os.rename(tmp_path / "b.tmp", tmp_path / "b")
    assert watcher.wait(5)
    (tmp_path / "b" / "deep" / "new").mkdir()
    assert watcher.wait(5)
    (tmp_path / "b" / "deep" / "new" / "marker").touch()
    assert watcher.wait(5)
    with (tmp_path / "b" / "deep" / "new" / "marker").open("rb"):
        assert not watcher.wait(0.1)
    watcher.close()


@pytest.mark.parametrize(
    ("path", "single"),
    [("/home/x", True), ("/lustre/proj", False), ("/nfs dir/x", False), ("/lustre2", True)],
)
def test_a_network_file_system_is_known_by_its_mount(
    tmp_path: Path, path: str, single: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "2 1 0:1 / /lustre rw - lustre mds@tcp:/fs rw\n"
        "3 1 0:2 / /nfs\\040dir rw - nfs4 server:/x rw\n"
    )
    assert is_single(path, str(mounts)) is single


def test_what_is_about_to_be_purged_and_copied_nowhere_is_told_once(
    ckptctl: Ckptctl, tmp_path: Path
) -> None:
    run = save(tmp_path / "scratch" / "llm", {1: None, 2: None})
    os.utime(run / "step_1.pt", (time.time() - 20 * 86400, (run / "step_1.pt").stat().st_mtime))
    config = tmp_path / "ckptctl.yaml"
    config.write_text(
        f"version: 1\ntiers: {{scratch: {{url: {tmp_path}/scratch, purge_after: 21d, purge_by: atime}}}}\n"
        "runs: [{match: '**', policy: p}]\npolicies: {p: {keep: [{last: 3}]}}\n"
    )
    assert ckptctl("apply", "-c", config).code == 0
    said = tmp_path / "said"
    with watching(str(config), "--interval", "1s", said=said) as process:
        assert until(lambda: "(purge-at-risk)" in said.read_text())
        (run / "train.log").write_text("step 3\n")  # which it hears of, and finds nothing to do
        time.sleep(1.1)  # were it slower, less would be shown
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    words = " ".join(said.read_text().split())
    told = f"! {run}: its site purges files not read for 21d: step_1 is about to be torn"
    assert words.count(told) == 1, words
