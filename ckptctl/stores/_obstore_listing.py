"""Listings through obstore, which takes whatever is XML for a page.

One without keys, such as a login page or an error, is the end of the listing to it.  So nothing is
believed that was said only once: neither where a listing ends nor that it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ckptctl.listing import Entry
from ckptctl.stores._again import TRIES, GarbledError, garbled, wait
from ckptctl.stores._base import STATE_NAME
from ckptctl.stores._errors import translated
from ckptctl.stores._fsspec import nanoseconds
from ckptctl.stores._keys import BATCH, Page

Items = Sequence[Mapping[str, Any]]


def listed(
    store: Any,  # noqa: ANN401 - obstore's class differs between its versions
    where: str,
    prefix: str,
    head: Callable[[str], object],
) -> Iterator[Page]:
    """Yield all below a prefix, in pages; anew, with a word of that, where the listing breaks off.

    `head` looks at an object, which only such a server can answer.  Raises GarbledError,
    InvalidPathError where obstore cannot spell a key, OSError.
    """
    some = False
    for tried in range(TRIES):
        came = False
        try:
            for page in _proven(store, where, prefix, head):
                some = came = True
                yield page
            if came or not some:
                return
        except GarbledError:
            if tried == TRIES - 1:
                raise
        wait(tried)
        yield Page(afresh=True)
    raise garbled("listing", where)  # nothing is there at last, where something was a moment ago


def _proven(
    store: Any,  # noqa: ANN401 - the same
    where: str,
    prefix: str,
    head: Callable[[str], object],
) -> Iterator[Page]:
    """Yield all below a prefix; at the end it is asked again for what follows the last key but one.

    A server may keep its keys in any order; SeaweedFS's leaves out what lies below a key after
    which it is to begin.  Before an empty one is asked for again, the server is shown to be one.
    GarbledError where the listing goes on or ends otherwise than before.
    """
    known: list[str] | None = None  # the last ones so far
    while True:
        before = frozenset(known or ())
        last = known[-1] if known else ""
        offset = next(
            (key for key in reversed(known or ()) if not f"{last}/".startswith(f"{key}/")), None
        )
        awaited = {last} if last else set()
        found: list[str] = []
        lately: frozenset[str] = frozenset()
        for chunk in _chunks(store, where, prefix, offset):
            new = [item for item in chunk if item["path"] not in before]
            if new:
                yield _page(new, prefix)
            names = [item["path"] for item in chunk]
            if lately.issuperset(names):  # one page over and over: it would go on for ever
                raise garbled("listing", where)
            lately = frozenset(names)
            awaited.difference_update(names)
            found = [*found, *names][-BATCH:]
        if awaited:
            raise garbled("listing", where)
        if known is not None and before.issuperset(found):
            return
        if not found:
            head(prefix[:-1] or STATE_NAME)
        known = found


def _chunks(store: Any, where: str, prefix: str, offset: str | None) -> Iterator[Items]:  # noqa: ANN401 - the same
    import obstore  # noqa: PLC0415 - only who needs a bucket waits for it
    from obstore.exceptions import InvalidPathError  # noqa: PLC0415 - the same

    with translated("listing", where, passing=InvalidPathError):
        yield from obstore.list(store, prefix or None, offset=offset, chunk_size=BATCH)


def level(store: Any, where: str, prefix: str) -> Page:  # noqa: ANN401 - the same
    """Return what lies on one level, which cannot be asked for from some key on: so, twice.

    Raises as `listed` does.
    """
    import obstore  # noqa: PLC0415 - the same
    from obstore.exceptions import InvalidPathError  # noqa: PLC0415 - the same

    with translated("listing", where, passing=InvalidPathError):
        once, twice = (obstore.list_with_delimiter(store, prefix or None) for _ in range(2))
    names = [{item["path"] for item in found["objects"]} for found in (once, twice)]
    if names[0] != names[1] or set(once["common_prefixes"]) != set(twice["common_prefixes"]):
        raise garbled("listing", where)
    return _page(twice["objects"], prefix, twice["common_prefixes"])


def _page(found: Items, prefix: str, below: Sequence[str] = ()) -> Page:
    """Return a page; of an empty object nobody knows whether a "/" was cut off at its end."""
    objects = [(item["path"], entry_in(item)) for item in found]
    own = prefix[:-1]
    return Page(
        [(key, entry) for key, entry in objects if entry.size],
        below,
        [(key, entry) for key, entry in objects if not entry.size and key != own],
    )


def entry_in(meta: Mapping[str, Any]) -> Entry:
    """Return what obstore says of an object."""
    size = meta["size"]
    etag = (meta["e_tag"] or "").strip('"')
    return Entry(size, nanoseconds(meta["last_modified"]), allocated=size, etag=etag)
