"""examples/cron: each line as cron runs it, and what it would mail."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.examples.machine import EXAMPLES, IS_ROOT, ROOT, Machine, run
from tests.program import Done
from tests.saved import save, steps_left
from tests.waiting import until

SYSTEM = {"prune-all.cron", "metrics.cron"}
"""Those for /etc/cron.d, which name a user."""
FILES = sorted([*EXAMPLES.glob("cron/*.cron"), *EXAMPLES.glob("monitoring/*.cron")])


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a crontab: when, and what the shell gets."""

    when: str
    command: str
    stdin: str | None  # what follows the first % that is not escaped


def crontab(text: str, *, system: bool) -> tuple[dict[str, str], list[Entry]]:
    """Read a crontab as cron does (crontab(5) of Debian's cron and of cronie)."""
    assert text.endswith("\n"), "cron passes over a last line that has no end"
    settings, entries = {}, []
    for line in map(str.lstrip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if setting := re.fullmatch(r"(\w+)\s*=\s*(.*)", line):
            value = setting[2].strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            settings[setting[1]] = value[1:-1] if quoted else value
            continue
        *when, rest = line.split(maxsplit=5 + system)
        command, *stdin = re.split(r"(?<!\\)%", rest, maxsplit=1)
        entries.append(
            Entry(" ".join(when[:5]), command.replace("\\%", "%"), stdin[0] if stdin else None)
        )
    return settings, entries


@dataclass(frozen=True, slots=True)
class Cron:
    """Runs the one entry of a crontab in the environment that cron gives."""

    machine: Machine

    def __call__(self, example: str) -> Done:
        """Run it; no `sleep` takes any time."""
        system = Path(example).name in SYSTEM
        settings, (entry,) = crontab(self.machine.text(example), system=system)
        sleep = self.machine.root / "bin" / "sleep"
        sleep.write_text(f'#!/bin/sh\necho "$1" >>{self.machine.root}/slept\n')
        sleep.chmod(0o755)
        home = str(self.machine.home)
        env = {"HOME": home, "LOGNAME": "me", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
        env |= settings
        env["PATH"] = f"{sleep.parent}:{env['PATH']}"
        return run(["/bin/sh", "-c", entry.command], env, self.machine.home)

    @property
    def slept(self) -> int:
        """How many seconds the last one waited."""
        return int((self.machine.root / "slept").read_text().split()[-1])


@pytest.fixture
def cron(machine: Machine) -> Cron:
    return Cron(machine)


def mailed(done: Done) -> str:
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_cron_reads_each_of_them(file: Path) -> None:
    settings, entries = crontab(file.read_text(), system=file.name in SYSTEM)
    assert settings["ckptctl"] == "/opt/ckptctl/bin/ckptctl"
    for entry in entries:
        assert re.fullmatch(r"([*\d/,-]+ ){4}[*\d/,-]+", entry.when)
        assert entry.stdin is None, "a % that is not escaped ends the command"
        assert not {"crontab", "~"} & set(shlex.split(entry.command))


def test_a_percent_sign_ends_a_command_unless_it_is_escaped() -> None:
    text = "a = 'b c'\n# x\n 1 2 * * *  root  date +\\%F%one%two\n"
    settings, (entry,) = crontab(text, system=True)
    assert settings == {"a": "b c"}
    assert (entry.when, entry.command, entry.stdin) == ("1 2 * * *", "date +%F", "one%two")


PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md")]


def test_lines_of_a_crontab_in_the_documentation_are_such() -> None:
    found = [
        line
        for page in PAGES
        for line in page.read_text().splitlines()
        if re.match(r"([*\d/]+ +){5}", line)
    ]
    assert len(found) >= 3
    for line in found:
        assert re.search(r"(?<!\\)%", line) is None, line
        assert " ckptctl " not in line, f"cron has no such PATH: {line}"


def test_apply_works_in_silence_and_tells_of_failures_alone(cron: Cron, machine: Machine) -> None:
    done = cron("cron/apply.cron")
    assert (done.code, mailed(done)) == (0, "")
    assert 0 <= cron.slept <= 90
    assert machine.lived
    log = (machine.home / "ckptctl.jsonl").read_text().splitlines()
    assert {json.loads(line)["run"] for line in log} == {"modèle"}
    (machine.root / "lustre").rename(machine.root / "away")
    lost = mailed(cron("cron/apply.cron"))
    assert lost.startswith("exit 7\n")
    assert f"{machine.root}/lustre: does not exist" in lost


def test_apply_is_silent_while_another_one_is_at_work(cron: Cron, machine: Machine) -> None:
    """Held by the call before, or, where another crontab has the same runs, by their lock."""
    with (machine.home / ".ckptctl-apply.lock").open("w") as before:
        fcntl.flock(before, fcntl.LOCK_EX)
        assert mailed(cron("cron/apply.cron")) == ""
    line = machine.text("cron/apply.cron").replace("--lock-wait 10m", "")
    _, (entry,) = crontab(line, system=False)
    command = entry.command.partition("; ")[2]  # without the sleep
    env = {"HOME": str(machine.home), "ckptctl": str(machine.program), "PATH": "/usr/bin:/bin"}
    apply = [str(machine.program), "apply", "-q", "-c", f"{machine.home}/ckptctl.yaml"]
    slow = [*apply, "--bwlimit", "1"]  # it is not to end before the others have tried
    with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as other:
        assert until(lambda: any((machine.root / "lustre").glob(".ckptctl/*/staging/*")))
        assert mailed(run(["/bin/sh", "-c", command], env, machine.home)) == ""
        second = run(apply, env, machine.home)
        assert (second.code, mailed(second)) == (3, "")
        assert other.poll() is None
        other.terminate()
        other.communicate(timeout=60)
    assert other.returncode == 143
    assert machine.left("nvme") == [1, 2, 3, 4, 5]


def test_what_ends_it_without_a_word_is_told(cron: Cron, machine: Machine) -> None:
    """As the kernel does where memory is short."""
    machine.program.write_text("#!/bin/sh\nkill -9 $$\n")
    assert mailed(cron("cron/apply.cron")).startswith("exit 137\n")
    machine.program.unlink()
    assert mailed(cron("cron/prune.cron")).startswith("exit 127\n")


def test_prune_of_ones_own_runs_at_night(cron: Cron, machine: Machine) -> None:
    llm = save(machine.root / "scratch" / "me" / "llm", dict.fromkeys(range(1, 6)))
    assert mailed(cron("cron/prune.cron")).startswith("exit 2\n")  # there is no policy
    assert steps_left(llm) == [1, 2, 3, 4, 5]
    policy = "version: 1\nruns: [{match: '**', policy: p}]\npolicies: {p: {keep: [{last: 2}]}}\n"
    (llm.parent / "ckptctl.yaml").write_text(policy)
    assert mailed(cron("cron/prune.cron")) == ""
    assert steps_left(llm) == [4, 5]
    assert cron.slept <= 1800


@pytest.mark.skipif(not IS_ROOT, reason="only root can drop root")
def test_prune_of_all_users_is_each_ones_own(cron: Cron, machine: Machine) -> None:
    for user, uid in (("alice", 65534), ("bob", 65533), ("root", 0)):
        llm = save(machine.root / "scratch" / user / "llm", dict.fromkeys(range(1, 4)))
        policy = "version: 1\npolicies: {default: {keep: [{last: 1}]}}\n"
        policy += "runs: [{match: '**', policy: default}]\n"
        (llm.parent / "ckptctl.yaml").write_text(policy)
        for path in (llm.parent, llm, *llm.parent.rglob("*")):
            os.chown(path, uid, uid)
    done = mailed(cron("cron/prune-all.cron"))
    scratch = machine.root / "scratch"
    left = {user: steps_left(scratch / user / "llm") for user in ("alice", "bob", "root")}
    assert left == {"alice": [3], "bob": [1, 2, 3], "root": [1, 2, 3]}
    assert done.startswith(f"{scratch}/bob/: exit 2\n")  # of whom nobody knows
    assert "there is no user '65533'" in done
    lines = (machine.root / "log" / "nightly.jsonl").read_text().splitlines()
    assert [json.loads(line)["user"] for line in lines] == ["nobody", "nobody"]


def test_the_alert_comes_where_a_run_is_critical_and_else_not(cron: Cron, machine: Machine) -> None:
    assert mailed(cron("cron/alert.cron")) == ""
    for file in (machine.root / "nvme" / "modèle").iterdir():
        os.utime(file, (0, 0))
    done = mailed(cron("cron/alert.cron"))
    assert done.startswith("CRITICAL: run modèle on nvme: newest complete checkpoint is ")


def test_the_drill_is_silent_where_each_tier_works(cron: Cron, machine: Machine) -> None:
    (machine.root / "lustre").rmdir()
    (machine.root / "nvme").rename(machine.root / "lustre")
    (machine.root / "nvme").mkdir()
    assert mailed(cron("cron/drill.cron")) == ""
    assert not list((machine.root / "spare").iterdir())
