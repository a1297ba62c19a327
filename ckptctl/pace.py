"""Do many small things, one after the other where they are fast, side by side where they are slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

THREADS = 32
_PROBES = 8
_SLOW_SECONDS = 0.0004  # spent waiting for one item: on a fast disk nearly all time is our own

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return `work` of every item, in their order; the first exception is raised.

    The first few are timed: what counts is the time spent waiting, not computing, since threads
    shorten only the former.
    """
    done: list[R] = []
    began, computing = time.perf_counter(), time.thread_time()
    for item in items[:_PROBES]:
        done.append(work(item))  # noqa: PERF401 - a comprehension would hide what is timed
    waited = (time.perf_counter() - began) - (time.thread_time() - computing)
    rest = items[_PROBES:]
    if len(rest) > _PROBES and waited > _SLOW_SECONDS * _PROBES:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

        with ThreadPoolExecutor(THREADS) as pool:
            done += pool.map(work, rest)
    else:
        done += map(work, rest)
    return done


def side_by_side(work: Callable[[T], R], items: Sequence[T], jobs: int) -> list[R]:
    """Return `work` of every item, in their order, of so many at once; the first exception is raised."""
    if len(items) < 2 or jobs < 2:  # noqa: PLR2004 - none beside it
        return list(map(work, items))
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(work, items))
