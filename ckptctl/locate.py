"""Open a location, and see whether it is a run, a directory of runs, or (inside) a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ckptctl import names
from ckptctl.errors import UnreadableError, UsageError
from ckptctl.group import look
from ckptctl.known import Formats
from ckptctl.listing import Folder
from ckptctl.patterns import later
from ckptctl.secrecy import holds_secret
from ckptctl.stores import Access, is_local, scheme_of, split, told
from ckptctl.stores._base import MistakenError, Store, TooManyKeysError
from ckptctl.stores.local import LocalStore

_NUMBERED = later(r"(?:.*_)?[0-9]+")
_LEVELS = 6  # how far up a checkpoint that contains the location is looked for


@dataclass(frozen=True, slots=True)
class Inside:
    """The checkpoint that a location is, or lies in."""

    run: str  # full path of its run
    member: str  # its path within the run
    exact: bool  # the location is the checkpoint itself


def usable(location: str, state_dir: str | None) -> str:
    """Return a location, if its URL and --state-dir are ones that may be used.

    UsageError for a URL that holds a secret, which would get into each output, record and log; and
    for --state-dir in a bucket for a run that is not, or the other way round: no lock on a disk
    keeps other hosts away from a bucket.
    """
    if holds_secret(location):
        raise UsageError(
            f"{scheme_of(location)}://: the location holds a password or a signature; nothing was touched",
            "give secrets by the environment, or by --storage-option KEY=VALUE",
        )
    if state_dir is not None and is_local(location) != is_local(state_dir):
        raise UsageError(
            "--state-dir: for a run in a bucket it is a URL, for one on a disk a path; nothing was touched",
            "without it the records of a run lie beside it, in .ckptctl/",
        )
    if state_dir is not None and holds_secret(state_dir):
        raise UsageError("--state-dir: it holds a password or a signature; nothing was touched")
    return location


def local_path(location: str) -> str:
    """Return the local path of a location.  UsageError for stores that are not local."""
    if "://" not in location:
        return location
    scheme, path = split(location)
    if is_local(location):
        return path or "/"
    raise UsageError(
        f"{scheme}://: is no path of this host, which is needed here; nothing was changed",
        "give a local path",
    )


def open_location(location: str, access: Access | None = None) -> Store:
    """Open a location; one that is not local only where it is said how (`access`).

    UnreadableError where it is missing or may not be read; UsageError for a store that cannot be,
    and for an address or option that makes no sense.
    """
    if access is not None and not is_local(location):
        try:
            return access.open(location)
        except OSError as error:
            said, check = told(location, error.strerror or str(error), "")
            kind = UsageError if isinstance(error, MistakenError) else UnreadableError
            raise kind(f"{location}: {said}; nothing was changed", check) from error
    return open_local(location)


def open_local(location: str) -> LocalStore:
    """Open a local directory.  UnreadableError where it is missing or may not be read."""
    path = local_path(location)
    try:
        store = LocalStore(path, unnoticed=True)
    except FileNotFoundError:
        raise UnreadableError(
            f"{location}: does not exist; nothing was changed", "check the path and the mount"
        ) from None
    except OSError as error:
        raise UnreadableError(
            f"{location}: cannot be read ({error.strerror}); nothing was changed",
            "check its permissions and the mount",
        ) from error
    return store


def list_location(store: Store) -> Folder:
    """Return the whole listing of an open location.  UnreadableError where there is none."""
    try:
        return store.listing()
    except OSError as error:
        raise unlisted(store.root, error) from error


def unlisted(root: str, error: OSError) -> UnreadableError:
    """Return the error of a location that cannot be listed."""
    said, check = told(root, error.strerror or str(error), "check its permissions and the mount")
    return UnreadableError(f"{root}: cannot be listed ({said}); nothing was changed", check)


def containing(location: str, formats: Formats) -> Inside | None:
    """Return the checkpoint that a local path is or lies in, if any.  Raises UsageError, OSError.

    Of several it is the outermost: what lies in a checkpoint is none itself.
    """
    path = os.path.abspath(local_path(location))
    if not os.path.isdir(path) and os.path.lexists(path):
        return _file(path, formats)
    at, outermost = path, None
    for _ in range(_LEVELS):
        parent, name = os.path.split(at)
        if not name:
            break
        outermost = _claimed(parent, os.path.relpath(path, parent), formats) or outermost
        at = parent
    return outermost


def containing_there(
    location: str, access: Access, formats: Formats, *, bare: bool
) -> Inside | None:
    """Return the checkpoint that a location in a bucket is or lies in, if any.

    It is asked only of what has the name of one, or is `bare`: an object, or a prefix in which no
    run was found; so no parent of a usual run is listed.  One that the caller may not list, or that
    holds too much, tells nothing.  Raises OSError.
    """
    at, outermost = location, None
    for _ in range(_LEVELS):
        parent, _, name = at.rpartition("/")
        if "://" not in parent:
            break
        if names.parse(name, file=False).numbered or (bare and at == location):
            inner = location.removeprefix(f"{parent}/")
            outermost = _claimed_there(access.open(parent), inner, formats) or outermost
        at = parent
    return outermost


def _claimed_there(store: Store, inner: str, formats: Formats) -> Inside | None:
    try:
        found = _claimed_in(store, store.root, inner, formats)
        return found or (None if "/" in inner else _beside(store, inner, formats))
    except (FileNotFoundError, PermissionError, TooManyKeysError):
        return None
    finally:
        store.close()


def _beside(store: Store, name: str, formats: Formats) -> Inside | None:
    """Return the checkpoint that a file of a directory is or belongs to."""
    top = store.listing(deep=False)
    if name not in top.files:
        return None
    found = look(top, store, formats, os.path.basename(store.root))
    for item in found.items:
        if name in item.claim.members:
            return Inside(store.root, item.claim.key_file, exact=True)
    return None


def _file(path: str, formats: Formats) -> Inside:
    """Return the checkpoint that a file is or belongs to.  UsageError where it is none."""
    parent, name = os.path.split(path)
    above = containing(parent, formats)
    if above is not None:
        return replace(above, exact=False)
    store = LocalStore(parent, unnoticed=True)
    try:
        found = _beside(store, name, formats)
    finally:
        store.close()
    if found is None:
        raise UsageError(
            f"{path}: is neither a directory nor a checkpoint", "name the run's directory"
        )
    return found


def _claimed(parent: str, inner: str, formats: Formats) -> Inside | None:
    """Return the checkpoint of a directory that a relative path is, or lies in, or holds part of."""
    try:
        store = LocalStore(parent, unnoticed=True)
    except OSError:
        return None
    try:
        return _claimed_in(store, parent, inner, formats)
    except OSError:
        return None
    finally:
        store.close()


def _claimed_in(store: Store, parent: str, inner: str, formats: Formats) -> Inside | None:
    name = inner.split("/", maxsplit=1)[0]
    top = store.listing(deep=False)
    begun = name.startswith("_")  # all do, and asking would import every format
    roots = next((kind.roots for kind in formats if name in kind.roots), ()) if begun else ()
    if name not in top.folders or not (roots or _plausible(name, top)):
        return None
    beside = {n: store.listing(n) for n in roots if n in top.folders and n != name}

    def taken(folder: Folder) -> Inside | None:
        seen = replace(top, folders={**beside, name: folder})
        found = look(seen, store, formats, os.path.basename(parent))
        return _inside(parent, inner, [item.claim.members for item in found.items])

    # A level or two shows most formats; only then is all below it read, which may be a lot.  In a
    # bucket that takes one listing, and a level one for each folder.
    numbered = names.parse(name, file=False).numbered
    if isinstance(store, LocalStore) and not numbered and not taken(_two_levels(store, name)):
        return None
    return taken(store.listing(name))


def _inside(parent: str, inner: str, claimed: Iterable[Sequence[str]]) -> Inside | None:
    """Return the checkpoint that a relative path is or lies in; else what it holds a part of."""
    part = None
    for members in claimed:
        for member in members:
            if f"{inner}/".startswith(f"{member}/"):
                return Inside(parent, members[0], exact=inner == member)
            if member.startswith(f"{inner}/"):
                part = Inside(parent, member, exact=False)
    return part


def _plausible(name: str, top: Folder) -> bool:
    """Whether a folder may be a checkpoint by its name, or because a tracker may name it."""
    return (
        names.parse(name, file=False).numbered
        or bool(_NUMBERED.fullmatch(name))
        or "=" in name
        or name.endswith((".ckpt", "-last"))
        or name == "release"
        or "latest" in top.files
    )


def _two_levels(store: LocalStore, name: str) -> Folder:
    first = store.listing(name, deep=False)
    below = {child: store.listing(f"{name}/{child}", deep=False) for child in first.folders}
    return replace(first, folders=below)
