"""One server for all workers of a test run."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import keeper

_ATTEMPTS = 3
_PORTS = (10001, 22000)
"""Below those that clients get (Linux: from 32768 on), as are those 10000 above, where gRPC listens."""
_SECONDS = 120  # until a server answers, on a machine that does other things


def free_ports(count: int) -> list[int]:
    """Ports that are free now, and those 10000 above them too."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(*_PORTS)  # noqa: S311 - no secret
        if port not in found and is_free(port) and is_free(port + 10000):
            found.append(port)
    return found


@contextmanager
def nobodys() -> Iterator[str]:
    """The address of a port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this host."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def shared(
    factory: pytest.TempPathFactory,
    name: str,
    ports: int,
    command: Callable[[Path, list[int]], Sequence[str]],
    ready: Callable[[int], None],
) -> int:
    """The first port of a server, started by whichever worker is first to need it.

    `ready` raises OSError as long as the server does not answer.
    """
    base = factory.getbasetemp()
    owner = os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base, owner = base.parent, os.getppid()
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = folder / "port.json"
        if note.exists():
            return int(json.loads(note.read_text()))
        for attempt in range(_ATTEMPTS):
            port = _started(base / f"{name}.{attempt}", owner, ports, command, ready)
            if port is not None:
                break
        assert port is not None, (base / f"{name}.{attempt}" / "log").read_text()
        folder.mkdir(exist_ok=True)
        note.write_text(json.dumps(port))
        return port


def _started(
    folder: Path,
    owner: int,
    ports: int,
    command: Callable[[Path, list[int]], Sequence[str]],
    ready: Callable[[int], None],
) -> int | None:
    """Start a server; None where it ended at once: another may have taken one of its ports."""
    folder.mkdir()
    chosen = free_ports(ports)
    subprocess.run(
        [sys.executable, keeper.__file__, str(owner), keeper.started(owner), str(folder), *command(folder, chosen)],
        check=True,
    )  # fmt: skip
    end = time.monotonic() + _SECONDS
    while True:
        try:
            ready(chosen[0])
        except OSError:
            if (folder / "ended").exists():
                return None
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        else:
            return chosen[0]
