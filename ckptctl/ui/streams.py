"""stdin, stdout and stderr as a caller may leave them: closed, full, or without a reader.

Nothing here raises for them.  What was deleted is deleted, whether or not anybody can be told.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # as typing has it, whose import --version need not wait for
if TYPE_CHECKING:
    from typing import TextIO

_STDOUT = 1


def mend() -> None:
    """Open `/dev/null` where a standard descriptor is closed, before a file of ours gets its number.

    On stdout it is opened for reading only: writing there fails as it does where it is closed, so
    that a result nobody can get is told of.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if number == _STDOUT else os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)  # noqa: FBT003 - it takes no keywords
    # Python has None for those that were closed when it started.
    # ruff: noqa: SIM115 - they stay open as long as the process
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or open(_STDOUT, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)


class Result:
    """What goes to stdout; `begun` says that something of it has gone there, or was tried."""

    def __init__(self) -> None:
        self.begun = False

    def put(self, text: str) -> OSError | None:
        """Write names with undecodable bytes as those bytes; return why that failed, if it did."""
        self.begun = True
        try:
            data = memoryview(text.encode("utf-8", "surrogateescape"))
            while data:  # with PYTHONUNBUFFERED a signal that is noted leaves the rest to us
                written: int | None = sys.stdout.buffer.write(data)
                if written is None:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                data = data[written:]
            sys.stdout.buffer.flush()
        except OSError as error:
            silence(sys.stdout)
            return error
        return None


RESULT = Result()
"""A process has one stdout."""


def flush() -> None:
    """Write what others left in the buffers, before Python does: it would complain where it cannot."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            silence(stream)


def tell(text: str, stream: TextIO) -> None:
    """Write what people are told, if they can be: no work stops because they cannot."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Send all that is still written to a stream nowhere, what waits in its buffer too.

    Else Python would try again at the end, complain, and exit with a code of its own.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    stream.flush()
