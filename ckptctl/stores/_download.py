"""The bytes of one version of an object, from an offset on, however often the connection breaks."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores._again import GarbledError, lost, wait
from ckptctl.stores._keys import Keys
from ckptctl.stores._patience import LOST_SECONDS, UNKNOWN_SECONDS

_BLOCK = 8 * 2**20
"""What one request asks for where a library cannot stream."""

_YIELDED = 2**20
_LONGEST = 4


def downloaded(keys: Keys, key: str, entry: Entry, offset: int) -> Iterator[memoryview]:
    """Yield them.  VanishedError where it is another version by now, or ends early or late."""
    began = time.monotonic()
    tried = 0
    while offset < entry.size:
        try:
            for block in keys.stream(key, offset, entry):
                began, tried = time.monotonic(), 0
                offset += len(block)
                if offset > entry.size:
                    raise VanishedError(errno.ESTALE, "it is longer by now", key)
                yield block
            if offset < entry.size:
                raise GarbledError(errno.EPROTO, f"reading from {keys.where}: it ends early", key)
        except OSError as error:
            patience = LOST_SECONDS if offset else UNKNOWN_SECONDS
            if not lost(error) or time.monotonic() - began > patience:
                raise
            wait(min(tried, _LONGEST))
            tried += 1
    if offset != entry.size:
        raise VanishedError(errno.ESTALE, "it is cut short by now", key)


def by_parts(part: Callable[[int, int], bytes], offset: int, size: int) -> Iterator[memoryview]:
    """Yield bytes by ranged requests; the next is under way while one is used."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

    starts = iter(range(offset, size, _BLOCK))
    with ThreadPoolExecutor(1) as pool:

        def ask() -> Callable[[], bytes] | None:
            begin = next(starts, None)
            if begin is None:
                return None
            return pool.submit(part, begin, min(_BLOCK, size - begin)).result

        coming = ask()
        while coming is not None:
            content = memoryview(coming())
            coming = ask()
            for at in range(0, len(content), _YIELDED):
                yield content[at : at + _YIELDED]
