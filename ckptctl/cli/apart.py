"""Tiers that are one place, which no spelling of their urls tells: each would prune the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ckptctl.cli.ground import Ground
from ckptctl.config import Config
from ckptctl.errors import UsageError
from ckptctl.locate import local_path
from ckptctl.policy import Tier
from ckptctl.stores import is_local
from ckptctl.survey import path_of

Identity = tuple[int, int]


def refuse_same_place(config: Config) -> None:
    """Refuse two tiers that are one directory, by a link, another spelling or a mount.  UsageError."""
    seen: dict[Identity, Tier] = {}
    for tier in config.tiers:
        identity = _identity(local_path(tier.url)) if is_local(tier.url) else None
        if identity is None:
            continue
        first = seen.setdefault(identity, tier)
        if first is not tier:
            raise UsageError(
                f"{config.file}: the tiers {first.name} and {tier.name} are the same directory:"
                f" {first.url}, {tier.url}; nothing was changed",
                "each tier needs a place of its own; check links and mounts",
            )


def refuse_within_runs(config: Config, grounds: Sequence[Ground]) -> None:
    """Refuse a tier that is a run of one that it has to do with, or lies in such a run.  UsageError.

    The innermost tier counts, so its rules would delete what those of the other one keep there.
    """
    tiers = [tier for tier in config.tiers if is_local(tier.url)]
    around = {tier.name: frozenset(_around(tier)) for tier in tiers}
    for ground in grounds:
        inner = [tier for tier in tiers if _coupled(config, ground.tier, tier)]
        for run in _runs(ground) if inner else ():
            identity = _identity(run)
            for tier in inner:
                if identity in around[tier.name]:
                    raise UsageError(
                        f"{config.file}: the tier {tier.name} ({tier.url}) is or lies in {run},"
                        f" a run of the tier {ground.tier.name}; nothing was changed",
                        "give it a directory of its own",
                    )


def refuse_same_run(here: str, there: str) -> None:
    """Refuse to copy a run to what is the same directory, by a link or a mount.  UsageError."""
    if not (is_local(here) and is_local(there)):
        return
    identity = _identity(local_path(here))
    if identity is not None and identity == _identity(local_path(there)):
        raise UsageError(
            f"{there}: is the same directory as {here}; nothing was copied",
            "each tier needs a directory of its own; check links and mounts",
        )


def _runs(ground: Ground) -> Iterator[str]:
    """Yield the directories of the runs that were found on a tier."""
    for path in ground.paths if is_local(ground.tier.url) else ():
        there = ground.there(path)
        if there is not None:
            yield path_of(*there)


def _coupled(config: Config, one: Tier, other: Tier) -> bool:
    """Whether one of two tiers is copied to the other, by any policy."""
    pairs = {(tier, draft.copy_to) for (_, tier), draft in config.overrides.items()}
    return (one.name, other.name) in pairs or (other.name, one.name) in pairs


def _around(tier: Tier) -> Iterator[Identity]:
    """Yield what a tier's directory is, and each directory above it."""
    path = os.path.realpath(local_path(tier.url))
    while True:
        identity = _identity(path)
        if identity is not None:
            yield identity
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


def _identity(path: str) -> Identity | None:
    """Return what a directory is on this host, however it is reached; None where that is not known."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
