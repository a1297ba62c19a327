"""Run `ckptctl` in this very process, and send it SIGTERM before the nth line once a path has changed.

    python -m tests.faults.interrupted N IN PATH ARGUMENT...

It counts the lines of IN (files and directories of ckptctl/, with commas) that a signal would cut,
each once, after PATH has come, or has gone; and the first one after that, where signals are only
noted.  PATH is - for all of them, N is 0 for none; how many there were is said on stderr.
"""

from __future__ import annotations

import linecache
import os
import signal
import sys
from types import FrameType
from typing import Any

import ckptctl
from ckptctl.cli.signals import SIGNALS

_OURS = os.path.dirname(ckptctl.__file__) + os.sep
_NEITHER = ("signals.py", "app.py")
"""What takes the signal, and what only tells that it came."""


def main() -> int:
    limit, path = int(sys.argv[1]), sys.argv[3]
    ours = tuple(_OURS + name for name in sys.argv[2].split(","))
    before = os.path.exists(path) or path == "-"
    lines: set[tuple[str, int]] = set()

    def entered(frame: FrameType, _: str, __: Any) -> Any:
        name = frame.f_code.co_filename
        return line if name.startswith(ours) and not name.endswith(_NEITHER) else None

    def leaves(place: tuple[str, int]) -> bool:
        # The interpreter looks for signals when a call returns or begins, not between the last line
        # of a `with` and what it leaves by; a tracer is called there, on the line of the `with`.
        return "signals.heeded()" in linecache.getline(*place)

    def line(frame: FrameType, event: str, _: Any) -> Any:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if (lines or path == "-") and (SIGNALS.changing or place in lines or leaves(place)):
            return line
        if event == "line" and (lines or os.path.exists(path) != before):
            lines.add(place)
            if len(lines) == limit:
                os.write(2, f"before {place[0].removeprefix(_OURS)}:{place[1]}\n".encode())
                os.kill(os.getpid(), signal.SIGTERM)
        return line

    from ckptctl.__main__ import main as run  # noqa: PLC0415 - only now nothing is begun

    sys.argv = ["ckptctl", *sys.argv[4:]]
    sys.settrace(entered)
    try:
        run()
    finally:
        sys.settrace(None)
        os.write(2, f"lines={len(lines)}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
