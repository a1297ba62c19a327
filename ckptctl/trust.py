"""Whether what a search found may be obeyed: only those who could do the same anyway may have put it there.

Section 10 of the contract: a configuration or state directory counts only if it, and each
directory from it down to the run, belongs to the caller, the run's owner or root, and others
cannot write to it.

*Others* are everyone but those three.  So the group may write only where it is the owner's private
group (its primary one, of the same name, with no other member), as `umask 002` of many
distributions has it, and no ACL gives more.  In a sticky directory (`/scratch`, `/tmp`) others can
add entries but neither remove nor rename those of their owner: what lies there counts, but a file
only under a single name, because a hard link to a file of the owner's could be put there by anyone.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator

_ACL = "system.posix_acl_access"


def private_group(uid: int, gid: int) -> bool:
    """Whether a group is the private one of a user: primary, of the same name, nobody else in it."""
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return (
        user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
    )


def trusted(
    path: str,
    down_to: str | None,
    uid: int,
    owner: int,
    private: Callable[[int, int], bool] = private_group,
) -> str | None:
    """Return why a file or directory that a search found may not be obeyed; None if it may.

    `down_to` is the run's directory, at or below the one that `path` lies in; None where the path
    lies elsewhere (`/etc`), then only the directory it lies in is looked at.  `uid` is the caller,
    `owner` the run's owner.  A symlink is judged by itself and by all that leads to its target.
    """
    allowed = {0, uid, owner}
    try:
        reason = _judge(os.path.abspath(path), allowed, private)
        on_the_way = list(_places(path, down_to))
        if os.path.islink(path):
            target = os.path.realpath(path)
            reason = reason or _judge(target, allowed, private)
            on_the_way += ancestors(target)
        for place in on_the_way:
            reason = reason or _judge(place, allowed, private, sticky=True)
    except OSError as error:
        return f"{error.filename or path} cannot be examined: {error.strerror}"
    return reason


def _places(path: str, down_to: str | None) -> Iterator[str]:
    """Yield the directories from the one that holds the path down to the run."""
    top = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    yield top
    if down_to is None:
        return
    run = os.path.realpath(down_to)
    for place in (run, *ancestors(run)):
        if place == top:
            return
        yield place


def ancestors(path: str) -> Iterator[str]:
    """Yield the directories above an absolute path, the nearest first."""
    while (above := os.path.dirname(path)) != path:
        path = above
        yield path


def _judge(
    path: str, allowed: set[int], private: Callable[[int, int], bool], *, sticky: bool = False
) -> str | None:
    """Return what is wrong with one file, link or directory.  Raises OSError.

    `sticky` says that a sticky directory will do: one on the way, all of whose entries that
    matter are judged themselves.
    """
    seen = os.lstat(path)
    if seen.st_uid not in allowed:
        return f"{path} belongs to uid {seen.st_uid}, neither you, the run's owner nor root"
    if stat.S_ISLNK(seen.st_mode):
        return None  # its mode says nothing; who may replace it, its directory's does
    if sticky and seen.st_mode & stat.S_ISVTX:
        return None
    if seen.st_mode & stat.S_IWOTH:
        return f"{path} is writable by everyone"
    if seen.st_mode & stat.S_IWGRP and (_has_acl(path) or not private(seen.st_uid, seen.st_gid)):
        return f"{path} is writable by group {seen.st_gid}"
    if not stat.S_ISDIR(seen.st_mode) and seen.st_nlink > 1 and _shared(os.path.dirname(path)):
        return f"{path} has several hard links in a directory that others can write to"
    return None


def _shared(directory: str) -> bool:
    """Whether others can add entries to a directory that was found sticky."""
    return bool(os.lstat(directory).st_mode & (stat.S_IWOTH | stat.S_IWGRP))


def _has_acl(path: str) -> bool:
    """Whether an access control list stands behind the group's bits."""
    listed = getattr(os, "listxattr", None)  # Linux only
    try:
        return listed is not None and _ACL in listed(path, follow_symlinks=False)
    except OSError:
        return False  # a file system without attributes has no such list
