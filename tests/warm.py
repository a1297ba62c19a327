"""ckptctl imported once: each call is a process of its own, forked from this one.

Half of the time that a small call takes is imports, and the tests make a thousand.  What depends on
the start itself (what is imported when, signals while modules load, the streams that a caller
leaves) is tested on processes that start from nothing, in tests/cli/test_processes.py and
tests/cli/test_streams.py.

Run as a program it reads requests, one JSON object a line: arguments, environment, and the files
that are to become stdout and stderr; it answers with a line of the exit code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.unprivileged import preload

CHANGES_THE_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_")
"""Beginnings of variables that the interpreter reads when it starts."""

FORKED = {
    f"tests.faults.{name}"
    for name in (
        "dying",
        "dying_there",
        "interrupted",
        "meddling",
        "outrun",
        "preloaded",
        "signalled",
        "unprivileged",
    )
}
"""Modules that do something to the program in their own process, and may be forked like it."""

_SECONDS = 200
"""How long a call may take before it is killed."""


class Warm:
    """A process that has ckptctl imported, and forks another for each call."""

    def __init__(self, here: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"], cwd=here, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(here)},
        )  # fmt: skip

    def call(self, request: dict[str, Any]) -> int:
        """Run one command line; return its exit code, negative where a signal ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        """Let go of it."""
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def serve() -> None:
    """Answer requests until there are no more."""
    preload()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if not (child := os.fork()):
            _become(request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _become(request: dict[str, Any]) -> None:
    """Be the process that was asked for, and end as it ends."""
    code = 99
    signal.alarm(_SECONDS)
    try:
        for fd, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
            opened = os.open(path, os.O_WRONLY | os.O_APPEND if fd else os.O_RDONLY)
            os.dup2(opened, fd)
            os.close(opened)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = ["ckptctl", *request["arguments"]]
        try:
            code = importlib.import_module(request["module"]).main() or 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
