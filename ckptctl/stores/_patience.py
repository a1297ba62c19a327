"""How long a server is waited for, and how often it is asked again.

A refused connection is given up after some 10 s, what a server refuses for the moment after 30 s at
most: who mistyped the endpoint should not wait.  Every library waits longer each time, and never
equally long; none heeds `Retry-After`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

CONNECT_SECONDS = 5
READ_SECONDS = 20
"""Of each piece: a stalled answer is noticed."""

WHOLE_SECONDS = 600
"""Of a whole request: a large part through a thin line takes long."""

PATIENCE: Mapping[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "read_timeout": READ_SECONDS,
    # Some 15 s at most; botocore's default mode has no jitter.
    "retries": {"mode": "standard", "total_max_attempts": 5},
}
"""What botocore is told, with which a server that is not there is known within 30 s."""

UNKNOWN_SECONDS = 15
LOST_SECONDS = 90
"""For how long a piece of a large file is sent anew: to whom never answered, and to whom did.

A network may be gone for a minute; what was sent until then is worth waiting for.
"""

_OBSTORE_ATTEMPTS = 9


def retries(attempts: int | None) -> dict[str, object]:
    """Return obstore's `RetryConfig`; `attempts` are those that the user wants at most."""
    return {
        "max_retries": (attempts or _OBSTORE_ATTEMPTS) - 1,
        "retry_timeout": timedelta(seconds=25),
        "backoff": {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=4),
            "base": 2,
        },
    }


def timeouts(config: Mapping[str, object]) -> dict[str, object]:
    """Return obstore's client options of that kind, from what the user says in botocore's words."""

    def seconds(name: str, usual: float) -> timedelta:
        return timedelta(seconds=float(str(config.get(name, usual))))

    return {
        "connect_timeout": seconds("connect_timeout", CONNECT_SECONDS),
        "read_timeout": seconds("read_timeout", READ_SECONDS),
        "timeout": timedelta(seconds=WHOLE_SECONDS),
    }
