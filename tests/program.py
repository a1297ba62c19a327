"""The program as a user runs it: a process of its own, without a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.warm import CHANGES_THE_START, FORKED, Warm


@dataclass(frozen=True, slots=True)
class Done:
    """What a call left: exit code and output."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Return the one JSON object on stdout."""
        return json.loads(self.stdout)


class Ckptctl(Protocol):
    """Runs one command line."""

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        env: dict[str, str] | None = None,
        module: tuple[str, ...] = (),
    ) -> Done:
        """Run it; `env` is added to a clean environment, `module` runs something else than ckptctl."""


def runner(home: Path, warm: Warm) -> Ckptctl:
    """Return a runner whose environment is that of nobody in particular."""
    here = Path(__file__).parent.parent
    outputs = [home.with_name(f"{home.name}.{stream}") for stream in ("stdout", "stderr")]

    def call(
        *arguments: str | os.PathLike[str],
        env: dict[str, str] | None = None,
        module: tuple[str, ...] = (),
    ) -> Done:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("CKPTCTL", "XDG", "COLUMNS", "NO_COLOR", "SLURM"))
        }
        clean |= {"HOME": str(home), "PYTHONPATH": str(here), "CKPTCTL_DEBUG": "1", **(env or {})}
        starts_alike = not any(key.startswith(CHANGES_THE_START) for key in env or {})
        if starts_alike and all(name in FORKED for name in module):
            for output in outputs:
                output.write_bytes(b"")
            code = warm.call(
                {
                    "module": module[0] if module else "ckptctl.__main__",
                    "arguments": [os.fspath(a) for a in arguments],
                    "env": clean,
                    "cwd": os.getcwd(),
                    "stdout": str(outputs[0]),
                    "stderr": str(outputs[1]),
                }
            )
            said = [file.read_text("utf-8", "surrogateescape") for file in outputs]
            return Done(code, *said)
        program = [
            sys.executable,
            "-m",
            *(module or ("ckptctl",)),
            *(os.fspath(a) for a in arguments),
        ]
        done = subprocess.run(
            program, stdin=subprocess.DEVNULL, capture_output=True, env=clean, check=False, timeout=200,
            encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return call
