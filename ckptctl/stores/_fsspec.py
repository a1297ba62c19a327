"""What the stores that go through fsspec share."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from ckptctl.model import NS, Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def quiet(*loggers: str) -> None:
    """Keep libraries from writing to stderr by themselves: what fails is told once, by us."""
    for name in loggers:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        logger.propagate = False


def entry_of(size: object, when: object, etag: object = "") -> Entry:
    """Return an entry from what a library says of an object."""
    number = int(str(size or 0))
    return Entry(number, nanoseconds(when), allocated=number, etag=str(etag or "").strip('"'))


def nanoseconds(when: object) -> int:
    """Return a time in nanoseconds, however it is told; 0 where it is not."""
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND * 1000
    if isinstance(when, int | float):
        return int(when * NS)
    return 0
