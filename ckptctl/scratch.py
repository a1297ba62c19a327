"""The times of files where a site purges: asked anew each time, by who needs to know.

A listing has no access and birth times: they would cost every `list`, and change while nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from ckptctl.expiry import Expiry, PurgeBy, SitePurge, Times, expiry_of
from ckptctl.listing import Entry
from ckptctl.stores.local import LocalStore


def times_in(
    store: LocalStore, files: Mapping[str, Entry], links: Iterable[str], purge: SitePurge
) -> Iterable[tuple[str, Times | None]]:
    """Return the times of files and links that were listed, as far as the purge goes by them.

    A purge takes a symbolic link by the link's own times.  Raises OSError.
    """
    if purge.by is not PurgeBy.MTIME:
        return store.times(chain(files, links), birth=purge.needs_birth)
    # Which the listing has, of files.
    known = ((path, Times(e.mtime_ns, e.mtime_ns, e.mtime_ns)) for path, e in files.items())
    return chain(known, store.times(links, birth=False))


def expiry_in(
    store: LocalStore,
    files: Mapping[str, Entry],
    links: Iterable[str],
    purge: SitePurge,
    now_ns: int,
) -> Expiry | None:
    """Return when the first of some files and links that were listed goes; None without any.  OSError."""
    return expiry_of(times_in(store, files, links, purge), purge, now_ns)
