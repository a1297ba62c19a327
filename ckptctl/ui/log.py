"""`--log-file`: one JSON object per action, appended, for whoever looks afterwards."""

from __future__ import annotations

import json
import os
import pwd
import stat
from collections.abc import Callable, Mapping

from ckptctl.errors import UsageError
from ckptctl.planted import open_unled
from ckptctl.report import Outcome
from ckptctl.units import format_time

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK a pipe that nobody reads would hang where it is opened; with it, that is ENXIO."""


class ActionLog:
    """An open log file; opened before root is dropped, so that it may lie where root writes.

    A regular file, a character device (`/dev/stderr`), or a pipe that somebody reads.  What it
    cannot take stops no action: `lost` tells of it in the end.  Where logrotate renames a file,
    what has its name then is written on, so that a `watch` of weeks needs no signal.  As root no
    symbolic link of another user is followed on the way to it.
    """

    def __init__(self, path: str, environ: Mapping[str, str], clock: Callable[[], int]) -> None:
        try:
            self._fd = open_unled(path, _FLAGS, 0o644)
            mode = os.fstat(self._fd).st_mode
            os.set_blocking(self._fd, True)
        except OSError as error:
            raise _refused(path, error.strerror or str(error)) from error
        if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
            os.close(self._fd)
            raise _refused(path, "it is neither a file nor a pipe")
        self._path = path
        self._regular = stat.S_ISREG(mode)
        self._clock = clock
        self._job = environ.get("SLURM_JOB_ID")
        self._torn = False
        self._lines = 0
        self._missing = 0
        self._reason = ""

    def add(self, command: str, run: str, outcome: Outcome) -> None:
        """Append what happened to one action, in one write; a failure is remembered, not raised."""
        try:
            # LOGNAME is still that of root, as cron set it, where --as-user dropped root.
            user = pwd.getpwuid(os.geteuid()).pw_name
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
        gone = self._follow()
        # What was cut off before must not take this line with it.
        data = b"\n" * self._torn + json.dumps(line).encode() + b"\n"
        self._lines += 1
        if gone is not None:
            self._miss(gone)
            return
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            self._miss(error.strerror or str(error))
            return
        self._torn = written < len(data)
        if self._torn:
            self._miss("its end did not fit")

    def lost(self) -> str | None:
        """Return how many lines are missing and why the first is, None where all are there."""
        if not self._missing:
            return None
        return (
            f"--log-file: {self._path}: {self._missing:,} of {self._lines:,} lines could not be "
            f"written ({self._reason}); the actions themselves went on"
        )

    def _follow(self) -> str | None:
        """Write on in what has the path by now, as after logrotate.

        Where that cannot be opened (root was dropped), what was renamed takes the lines, too; where
        no file is left that anybody could read, return why.
        """
        held = os.fstat(self._fd)
        try:
            if not self._regular or os.path.samestat(held, os.stat(self._path)):
                return None
        except OSError:
            pass  # nothing has its name: the file is made
        try:
            fd = open_unled(self._path, _FLAGS, 0o644)
        except OSError as error:
            return None if held.st_nlink else error.strerror or str(error)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.dup2(fd, self._fd, inheritable=False)
            self._torn = False
        os.close(fd)
        return None

    def _miss(self, reason: str) -> None:
        self._missing += 1
        self._reason = self._reason or reason


def _refused(path: str, why: str) -> UsageError:
    return UsageError(f"--log-file: {path} cannot be written ({why}); nothing was touched")
