"""Runs one server for as long as another process lives: `keeper.py PID STARTED FOLDER COMMAND...`.

So a server that one worker of pytest-xdist started serves all of them, and none outlives the tests,
however they end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def started(pid: int) -> str:
    """When a process started, in the kernel's ticks; "" where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19] if fields[0] != "Z" else ""


def main() -> None:
    pid, since, folder, *command = sys.argv[1:]
    with (Path(folder) / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        server = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        while started(int(pid)) == since and server.poll() is None:
            time.sleep(0.2)
    finally:
        server.kill()
        server.wait()
        Path(folder, "ended").touch()


if __name__ == "__main__":
    if os.fork() == 0:  # so that whoever started it need not wait for it
        os.setsid()
        main()
