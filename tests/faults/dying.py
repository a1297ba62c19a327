"""Run `ckptctl` in this very process, and die or fail at the nth system call that changes anything.

    python -m tests.faults.dying kill|fail N ARGUMENT...

Real system calls on a real file system; only the moment is chosen.  `kill` is SIGKILL just before
the nth call (N counts twice: before and after each), `fail` makes the nth call raise EIO.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

CHANGING = (
    "mkdir", "rename", "link", "unlink", "rmdir", "write", "pwrite", "fsync", "chmod", "fchmod",
    "symlink", "utime", "ftruncate",
)  # fmt: skip


def main() -> int:
    how, limit = sys.argv[1], int(sys.argv[2])
    count = 0

    def wrapped(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if name == "write" and args[0] in {1, 2}:
                return real(*args, **kwargs)
            count += 1
            if how == "kill" and count == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "fail" and count == limit:
                raise OSError(errno.EIO, "Input/output error (injected)", str(args[0]))
            result = real(*args, **kwargs)
            if how == "kill":
                count += 1
                if count == limit:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CHANGING:
        setattr(os, name, wrapped(name))
    from ckptctl.cli.app import run  # noqa: PLC0415 - the calls must be wrapped before it is imported

    code = run(sys.argv[3:])
    sys.stderr.write(f"calls={count}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
