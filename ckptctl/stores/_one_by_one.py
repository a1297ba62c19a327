"""Deletions of one key each, for libraries whose batches do not tell what became of which key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckptctl.reading import VanishedError
from ckptctl.stores._errors import translated

_THREADS = 16


def why_left(remove: Callable[[], object], where: str, key: str) -> str:
    """Delete one key; return why it is still there, "" where it is gone, or was already."""
    try:
        with translated("deleting from", where, key):
            remove()
    except VanishedError:
        pass  # which is what was asked
    except OSError as error:
        return error.strerror or "it failed"
    return ""


def delete_each(remove: Callable[[str], object], where: str, keys: Sequence[str]) -> dict[str, str]:
    """Delete keys, several at once; return why those that are still there are."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

    with ThreadPoolExecutor(_THREADS) as pool:
        reasons = pool.map(lambda key: why_left(lambda: remove(key), where, key), keys)
        return {key: reason for key, reason in zip(keys, reasons, strict=True) if reason}
