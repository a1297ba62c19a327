"""Where the configuration is: named, or found beside the location, at home, or for all users."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckptctl.trust import ancestors, trusted

NAME = "ckptctl.yaml"
"""What a configuration beside or above a run is called."""
SYSTEM = "/etc"


class Found(NamedTuple):
    """The configuration's file, if any, and what was passed over on the way to it.

    `searched` is false where the user named the file: then it counts whoever it belongs to.
    """

    file: str | None
    searched: bool = False
    warnings: tuple[str, ...] = ()


def find_config(
    location: str,
    environ: Mapping[str, str],
    uid: int,
    named: str | None = None,
    system: str = SYSTEM,
) -> Found:
    """Return the configuration for a location.

    In order: the one named (`--config`), `$CKPTCTL_CONFIG`, `ckptctl.yaml` in a local location or
    a parent of it, `$XDG_CONFIG_HOME/ckptctl/config.yaml`, `/etc/ckptctl/config.yaml`.  Of those
    searched for, one that others could have written (see `trust`) is passed over with a warning,
    and so are pipes, sockets and devices, which nobody means; a directory is a mistake to tell of.
    A location is judged by its own owner; each run in it is to be asked about by `not_for`.
    """
    named = named or environ.get("CKPTCTL_CONFIG") or None
    if named is not None:
        return Found(named)
    warnings: list[str] = []
    for file, down_to in _candidates(location, environ, system):
        if not os.path.lexists(file):
            continue
        owner = _owner(down_to) if down_to else uid
        reason = trusted(file, down_to, uid, uid if owner is None else owner)
        if reason is not None:
            warnings.append(f"{file} is passed over: {reason}; name it with --config to use it")
        elif not (os.path.isfile(file) or os.path.isdir(file)):
            warnings.append(f"{file} is passed over: it is no regular file")
        else:
            return Found(file, searched=True, warnings=tuple(warnings))
    return Found(None, searched=True, warnings=tuple(warnings))


def not_for(found: Found, run: str, uid: int) -> str | None:
    """Return why a configuration that counts for a location does not for a run in it, if so.

    One directory may hold runs of several owners: a user's policy is not to delete what is
    another's because root, whose job cleans up for all, found it above both.
    """
    run = run.removeprefix("file://")
    if found.file is None or not found.searched or "://" in run:
        return None
    run = os.path.realpath(run)
    top = os.path.realpath(os.path.dirname(os.path.abspath(found.file)))
    above = run == top or run.startswith(top.rstrip("/") + "/")
    owner = _owner(run)
    return trusted(found.file, run if above else None, uid, uid if owner is None else owner)


def _candidates(
    location: str, environ: Mapping[str, str], system: str
) -> Iterator[tuple[str, str | None]]:
    """Yield where a configuration could be, with the directory that it would be for."""
    local = location.removeprefix("file://")
    if "://" not in local:
        place = os.path.realpath(local)
        while not os.path.isdir(place):  # one checkpoint's file, or nothing at all
            place = os.path.dirname(place)
        for directory in (place, *ancestors(place)):
            yield os.path.join(directory, NAME), place
    home = environ.get("XDG_CONFIG_HOME") or ""
    if not os.path.isabs(home):  # the XDG specification: a relative one is to be ignored
        home = os.path.join(environ["HOME"], ".config") if environ.get("HOME") else ""
    if home:
        yield os.path.join(home, "ckptctl", "config.yaml"), None
    yield os.path.join(system, "ckptctl", "config.yaml"), None


def _owner(directory: str) -> int | None:
    try:
        return os.stat(directory).st_uid
    except OSError:
        return None
