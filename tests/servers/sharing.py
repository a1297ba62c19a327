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
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.servers import keeper

_HIGHEST = 45000  # gRPC listens 10000 above


def free_ports(count: int) -> list[int]:
    """Ports that are free now, and those 10000 above them too."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(20000, _HIGHEST)  # noqa: S311 - no secret
        if port not in found and _free(port) and _free(port + 10000):
            found.append(port)
    return found


def _free(port: int) -> bool:
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
        folder.mkdir()
        chosen = free_ports(ports)
        subprocess.run(
            [sys.executable, keeper.__file__, str(owner), keeper.started(owner), str(folder), *command(folder, chosen)],
            check=True,
        )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            try:
                ready(chosen[0])
            except OSError:
                late = time.monotonic() > end or (folder / "ended").exists()
                assert not late, (folder / "log").read_text()
                time.sleep(0.1)
            else:
                break
        note.write_text(json.dumps(chosen[0]))
        return chosen[0]
