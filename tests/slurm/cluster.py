"""A real SLURM of three nodes on this host, an ordinary user of it, and what its epilogs run."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ckptctl
from tests.program import Done
from tests.servers.sharing import free_ports, is_free

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "slurm"
NODES = ("node1", "node2", "node3")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three nodes, each with its own host name and process ids; `user` is whom jobs run as."""

    dir: Path
    user: str

    def name_of(self, folder: Path) -> str:
        """What the epilog looks for on a node's disk, of a directory that is no user's: all of its path."""
        return str(folder).lstrip("/")

    @property
    def scratch(self) -> Path:
        """The user's own directory, which all nodes see."""
        return self.dir / "scratch"

    @property
    def program(self) -> Path:
        """`ckptctl`, where the user can run it too; on the nodes alone."""
        return self.dir / "bin" / "ckptctl"

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.user).pw_uid

    @property
    def local(self) -> Path:
        """What each node has a directory of its own under; only there."""
        return self.dir / "slurm" / "local"

    def disk(self, node: str) -> Path:
        """What `local` is on a node, as it is seen from here."""
        return self.dir / "slurm" / "locals" / node

    def give(self, path: Path) -> Path:
        """Let the user own a directory and all below it."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.uid, self.uid, follow_symlinks=False)
        return path

    def run(
        self, *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Done:
        """Run a program as the user, on the login host; jobs get what is in `env` too."""
        entry = pwd.getpwnam(self.user)
        done = subprocess.run(
            command, user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], check=False,
            cwd=cwd or self.scratch, env={**self._env(), **(env or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def login(self, *arguments: str | Path, cwd: Path) -> Done:
        """Run `ckptctl` as the user on the login host, where cron would."""
        pid = (self.dir / "slurm" / "run" / "slurmctld.pid").read_text().split()[0]
        user = (f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups")
        done = subprocess.run(
            [
                "nsenter", f"--mount=/proc/{pid}/ns/mnt", "env", f"--chdir={cwd}",
                "setpriv", *user, self.program, *arguments,
            ],
            check=False, env=self._env(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=100,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def srun(
        self, *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Done:
        """Run one step on the nodes, as the user, and wait for its epilogs."""
        done = self.run("srun", *arguments, cwd=cwd, env=env)
        self.settle()
        return done

    def sbatch(
        self, *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Submit a batch job as the user; its number."""
        done = self.run("sbatch", "--parsable", *arguments, cwd=cwd, env=env)
        assert done.code == 0, done.stderr
        return done.stdout.strip()

    def settle(self) -> None:
        """Wait until no job runs and no epilog either.  AssertionError after a minute."""
        self.until(lambda: not self._asked("squeue", "-h", "-o", "%A %T"), "the queue to be empty")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something is so.  AssertionError after a minute and a half."""
        end = time.monotonic() + 90
        while not holds():
            assert time.monotonic() < end, f"waited for {what}: {self._asked('squeue')}"
            time.sleep(0.1)

    def state(self, job: str) -> str:
        """Return a job's state as SLURM calls it."""
        return self._asked("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")

    def drained(self) -> str:
        """Return the nodes that no job could run on, with the reason; nothing where all is well."""
        return self._asked("sinfo", "-h", "-N", "-t", "drain,down,fail", "-o", "%N %T %E")

    def resume(self) -> None:
        """Make drained nodes usable again."""
        for name in self._asked("sinfo", "-h", "-N", "-t", "drain,down", "-o", "%N").split():
            self._asked("scontrol", "update", f"nodename={name}", "state=resume")

    def die(self, node: str) -> None:
        """Let a node lose its power: all of its processes are gone at once, and SLURM is told."""
        pid = int((self.dir / "slurm" / "run" / f"slurmd-{node}.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)  # the first process of the node
        self._asked("scontrol", "update", f"nodename={node}", "state=down", "reason=died")

    def boot(self, node: str) -> None:
        """Start a node again that has died: it has its disk."""
        subprocess.run([HERE / "slurm-up", "-r", node, "-d", self.dir / "slurm"], check=True)

    def squash(self) -> tuple[Path, str]:
        """Give the nodes a file system that they share and root may not even look into.

        Return its path on the nodes, and what it lacks where there can be none.
        """
        for node in NODES:
            done = subprocess.run(
                [HERE / "squash", self.dir, node, self.user],
                check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            if done.returncode:
                return self.dir, f"no FUSE: {done.stderr.strip() or done.returncode}"
        return self.dir / "squashed", ""

    def script(self, name: str, text: str) -> None:
        """Set what runs as `epilog`, `epilog-slurmctld` or `task-epilog`, from now on."""
        new = self.dir / "bin" / f".{name}"
        new.write_text(text)
        new.chmod(0o755)
        new.rename(self.dir / "bin" / name)

    def no_scripts(self) -> None:
        """Let nothing run at the end of jobs."""
        for name in ("epilog", "epilog-slurmctld", "task-epilog"):
            self.script(name, "#!/bin/sh\nexit 0\n")

    def _asked(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._env(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def _env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.dir / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.dir / "home"),
            "SLURM_CONF": str(self.dir / "slurm" / "etc" / "slurm.conf"),
        }


def example(name: str, settings: Mapping[str, str | Path]) -> str:
    """Return the text of a script of examples/slurm with other settings at its top."""
    text = (EXAMPLES / name).read_text()
    for key, value in settings.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{key}=")]
        assert len(lines) == 1, (name, key, lines)
        text = text.replace(f"\n{lines[0]}\n", f"\n{key}={value}\n")
    return text


def why_not() -> str:
    """Return what a cluster lacks here, nothing where one can be started."""
    if os.geteuid() != 0:
        return "only root can start a SLURM cluster with users of its own"
    lacking = [name for name in ("slurmctld", "slurmd", "srun", "munged") if not shutil.which(name)]
    return f"SLURM is not installed: no {', '.join(lacking)}" if lacking else ""


@contextmanager
def started() -> Iterator[Cluster]:
    """Keep a cluster up; all of it is gone afterwards, and also when this process is killed."""
    folder = Path(tempfile.mkdtemp(prefix="ckptctl-slurm-", dir="/tmp"))  # where any user may go
    cluster = Cluster(folder, f"ckpt{os.getpid()}")
    base = Path(sys.base_prefix)
    keeper = subprocess.Popen(
        [
            HERE / "keep", folder, str(_ports(4)), cluster.user,
            base, sysconfig.get_path("purelib"), Path(ckptctl.__file__).parent,
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        said = keeper.stdout.readline().strip()
        assert said == "up", f"no cluster: {said}"
        python = Path(sys.executable).resolve().relative_to(base.resolve())
        lent = folder / "lent"
        cluster.script(
            "ckptctl",
            # without the first the user, who cannot read this Python's own, gets another one's libpython
            f"#!/bin/sh\nLD_LIBRARY_PATH={lent}/python/lib PYTHONPATH={lent}/src:{lent}/site"
            f' exec {lent}/python/{python} -P -m ckptctl "$@"\n',
        )
        yield cluster
    finally:
        keeper.stdin.close()
        keeper.wait(timeout=60)
        keeper.stdout.close()


def _ports(count: int) -> int:
    """Return the first of so many ports in a row that are free now."""
    while True:
        first = free_ports(1)[0]
        if all(is_free(first + above) for above in range(count)):
            return first
