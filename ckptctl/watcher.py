"""File events below directories, by inotify(7), and which file systems give them.

A machine sees only its own changes by inotify: what another node writes to NFS or Lustre gives no
event, so that such places have to be looked at now and then all the same.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

_CREATE, _CLOSE_WRITE, _MOVED_TO = 0x100, 0x8, 0x80
_ISDIR, _IGNORED, _OVERFLOW = 0x40000000, 0x8000, 0x4000
_ONLYDIR, _DONT_FOLLOW = 0x01000000, 0x02000000
_MASK = _CREATE | _CLOSE_WRITE | _MOVED_TO | _ONLYDIR | _DONT_FOLLOW
_HEAD = struct.Struct("iIII")
_MOST = 4096
"""Directories that are watched at most; the kernel allows a user 8,192 on small machines."""
_OURS = ".ckptctl"
_TURN = 1.0
"""Seconds of one wait: Python handles a signal that comes just before a wait only after it."""
_LOCAL = frozenset({
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs",
    "reiserfs", "tmpfs", "xfs", "zfs",
})  # fmt: skip
"""File systems that one machine alone writes to; any other is taken for a network's."""


class Watcher:
    """Watches directories, with those that appear in them, for files that come or are finished."""

    def __init__(self) -> None:
        """Make one; where the kernel has no inotify it watches nothing."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError:  # another system than Linux
            self._fd = -1
        self._paths: dict[int, str] = {}
        self._short = False  # of watches

    def watch(self, root: str) -> bool:
        """Watch a directory and all below it; return whether everything there gives events."""
        return self._fd >= 0 and self._add(root) and not self._short and is_single(root)

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; return whether anything has come or was finished meanwhile.

        A signal handler that raises ends it.
        """
        watched = [] if self._fd < 0 else [self._fd]
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if select.select(watched, [], [], max(0.0, min(left, _TURN)))[0]:
                return self._heard()
            if left <= _TURN:
                return False

    def close(self) -> None:
        """Watch no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _add(self, path: str, *, anew: bool = False) -> bool:
        """Watch a directory and all below it; False where it cannot be, or is gone."""
        number = -1
        if len(self._paths) < _MOST:
            number = int(self._libc.inotify_add_watch(self._fd, os.fsencode(path), _MASK))
        if number < 0:
            self._short |= len(self._paths) >= _MOST or ctypes.get_errno() == errno.ENOSPC
            return False
        known = number in self._paths
        self._paths[number] = path
        if anew or not known:
            with suppress(OSError):  # it may be gone by now: its own directory tells
                for below in _folders(path):
                    self._add(below, anew=anew)
        return True

    def _heard(self) -> bool:
        """Read what the kernel tells, watch what is new; return whether any of it matters."""
        matters = False
        with suppress(BlockingIOError):
            while data := os.read(self._fd, 1 << 16):
                for number, mask, name in _events(data):
                    if mask & _IGNORED:  # the directory is gone, and its watch with it
                        self._paths.pop(number, None)
                        continue
                    if mask & _OVERFLOW:
                        self._paths.clear()  # all are gone through again
                        matters = True
                        continue
                    if name == _OURS or number not in self._paths:
                        continue
                    matters = True
                    if mask & _ISDIR:
                        self._add(os.path.join(self._paths[number], name), anew=True)
        return matters


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the number of the watch, the mask and the name of each event."""
    at = 0
    while at < len(data):
        number, mask, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield number, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
        at += length


def _folders(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [e.path for e in entries if e.is_dir(follow_symlinks=False) and e.name != _OURS]


def is_single(path: str, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether a path is on a file system that no other machine writes to."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                fields = before.split(" ")
                if len(fields) < 5 or not after:  # noqa: PLR2004 - proc(5): the fifth is the mount point
                    continue
                point = _unescaped(fields[4])
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, after.split(" ", 1)[0]
    except OSError:
        return False
    return kind in _LOCAL


def _unescaped(point: str) -> str:
    r"""Return a mount point as it is: a space is written `\040`."""
    for code in (" ", "\t", "\n", "\\"):
        point = point.replace(f"\\{ord(code):03o}", code)
    return point
