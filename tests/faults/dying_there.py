"""Run `ckptctl` in this very process, and die after, or fail at, the nth request that changes a bucket.

    python -m tests.faults.dying_there kill|fail|lose N ARGUMENT...

Real requests to a real server; only the moment is chosen.  `kill` is SIGKILL just after the nth was
answered, `fail` makes the nth and all later ones fail before they are sent, `lose` lets the nth be
done and its answer be lost.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ckptctl.stores._obstore import ObstoreKeys
from ckptctl.stores._s3_requests import S3Requests

CHANGING = ((ObstoreKeys, "put"), (ObstoreKeys, "delete"), (S3Requests, "ask"))


def main() -> int:
    how, limit = sys.argv[1], int(sys.argv[2])
    count = 0

    def wrapped(kind: type, name: str) -> Callable[..., Any]:
        real = getattr(kind, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if name == "ask" and args[2] == "GET":
                return real(*args, **kwargs)
            count += 1
            if how == "fail" and count >= limit > 0:
                raise OSError(errno.ECONNREFUSED, "no connection (injected)")
            result = real(*args, **kwargs)
            if how == "kill" and count == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "lose" and count == limit:
                raise OSError(errno.ETIMEDOUT, "no answer in time (injected)")
            return result

        return call

    for kind, name in CHANGING:
        setattr(kind, name, wrapped(kind, name))
    from ckptctl.cli.app import run  # noqa: PLC0415 - the requests must be wrapped before

    code = run(sys.argv[3:])
    sys.stderr.write(f"calls={count}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
