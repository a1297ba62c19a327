"""Ask again where an answer broke off, or is not one that such a server gives.

The libraries repeat by themselves what a server refuses for the moment and what never arrived.  None
of them repeats a listing of which half arrived, and to some of them a login page in place of a
listing looks like one without objects: nothing may be decided on the strength of that.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

TRIES = 3
_FIRST_SECONDS = 0.1
_LOST = frozenset({errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EBUSY})

Got = TypeVar("Got")


class GarbledError(OSError):
    """An answer that is broken, or not that of such a server; what was asked may have been done."""


def garbled(doing: str, where: str, key: str = "") -> GarbledError:
    """Return the error that says so; `where` names bucket and server."""
    return GarbledError(
        errno.EPROTO,
        f"{doing} {where}: the answer is broken, or not that of such a server; check the endpoint, and any proxy or login page on the way there",
        key or None,
    )


def gone(where: str, key: str) -> OSError:
    """Return the error of an upload that is not there any more."""
    return OSError(
        errno.ESTALE,
        f"writing to {where}: the upload is gone, and made no object; somebody aborted it, or a lifecycle rule did; copy it again",
        key,
    )


def lost(error: OSError) -> bool:
    """Whether the network or the server failed, so that the same may succeed later."""
    return error.errno in _LOST or isinstance(error, GarbledError)


def _is_garbled(error: Exception) -> bool:
    return isinstance(error, GarbledError)


def again(attempt: Callable[[], Got], passes: Callable[[Exception], bool] = _is_garbled) -> Got:
    """Return what an attempt returns; try again where it failed by something that `passes`.

    It is to be one that may be made twice.  Waits in between, each time longer and never equally
    long.  Raises what the last attempt raises.
    """
    for tried in range(TRIES - 1):
        try:
            return attempt()
        except Exception as error:
            if not passes(error):
                raise
            wait(tried)
    return attempt()


def wait(tried: int) -> None:
    """Wait before the next attempt; `tried` have failed before this one."""
    time.sleep(_FIRST_SECONDS * 4**tried * random.uniform(1, 2))  # noqa: S311 - no secret
