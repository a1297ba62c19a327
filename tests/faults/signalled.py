"""Run `ckptctl` in this very process, and signal it:  python -m tests.faults.signalled SIGNAL WHEN ARGUMENT...

WHEN is `EVENT:WORD:N`: just before the nth audit event (docs.python.org/3/library/audit_events.html)
whose path has WORD in it, `os.rename:step_:3`, say; what is opened to be written is `write`.  So it
is known how far it is, however slow the machine: who sends the signal from outside can only guess.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    number = signal.Signals[sys.argv[1]]
    event, word, nth = sys.argv[2].split(":")
    left = int(nth)

    def heard(name: str, about: tuple[object, ...]) -> None:
        nonlocal left
        if name == "open" and isinstance(flags := about[2], int) and flags & os.O_ACCMODE:
            name = "write"
        if name == event and word in str(about[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    sys.addaudithook(heard)
    from ckptctl.cli.app import run  # noqa: PLC0415 - what it reads when it is imported counts too

    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
