"""Local paths and shared file systems.  Everything goes through descriptors that follow no link."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ckptctl.listing import Entry, Folder
from ckptctl.reading import Blob, TooLargeError, VanishedError
from ckptctl.stores._base import (
    STATE_NAME,
    Capabilities,
    KeepsNothing,
    Opening,
    Removed,
    Stop,
    Store,
    never,
    opener,
)
from ckptctl.stores._removal import remove_folder, remove_name
from ckptctl.stores._walk import entry_of, walk

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
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


class LocalStore(KeepsNothing):
    """A directory of a mounted file system, held open: it stays the same one if it is renamed."""

    def __init__(
        self, root: str, fd: int | None = None, like: os.stat_result | None = None
    ) -> None:
        """Open the directory, or take one that is open.  Raises OSError where there is none.

        What is made in it gets the owner (as root) and the mode of `like`, else of itself.
        """
        self.root = os.path.abspath(root)
        self.fd = os.open(self.root, os.O_DIRECTORY | os.O_CLOEXEC) if fd is None else fd
        self.like = like

    @property
    def able(self) -> Capabilities:
        """What a mounted file system can do."""
        return Capabilities(rename=True, links=True, append=True, folders=True, identity=True)

    def below(self, path: str) -> LocalStore:
        """Open a directory within this one, step by step, following no link.  Raises OSError."""
        with self.parent(path) as (folder, name), translated():
            fd = os.open(name, _DIRECTORY, dir_fd=folder)
        return LocalStore(os.path.join(self.root, path), fd, self.like)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.fd)

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return the directory and all below it; ckptctl's own records are left out."""
        return walk(self.fd, path, deep=deep, skip=frozenset({STATE_NAME}))

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file."""
        fd, size = self._file(path)
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
        fd, size = self._file(path)
        try:
            yield _LocalBlob(fd, size)
        finally:
            os.close(fd)

    def _file(self, path: str) -> tuple[int, int]:
        """Open a regular file, following no link; return its descriptor and size."""
        with self.parent(path) as (folder, name), translated():
            fd = os.open(name, _FILE, dir_fd=folder)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "no regular file", path)
        return fd, found.st_size

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a regular file as it is now; None where there is none."""
        try:
            with self.parent(path) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, VanishedError):
            return None
        return entry_of(found) if stat.S_ISREG(found.st_mode) else None

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory that holds a path, step by step, following no link.

        Yields its descriptor and the last part of the path.  A part that is gone, or is a link
        or a file by now, is a VanishedError.
        """
        *parts, name = path.split("/")
        if any(part in {"", ".", ".."} for part in (*parts, name)):
            raise OSError(errno.EINVAL, "no path below its run", path)
        fd = self.fd
        try:
            for part in parts:
                with translated():
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                if fd != self.fd:
                    os.close(fd)
                fd = below
            yield fd, name
        finally:
            if fd != self.fd:
                os.close(fd)

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

    def create(self, path: str, content: bytes) -> None:
        """Write a file that must not exist yet; it appears with all its content or not at all.

        Raises FileExistsError where it does.
        """
        suffix = _own_suffix()
        beside = f"{path}{suffix}"
        try:
            self._write(beside, content, os.O_CREAT | os.O_TRUNC)
            with self.parent(path) as (folder, name):
                new = f"{name}{suffix}"
                try:
                    os.link(new, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    self._write(path, content, os.O_CREAT | os.O_EXCL)
        finally:
            self.remove_file(beside)

    def replace(self, path: str, content: bytes, *, if_match: str = "") -> None:
        """Write a file whole or not at all, over another of its name; it is durable afterwards."""
        if if_match:
            raise OSError(errno.ENOTSUP, "files have no ETags", path)
        suffix = _own_suffix()
        beside = f"{path}{suffix}"
        try:
            self._write(beside, content, os.O_CREAT | os.O_TRUNC)
            with self.parent(path) as (folder, name):
                os.rename(f"{name}{suffix}", name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
        except OSError:
            self.remove_file(beside)
            raise

    def append(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Add to the end of a file, made where there is none; if `durable`, it is so afterwards."""
        self._write(path, content, os.O_CREAT | os.O_APPEND, durable=durable)

    def _write(self, path: str, content: bytes, how: int, *, durable: bool = True) -> None:
        with self.parent(path) as (folder, name):
            fd = os.open(
                name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | how, 0o644, dir_fd=folder
            )
            try:
                self._as_owner(fd, 0o666)
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(fd, rest) :]
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)

    def make_folder(self, path: str) -> None:
        """Make a directory and its parents; nothing where it is there already."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            with self.parent("/".join(parts[:count])) as (folder, name):
                try:
                    os.mkdir(name, 0o700, dir_fd=folder)
                except FileExistsError:
                    continue
                fd = os.open(name, _DIRECTORY, dir_fd=folder)
                try:
                    self._as_owner(fd, 0o2777)
                finally:
                    os.close(fd)

    def _as_owner(self, fd: int, bits: int) -> None:
        """Give what was just made the mode of this store's directory and, as root, its owner.

        Its owner can always use it; others than owner and group never get to write.
        """
        model = self.like or os.fstat(self.fd)
        if os.geteuid() == 0:
            os.fchown(fd, model.st_uid, model.st_gid)
        os.fchmod(fd, model.st_mode & bits & 0o2775 | bits & 0o700)

    def rename_to(self, path: str, other: Store, target: str) -> None:
        """Move one name into another local store by one rename, over nothing that is there."""
        assert isinstance(other, LocalStore)  # noqa: S101 - only local stores have atomic renames
        with self.parent(path) as (source, name), other.parent(target) as (folder, new):
            if other.identity(target) is not None:
                raise FileExistsError(errno.EEXIST, "already there", target)
            with translated():
                os.rename(name, new, src_dir_fd=source, dst_dir_fd=folder)

    def remove_file(self, path: str) -> Removed:
        """Remove one file or link; nothing where it is gone already."""
        try:
            with self.parent(path) as (folder, name):
                return remove_name(folder, name, path)
        except VanishedError:
            return Removed()

    def remove_files(self, files: Mapping[str, Entry], stop: Stop = never) -> Removed:
        """Remove many files, as far as they can be removed or until `stop()`."""
        removed = Removed()
        for path in files:
            if stop():
                return removed.plus(Removed(0, (f"{path}: left for later",)))
            removed = removed.plus(self.remove_file(path))
        return removed

    def remove_tree(self, path: str, stop: Stop = never) -> Removed:
        """Remove a directory with all below it, as far as it can be removed or until `stop()`."""
        try:
            with self.parent(path) as (folder, name):
                return remove_folder(folder, name, path, stop)
        except VanishedError:
            return Removed()


def _own_suffix() -> str:
    """Return what a file is called by while it is written: no other thread or process writes it."""
    return f".{os.getpid()}-{threading.get_native_id()}.new"


@contextmanager
def translated() -> Iterator[None]:
    """Turn "no such file" and "a link or a file by now" into VanishedError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP} and not isinstance(
            error, VanishedError
        ):
            raise VanishedError(error.errno, error.strerror or "gone", error.filename) from error
        raise


@opener("file", "local")
def open_local(opening: Opening) -> LocalStore:
    """Open a directory.  Raises OSError where there is none."""
    return LocalStore(opening.path or "/")
