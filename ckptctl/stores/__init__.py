"""Where bytes live: one file per kind of store.  `_base.py` says what a store is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptctl.stores._base import STORES, Opening, Store

MAX_KEYS = 10**6
"""Objects that are listed below a location, unless the caller allows more."""

_CHECK = "check the bucket's name and policy, the credentials and the endpoint"
_SAME = {"s3a": "s3", "gcs": "gs"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Access:
    """How stores other than local ones are opened."""

    options: Mapping[str, object] = field(default_factory=dict)  # under fsspec's names
    max_keys: int = MAX_KEYS
    _shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def open(self, location: str) -> Store:
        """Open a location so: what a bucket takes to be reached is found out once.  Raises OSError."""
        return open_store(location, self.options, max_keys=self.max_keys, shared=self._shared)


def split(location: str) -> tuple[str, str]:
    """Return the scheme of a location in lower case, "file" for a path, and what follows "://"."""
    found = _URL.fullmatch(location)
    return (found[1].lower(), found[2]) if found else ("file", location)


def scheme_of(location: str) -> str:
    """Return the scheme of a location in lower case; "file" for a path."""
    return split(location)[0]


def is_local(location: str) -> bool:
    """Whether a location is a path, or the URL of one."""
    return scheme_of(location) in {"file", "local"}


def settled(location: str) -> str:
    """Return the only spelling that a location has: links resolved, and schemes that mean the same."""
    scheme, path = split(location)
    if is_local(location):
        return os.path.realpath(path or ("/" if "://" in location else "."))
    return f"{_SAME.get(scheme, scheme)}://{path.rstrip('/')}"


def told(location: str, said: str, on_disk: str) -> tuple[str, str]:
    """Return what went wrong there, and what to check: on a disk what the caller says.

    The errors of other stores name that themselves, after their last ";".
    """
    if is_local(location):
        return said, on_disk
    what, joint, check = said.rpartition("; ")
    return (what, check) if joint else (said, _CHECK)


def open_store(
    location: str,
    options: Mapping[str, object] | None = None,
    *,
    max_keys: int = MAX_KEYS,
    shared: dict[str, Any] | None = None,
) -> Store:
    """Open a path or URL; `options` are storage options under fsspec's names.

    Raises OSError, with words for a person: a local directory is opened, of a bucket nothing is
    asked yet, so that a wrong name or key is known with the first listing or read.
    """
    found = _URL.fullmatch(location)
    if found is None:
        from ckptctl.stores.local import LocalStore  # noqa: PLC0415 - a path needs no other store

        return LocalStore(location, unnoticed=True)
    scheme, path = found[1].lower(), found[2]
    url = f"{scheme}://{path.rstrip('/')}"
    opening = Opening(url, path, options or {}, max_keys, {} if shared is None else shared)
    known = scheme if scheme in STORES.names() else "*"
    return STORES[known](opening)
