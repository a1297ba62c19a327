"""Open a file that root was told to write to, without following a link that a user has planted.

An epilog that root runs may be told to log in a user's directory, and the user can make the log, or a
directory on the way to it, a link to any file of root's.  The kernel's own guard
(`fs.protected_symlinks`, proc_sys_fs(5)) covers only sticky directories such as `/tmp`.
"""

from __future__ import annotations

import errno
import os
import stat

_HOPS = 40  # as many as the kernel follows: path_resolution(7)
_PLACE = getattr(os, "O_PATH", 0) | os.O_CLOEXEC  # O_PATH is Linux's alone


def open_unled(path: str, flags: int, mode: int) -> int:
    """Open a path as os.open does, for root along links of root's and the kernel's (/proc) alone.

    Raises OSError, which names the link that is another user's.
    """
    if os.geteuid() != 0 or not hasattr(os, "O_PATH") or not path:
        return os.open(path, flags, mode)
    walk = _Walk(path)
    try:
        return walk.opened(flags, mode)
    finally:
        os.close(walk.at)


class _Walk:
    """The way along a path, one name after the other: nothing can be swapped that was looked at."""

    def __init__(self, path: str) -> None:
        self.at = os.open("/" if path.startswith("/") else ".", _PLACE)
        self._path = path
        self._names = _split(path)
        self._hops = 0

    def opened(self, flags: int, mode: int) -> int:
        """Go along all names, and open the last.  Raises OSError."""
        while self._names:
            text = self._link()
            name = self._names.pop()
            # What has become a link since it was looked at is none to follow either.
            how = 0 if self._is_kernels() else os.O_NOFOLLOW
            if text is not None:
                self._names += _split(text)
                if text.startswith("/"):
                    self._move(os.open("/", _PLACE))
            elif self._names:
                self._move(os.open(name, _PLACE | how, dir_fd=self.at))
            else:
                return os.open(name, flags | how, mode, dir_fd=self.at)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)

    def _link(self) -> str | None:
        """Return the text of the next name, if that is a link.  PermissionError if it is a user's."""
        if self._is_kernels():
            return None
        try:
            fd = os.open(self._names[-1], _PLACE | os.O_NOFOLLOW, dir_fd=self.at)
        except FileNotFoundError:
            return None
        try:
            seen = os.fstat(fd)
            if not stat.S_ISLNK(seen.st_mode):
                return None
            if seen.st_uid != 0:
                text = f"{self._names[-1]} is a symbolic link of uid {seen.st_uid}, which root does not follow"
                raise PermissionError(errno.EPERM, text, self._path)
            self._hops += 1
            if self._hops > _HOPS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def _is_kernels(self) -> bool:
        """Whether the next name lies in /proc: its links lead where no text says, and nobody plants any."""
        try:
            return os.fstat(self.at).st_dev == os.stat("/proc").st_dev != os.stat("/").st_dev
        except OSError:
            return False

    def _move(self, fd: int) -> None:
        os.close(self.at)
        self.at = fd


def _split(path: str) -> list[str]:
    """Return the names of a path, the last first."""
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]
