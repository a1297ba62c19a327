"""A directory of a mounted file system as what is read; see `local.py`."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import groupby

from ckptctl.expiry import Times
from ckptctl.listing import Entry, Folder
from ckptctl.pace import in_order
from ckptctl.reading import Blob, TooLargeError, VanishedError
from ckptctl.stores._base import STATE_NAME
from ckptctl.stores._file_times import times_of
from ckptctl.stores._walk import entry_of, walk

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNOTICED: int = getattr(os, "O_NOATIME", 0)  # of Linux alone
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _LocalBlob:
    """An open local file."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        return os.pread(self.fd, length, offset)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from `offset`; return how many bytes it got."""
        return os.preadv(self.fd, [buffer], offset)


class LocalReading:
    """A directory, held open, of which everything is read through descriptors that follow no link."""

    def __init__(
        self,
        root: str,
        fd: int | None = None,
        like: os.stat_result | None = None,
        *,
        unnoticed: bool = False,
    ) -> None:
        """Open the directory, or take one that is open.  Raises OSError where there is none.

        What is made in it gets the owner (as root) and the mode of `like`, else of itself.  Where
        it is read `unnoticed` files keep their access times, as far as they belong to the caller
        (O_NOATIME): looking at checkpoints is no use of them that a site's purge should see.
        """
        self.root = os.path.abspath(root)
        self.fd = os.open(self.root, os.O_DIRECTORY | os.O_CLOEXEC) if fd is None else fd
        self.like = like
        self.unnoticed = unnoticed
        # What goes on for weeks (`watch`) must not keep what nobody holds any more.
        self._closed = weakref.finalize(self, os.close, self.fd)

    def close(self) -> None:
        """Let go of the directory."""
        self._closed()

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return the directory and all below it; ckptctl's own records are left out."""
        return walk(self.fd, path, deep=deep, skip=frozenset({STATE_NAME}))

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file."""
        fd, size = self.opened(path)
        try:
            if size > limit:
                raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", path)
            content = os.pread(fd, size + 1, 0)
            while size < len(content) <= limit:  # it grew since it was opened
                part = os.pread(fd, 1 << 16, len(content))
                if not part:
                    break
                content += part
        finally:
            os.close(fd)
        if len(content) > limit:
            raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", path)
        return content

    @contextmanager
    def open(self, path: str) -> Iterator[Blob]:
        """Open a regular file for reading at places; anything else is an OSError."""
        fd, size = self.opened(path)
        try:
            yield _LocalBlob(fd, size)
        finally:
            os.close(fd)

    def opened(self, path: str) -> tuple[int, int]:
        """Open a regular file, following no link; return its descriptor and size."""
        with self.parent(path) as (folder, name), translated():
            fd = self._open(name, folder)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "no regular file", path)
        return fd, found.st_size

    def _open(self, name: str, folder: int) -> int:
        if self.unnoticed:
            try:
                return os.open(name, _FILE | _UNNOTICED, dir_fd=folder)
            except PermissionError as error:
                if error.errno != errno.EPERM:  # that of a file which may not be read at all
                    raise
                self.unnoticed = False  # who is not the owner may still read it
        return os.open(name, _FILE, dir_fd=folder)

    def times(self, paths: Iterable[str], *, birth: bool) -> Iterator[tuple[str, Times | None]]:
        """Yield each path with the times of the file, None where it is gone.

        With `birth` also when it was made, as far as the file system tells.  Raises OSError.
        """
        for _, some in groupby(paths, lambda path: path.rpartition("/")[0]):
            names = list(some)
            try:
                with self.parent(names[0]) as (folder, _):
                    times = in_order(partial(_times, folder=folder, birth=birth), names)
                yield from times
            except VanishedError:
                yield from ((path, None) for path in names)

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a regular file as it is now; None where there is none."""
        try:
            with self.parent(path) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, VanishedError):
            return None
        return entry_of(found) if stat.S_ISREG(found.st_mode) else None

    def link_time(self, path: str) -> int:
        """Return when a symbolic link was made, in ns; 0 where there is none."""
        try:
            with self.parent(path) as (folder, name):
                return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
        except (FileNotFoundError, VanishedError):
            return 0

    def parent(self, path: str) -> Above:
        """Open the directory that holds a path, step by step, following no link.

        Gives its descriptor and the last part of the path.  A part that is gone, or is a link
        or a file by now, is a VanishedError.
        """
        return Above(self.fd, path)

    def checksums(self, files: Mapping[str, Entry]) -> Mapping[str, Mapping[str, str]]:
        """Return nothing: a file system keeps none."""
        return {}

    def identity(self, path: str) -> tuple[int, int] | None:
        """Return (device, inode) of whatever has this name now; None where nothing has."""
        try:
            with self.parent(path) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, VanishedError):
            return None
        return found.st_dev, found.st_ino


class Above:
    """The directory that holds a path, open within a block: no generator, for there are so many."""

    __slots__ = ("_fd", "_path", "_root")

    def __init__(self, root: int, path: str) -> None:
        """`root` is the descriptor that the path is below."""
        self._root = self._fd = root
        self._path = path

    def __enter__(self) -> tuple[int, str]:
        """Open it; see `LocalReading.parent`."""
        *parts, name = self._path.split("/")
        if any(part in {"", ".", ".."} for part in (*parts, name)):
            raise OSError(errno.EINVAL, "no path below its run", self._path)
        try:
            for part in parts:
                below = os.open(part, DIRECTORY, dir_fd=self._fd)
                self._close()
                self._fd = below
        except OSError as error:
            self._close()
            _refuse_vanished(error)
            raise
        return self._fd, name

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._close()

    def _close(self) -> None:
        if self._fd != self._root:
            os.close(self._fd)
            self._fd = self._root


def _times(path: str, folder: int, *, birth: bool) -> tuple[str, Times | None]:
    try:
        return path, times_of(path.rpartition("/")[2], folder, birth=birth)
    except FileNotFoundError:
        return path, None


@contextmanager
def translated() -> Iterator[None]:
    """Turn "no such file" and "a link or a file by now" into VanishedError."""
    try:
        yield
    except OSError as error:
        _refuse_vanished(error)
        raise


def _refuse_vanished(error: OSError) -> None:
    gone = error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
    if gone and not isinstance(error, VanishedError):
        raise VanishedError(error.errno, error.strerror or "gone", error.filename) from error
