"""Find the manifests of a run in its state directories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from ckptctl.manifest import FOLDER, LIMIT, Manifest, ManifestError, parse
from ckptctl.reading import VanishedError
from ckptctl.records import file_name
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

Open = Callable[[str], Store]
Manifests = Callable[[str], Manifest | None]
"""Gives a manifest by a checkpoint's path within the run.  Raises ManifestError, OSError."""

_KEPT = 50_000
"""Files of manifests that are kept in memory: some 25 MB."""


def manifests_in(
    places: Sequence[str], opened: Open = LocalStore
) -> Callable[[str], Manifest | None]:
    """Return what gives a checkpoint's manifest by its path within the run; the first place counts.

    The places are listed here, once, and a manifest is read when it is asked for: that raises
    ManifestError where it cannot be understood, OSError where it cannot be read.
    """
    there = {name: place for place in reversed(places) for name in _names(place, opened)}

    def manifest(path: str) -> Manifest | None:
        if not there or (place := there.get(file_name(path))) is None:
            return None
        return read_manifest(place, path, opened)

    return manifest


def remembered(manifests: Manifests) -> Manifests:
    """Return what gives the same manifests, as they were when each was first asked for.

    Of very many files they are read anew; what cannot be read is asked for again.
    """
    known: dict[str, Manifest | None] = {}
    room = _KEPT

    def manifest(path: str) -> Manifest | None:
        nonlocal room
        if path in known:
            return known[path]
        found = manifests(path)
        needed = 1 + (len(found.files) if found else 0)
        if needed <= room:
            room -= needed
            known[path] = found
        return found

    return manifest


def read_manifest(place: str, path: str, opened: Open = LocalStore) -> Manifest | None:
    """Return the manifest of one checkpoint in one state directory, if it is there."""
    name = f"{FOLDER}/{file_name(path)}"
    try:
        with closing(opened(place)) as store:
            found = parse(store.read(name, LIMIT))
    except VanishedError:
        return None
    except ManifestError as error:
        raise ManifestError(f"{place}/{name} {error}") from error
    if found.path != path:
        raise ManifestError(f"{place}/{name} is of {found.path}")
    return found


def _names(place: str, opened: Open) -> list[str]:
    try:
        with closing(opened(place)) as store:
            return list(store.listing(FOLDER, deep=False).files)
    except FileNotFoundError:
        return []
