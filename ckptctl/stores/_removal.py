"""Remove names and trees by descriptors: no link is followed, and no mount is crossed."""

from __future__ import annotations

import errno
import os
import re

from ckptctl.patterns import later
from ckptctl.stores._base import Removed, Stop

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ESCAPED = later(rb"\\([0-7]{3})")


def mount_of(fd: int) -> bytes:
    """Return what tells the mount of an open directory from others; a bind mount has its own.

    The device number would not show a bind mount of the same file system.
    """
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            return next(line for line in file if line.startswith(b"mnt_id:"))
    except (OSError, StopIteration):
        return b"%d" % os.fstat(fd).st_dev  # without /proc


def mount_points() -> list[str]:
    """Return where file systems are mounted, as full paths; empty where the system does not say."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            points = [line.split(b" ")[4] for line in file]
    except (OSError, IndexError):
        return []
    return [os.fsdecode(_ESCAPED.sub(_unescaped, point)) for point in points]


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])


def remove_name(folder: int, name: str, path: str) -> Removed:
    """Remove one name that is no directory, and count what its last link frees."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return Removed()
    except OSError as error:
        return Removed(0, (f"{path}: {error.strerror}",))
    return Removed(found.st_blocks * 512 if found.st_nlink == 1 else 0)


def remove_folder(folder: int, name: str, path: str, stop: Stop) -> Removed:
    """Remove a directory by descriptors: one that is swapped for a link meanwhile is not followed."""
    try:
        fd = os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            return remove_name(folder, name, path)
        return (
            Removed() if error.errno == errno.ENOENT else Removed(0, (f"{path}: {error.strerror}",))
        )
    removed = Removed()
    try:
        with os.scandir(fd) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        # Of an empty one the kernel tells, when it is removed.
        if names and mount_of(fd) != mount_of(folder):
            return Removed(
                0, (f"{path}: another file system is mounted there, so it was left alone",)
            )
        for child, is_folder in names:
            if stop():
                return removed.plus(Removed(0, (f"{path}: left for later",)))
            below = f"{path}/{child}"
            removed = removed.plus(
                remove_folder(fd, child, below, stop)
                if is_folder
                else remove_name(fd, child, below)
            )
    except OSError as error:
        removed = removed.plus(Removed(0, (f"{path}: {error.strerror}",)))
    finally:
        os.close(fd)
    if not removed.left:
        try:
            os.rmdir(name, dir_fd=folder)
        except FileNotFoundError:
            pass  # another process was faster; it is gone, which is what was asked
        except OSError as error:
            removed = removed.plus(Removed(0, (f"{path}: {error.strerror}",)))
    return removed
