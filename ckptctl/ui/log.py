"""`--log-file`: one JSON object per action, appended, for whoever looks afterwards."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Mapping

from ckptctl.errors import UsageError
from ckptctl.report import Outcome
from ckptctl.units import format_time


class ActionLog:
    """An open log file; opened before root is dropped, so that it may lie where root writes."""

    def __init__(self, path: str, environ: Mapping[str, str], clock: Callable[[], int]) -> None:
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise UsageError(
                f"--log-file: {path} cannot be written ({error.strerror}); nothing was touched"
            ) from error
        self._clock = clock
        self._job = environ.get("SLURM_JOB_ID")

    def add(self, command: str, run: str, outcome: Outcome) -> None:
        """Append what happened to one action, in one write.  Raises OSError."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.geteuid())
        line = {
            "time": format_time(self._clock()),
            "host": os.uname().nodename,
            "user": user,
            "pid": os.getpid(),
            "slurm_job_id": self._job,
            "command": command,
            "run": run,
            "checkpoint": outcome.checkpoint,
            "path": outcome.path,
            "action": outcome.action,
            "status": outcome.status,
            "bytes": outcome.bytes,
            "error": outcome.error,
        }
        os.write(self._fd, json.dumps(line).encode() + b"\n")
