"""What the stores that go through fsspec share."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ckptctl.listing import Entry
from ckptctl.model import NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 32
_MICROSECOND = timedelta(microseconds=1)


def quiet(*loggers: str) -> None:
    """Keep libraries from writing to stderr by themselves: what fails is told once, by us."""
    for name in loggers:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        logger.propagate = False


def entry_of(size: object, when: object, etag: object = "") -> Entry:
    """Return an entry from what a library says of an object.  ValueError where that is no sense."""
    number = int(str(size or 0))
    if number < 0:
        raise ValueError("no object has a negative size")
    return Entry(number, nanoseconds(when), allocated=number, etag=str(etag or "").strip('"'))


def nanoseconds(when: object) -> int:
    """Return a time in nanoseconds, however it is told; 0 where it is not."""
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND * 1000
    if isinstance(when, float):
        return round(when * 1_000_000) * 1000  # more than microseconds it cannot hold
    if isinstance(when, int):
        return when * NS
    return 0


def answers(
    fs: Any,  # noqa: ANN401 - fsspec has no types
    ask: Callable[[str], Awaitable[Any]],
    keys: Sequence[str],
) -> dict[str, Any]:
    """Return what a server answers of each key, many asked at once; none after some that fail."""
    from fsspec.asyn import sync  # noqa: PLC0415 - only who asks pays

    async def every(batch: Sequence[str]) -> list[Any]:
        import asyncio  # noqa: PLC0415 - the same

        return await asyncio.gather(*map(ask, batch), return_exceptions=True)

    found: dict[str, Any] = {}
    for first in range(0, len(keys), _AT_ONCE):
        batch = keys[first : first + _AT_ONCE]
        told = dict(zip(batch, sync(fs.loop, every, batch), strict=True))
        found |= {key: one for key, one in told.items() if not isinstance(one, BaseException)}
        failed = [one for one in told.values() if isinstance(one, BaseException)]
        if not all(isinstance(one, FileNotFoundError) for one in failed):
            break
    return found
