"""Everything ckptctl raises on purpose, and every exit code, in this one place.

CkptctlError            1   unexpected error
├── UsageError          2   the command line, policy or configuration is wrong; nothing was changed
├── LockedError         3   locked by another process
├── RefusedError        4   refused by a guard, a limit or a missing copy; nothing was changed
├── PartialError        5   some actions or runs failed or were skipped, the rest was done
├── DamagedError        6   verification found a damaged or incomplete checkpoint
├── UnreadableError     7   a location cannot be read or reached; nothing was deleted
└── NotFoundError       8   a selector or name matches nothing

Interrupted             130 by SIGINT, 143 by SIGTERM: names are settled, bytes still to be removed
                        are left to the next prune
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ckptctl.secrecy import without_secrets


class CkptctlError(Exception):
    """Something failed.  `message` says what and to which file; `hint` what to do about it.

    `parts` are the lines of the message: each may hold a name, and so a line break that is none.
    What is secret in a URL is left out, whoever repeats it.
    """

    code: ClassVar[int] = 1
    kind: ClassVar[str] = "unexpected"
    meaning: ClassVar[str] = "unexpected error"

    def __init__(self, message: str, hint: str = "", lines: Iterable[str] = ()) -> None:
        self.parts = tuple(map(without_secrets, (message, *lines)))
        self.message = "\n".join(self.parts)
        self.hint = without_secrets(hint)
        super().__init__(self.message)


class UsageError(CkptctlError):
    """The command line, policy or configuration is wrong; nothing was changed."""

    code = 2
    kind = "usage"
    meaning = "the command line, policy or configuration is wrong; nothing was changed"


class LockedError(CkptctlError):
    """Another process holds the lock."""

    code = 3
    kind = "locked"
    meaning = "locked by another process"


class RefusedError(CkptctlError):
    """A guard, a limit or a missing copy refuses; nothing was changed."""

    code = 4
    kind = "refused"
    meaning = "refused by a guard, a limit or a missing copy; nothing was changed"


class PartialError(CkptctlError):
    """Some actions or runs failed or were skipped; the rest was done."""

    code = 5
    kind = "partial"
    meaning = "partial: some actions or runs failed or were skipped, the rest was done"


class DamagedError(CkptctlError):
    """Verification found a damaged or incomplete checkpoint."""

    code = 6
    kind = "damaged"
    meaning = "verification found a damaged or incomplete checkpoint"


class UnreadableError(CkptctlError):
    """A location cannot be read or reached; nothing was deleted."""

    code = 7
    kind = "unreadable"
    meaning = "a location cannot be read or reached; nothing was deleted"


class NotFoundError(CkptctlError):
    """A selector or name matches nothing."""

    code = 8
    kind = "not-found"
    meaning = "a selector or name matches nothing"


class Interrupted(CkptctlError):  # noqa: N818 - a signal is no error of ours
    """A signal arrived; its number is in `signal`."""

    code = 130
    kind = "interrupted"
    meaning = (
        "interrupted by SIGINT (130) or SIGTERM (143): names are settled, bytes still to be "
        "removed are left to the next prune"
    )

    def __init__(self, signal: int) -> None:
        super().__init__("interrupted", "run the same command again to finish")
        self.signal = signal


class Arrived(BaseException):
    """A signal that came between any two lines; its number is in `signal`.

    No Exception, so that nothing on the way out takes it for a failure of what it was doing: what
    a command tells of it is Interrupted.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
