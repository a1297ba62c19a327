"""The times of files where a site purges: asked anew each time, by who needs to know.

A listing has no access and birth times: they would cost every `list`, and change while nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptctl.expiry import Expiry, PurgeBy, SitePurge, Times, expiry_of
from ckptctl.listing import Entry
from ckptctl.stores.local import LocalStore


def times_in(
    store: LocalStore, files: Mapping[str, Entry], purge: SitePurge
) -> Iterable[tuple[str, Times | None]]:
    """Return the times of files that were listed, as far as the purge goes by them.  OSError."""
    if purge.by is PurgeBy.MTIME:  # which the listing has
        return ((path, Times(e.mtime_ns, e.mtime_ns, e.mtime_ns)) for path, e in files.items())
    return store.times(files, birth=purge.needs_birth)


def expiry_in(
    store: LocalStore, files: Mapping[str, Entry], purge: SitePurge, now_ns: int
) -> Expiry | None:
    """Return when the first of some files that were listed goes; None without any.  OSError."""
    return expiry_of(times_in(store, files, purge), purge, now_ns)
