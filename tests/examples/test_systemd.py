"""examples/systemd: each command line in its unit's environment, and what its end means to systemd."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser, SectionProxy
from contextlib import contextmanager
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.units import parse_duration
from tests.examples.machine import EXAMPLES, IS_ROOT, PROGRAM, Machine, run
from tests.program import Ckptctl, Done
from tests.waiting import until

UNITS = sorted(
    str(file.relative_to(EXAMPLES))
    for file in EXAMPLES.glob("systemd/*/*")
    if file.suffix in {".service", ".timer"}
)
SERVICES = [unit for unit in UNITS if unit.endswith(".service")]
WATCHES = [unit for unit in SERVICES if "watch" in unit]
ANALYZE = shutil.which("systemd-analyze")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unit(ConfigParser):
    """A unit's sections and keys, which are as they are written."""

    def __init__(self) -> None:
        super().__init__(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(machine: Machine, name: str) -> Unit:
    """Read a unit as its instance `me` sees it."""
    parser = Unit()
    parser.read_string(machine.text(name).replace("%i", "me").replace("%h", str(machine.home)))
    return parser


def command(service: SectionProxy) -> list[str]:
    return shlex.split(service["ExecStart"])


def environment(machine: Machine) -> dict[str, str]:
    """What a service gets that names a user and no environment (systemd.exec(5))."""
    home = str(machine.home)
    user = {"HOME": home, "USER": "me", "LOGNAME": "me", "SHELL": "/bin/sh"}
    return {"PATH": _PATH, "LANG": "C.UTF-8", "INVOCATION_ID": "0" * 32, **user}


def clean(service: SectionProxy, code: int) -> bool:
    """Whether systemd takes an exit code for success."""
    return code == 0 or str(code) in service.get("SuccessExitStatus", "").split()


@contextmanager
def started(machine: Machine, service: SectionProxy) -> Iterator[subprocess.Popen[str]]:
    """Run a service beside the test; it is killed where the test did not end it."""
    with subprocess.Popen(
        command(service), env=environment(machine), cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed here")
@pytest.mark.parametrize("kind", ["system", "user"])
def test_systemd_has_nothing_to_say_of_them(kind: str, tmp_path: Path) -> None:
    names = []
    for file in EXAMPLES.glob(f"systemd/{kind}/*"):
        text = file.read_text().replace(PROGRAM, "/bin/true")
        (tmp_path / file.name).write_text(text)
        names.append(f"./{file.name.replace('@', '@daemon')}")
    call = ["systemd-analyze", "verify", "--man=no", f"--{kind}", *names]
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = run(call, env, tmp_path)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    spoilt = tmp_path / next(name.name for name in tmp_path.glob("*apply*.service"))
    spoilt.write_text(spoilt.read_text().replace("TimeoutStopSec", "TimeoutStoppSec"))
    assert "TimeoutStoppSec" in run(call, env, tmp_path).stderr  # it would have said so


@pytest.mark.parametrize("name", UNITS)
def test_each_unit_has_what_it_needs(name: str, machine: Machine) -> None:
    parsed = unit(machine, name)
    assert parsed["Unit"]["Description"]
    if name.endswith(".timer"):
        timer = parsed["Timer"]
        assert {"OnCalendar", "RandomizedDelaySec", "Persistent"} <= set(timer)
        assert parsed["Install"]["WantedBy"] == "timers.target"
        assert name.replace(".timer", ".service") in SERVICES
        return
    service = parsed["Service"]
    assert command(service)[0] == str(machine.program)
    assert ("User" in service) == ("/system/" in name)
    assert "--as-user" not in service["ExecStart"], "NoNewPrivileges would be in its way"
    if "/system/" in name:
        assert service["ReadWritePaths"] == parsed["Unit"]["RequiresMountsFor"]


@pytest.mark.parametrize("name", [name for name in SERVICES if "apply" in name])
def test_apply_and_what_its_codes_mean(name: str, machine: Machine, ckptctl: Ckptctl) -> None:
    service = unit(machine, name)["Service"]

    def applied() -> Done:
        return ckptctl(*command(service)[1:], env=environment(machine))

    (machine.root / "lustre" / "modèle").mkdir()
    held = [os.open(machine.root / tier / "modèle", os.O_RDONLY) for tier in ("nvme", "lustre")]
    for place in held:
        fcntl.flock(place, fcntl.LOCK_EX)
    waiting = [word for word in command(service)[1:] if word not in {"--lock-wait", "10m"}]
    locked = ckptctl(*waiting, env=environment(machine))
    assert (locked.code, locked.stdout, locked.stderr) == (3, "", "")
    assert clean(service, locked.code)
    for place in held:
        os.close(place)
    done = applied()
    assert (done.code, done.stderr) == (0, "")
    assert machine.lived
    (machine.root / "lustre").rename(machine.root / "away")
    lost = applied()
    assert lost.code == 7
    assert not clean(service, lost.code)
    assert not clean(service, 5)


@pytest.mark.parametrize("name", WATCHES)
def test_watch_ends_well_on_what_systemctl_stop_sends(name: str, machine: Machine) -> None:
    service = unit(machine, name)["Service"]
    with started(machine, service) as process:
        assert until(lambda: machine.lived)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert clean(service, process.returncode)
    assert process.returncode == 143
    assert "ended by a signal" in said
    words = command(service)
    finish = parse_duration(words[words.index("--finish") + 1])
    assert finish < parse_duration(f"{service['TimeoutStopSec']}s")


@pytest.mark.parametrize("name", WATCHES)
def test_watch_is_not_started_again_with_a_wrong_configuration(
    name: str, machine: Machine, ckptctl: Ckptctl
) -> None:
    parsed = unit(machine, name)
    service = parsed["Service"]
    words = command(service)
    Path(words[words.index("-c") + 1]).write_text("version: 1\ntires: {}\n")
    done = ckptctl(*words[1:], env=environment(machine))
    assert "tires" in done.stderr
    assert str(done.code) in service["RestartPreventExitStatus"].split()
    assert service["Restart"] == "on-failure"
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert not clean(service, done.code)


def _sees_namespaces() -> bool:
    """Whether file systems can be mounted here that nobody else sees."""
    return (
        IS_ROOT
        and shutil.which("unshare") is not None
        and run(["unshare", "-m", "mount", "--bind", "/tmp", "/tmp"], {}, Path("/")).code == 0
    )


@pytest.mark.skipif(not _sees_namespaces(), reason="only root can mount what the rest may not see")
def test_apply_works_where_all_but_the_tiers_is_read_only(machine: Machine) -> None:
    """As with ProtectSystem=strict: each of ReadWritePaths is a mount of its own."""
    service = unit(machine, "systemd/system/ckptctl-apply@.service")["Service"]
    assert service["ProtectSystem"] == "strict"
    places = service["ReadWritePaths"].split()
    root = str(machine.root)
    mounts = ["mount --make-rprivate /", f"mount --bind {root} {root}", f"cd {root}"]
    mounts += [f"mount --bind {place} {place}" for place in places]
    mounts += [f"mount -o remount,bind,ro {root}", f"! touch {root}/x 2>/dev/null"]
    script = " && ".join([*mounts, f"exec {shlex.join(command(service))}"])
    done = run(["unshare", "-m", "sh", "-c", script], environment(machine), machine.root)
    assert (done.code, done.stderr) == (0, "")
    assert machine.lived


def done_in(log: Path) -> set[tuple[str, str, int]]:
    """What a log notes as done: the action, on which tier, of which step."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return {
        (line["action"], Path(line["path"]).parts[-3], int(Path(line["path"]).stem[5:]))
        for line in map(json.loads, (line for line in lines if line.endswith("\n")))
        if line["status"] == "done"
    }


def test_a_log_that_is_rotated_while_watch_runs_loses_nothing(machine: Machine) -> None:
    """By logrotate where it is installed and may give files to root, else by what it does."""
    log = machine.root / "log" / "watch.jsonl"
    service = unit(machine, "systemd/user/ckptctl-watch.service")["Service"]
    service["ExecStart"] = service["ExecStart"].replace(f"{machine.home}/ckptctl.jsonl", str(log))
    conf = machine.root / "logrotate.conf"
    conf.write_text(machine.text("logrotate/ckptctl"))
    conf.chmod(0o644)
    directives = conf.read_text().split()
    assert {"create", "delaycompress"} <= set(directives)
    assert "copytruncate" not in directives
    tool = shutil.which("logrotate", path="/usr/sbin:/usr/bin") if IS_ROOT else None
    run_there = machine.root / "nvme" / "modèle"
    first = {("copy", "lustre", each) for each in (1, 2, 3, 4, 5)}
    first |= {("delete", "nvme", each) for each in (1, 2, 3)}
    first |= {("delete", "lustre", each) for each in (1, 2)}
    then = {("copy", "lustre", 6), ("delete", "nvme", 4), ("delete", "lustre", 3)}
    with started(machine, service) as process:
        assert until(lambda: done_in(log) == first)
        if tool is not None:
            state = str(machine.root / "state")
            done = run([tool, "-f", "-s", state, str(conf)], {"PATH": _PATH}, machine.root)
            assert (done.code, mailed := done.stdout + done.stderr) == (0, ""), mailed
        else:
            log.rename(f"{log}.1")
            log.touch()
        (run_there / "step_6.tmp").write_bytes(torch_zip())
        (run_there / "step_6.tmp").rename(run_there / "step_6.pt")
        assert until(lambda: done_in(log) == then), log.read_text()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert done_in(Path(f"{log}.1")) == first
