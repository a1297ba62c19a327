"""How bytes come into a directory of a mounted file system and out of it; see `_moving.py`."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator

from ckptctl.boot import boot_id
from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores._local_reading import DIRECTORY, LocalReading
from ckptctl.stores._moving import Giving, Unfinished
from ckptctl.stores._removal import remove_name
from ckptctl.stores._walk import entry_of

_BLOCK = 2**20
"""Bytes that are read at once: what is hashed and written while it is still in the processor's cache."""

_FICLONE = 0x40049409
"""Asks the kernel to let two files share their blocks (ioctl_ficlonerange(2)): XFS, Btrfs."""

_RENAME_EXCHANGE = 2  # of renameat2(2)
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})

_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalIncoming:
    """A file that is being written under its own name: in a place that nobody else looks at."""

    proven = False  # the kernel does not tell what it really holds: it is read back

    def __init__(self, store: LocalMoving, path: str, size: int, token: str) -> None:
        """Open the file, or go on with the one whose inode the token tells.

        It was not synced: after another boot, or on another machine, it may have its size and not
        its bytes, and is begun anew.
        """
        self._store, self._path, self._size = store, path, size
        try:
            self._fd = self._opened()
        except VanishedError:
            store.make_folder(path.rpartition("/")[0])
            self._fd = self._opened()
        try:
            store.as_owner(self._fd, 0o666)
            found = os.fstat(self._fd)
            boot = boot_id()
            self.token = f"{found.st_ino}@{boot}"
            goes_on = boot and token == self.token and found.st_nlink == 1 and found.st_size <= size
            self.offset = found.st_size if goes_on else 0
            if not goes_on:
                os.ftruncate(self._fd, 0)
        except OSError:
            os.close(self._fd)
            raise

    def _opened(self) -> int:
        with self._store.parent(self._path) as (folder, name):
            return os.open(name, _WRITE, 0o600, dir_fd=folder)

    def write(self, block: memoryview) -> None:
        """Add the next bytes."""
        while block:
            count = os.pwrite(self._fd, block, self.offset)
            self.offset += count
            block = block[count:]

    def land(self) -> None:
        """Do nothing: it was written already."""

    def finish(self) -> Entry:
        """Make it durable.  OSError where it has not the size that was announced."""
        try:
            found = os.fstat(self._fd)
            if found.st_size != self._size:
                raise OSError(
                    errno.EIO, f"has {found.st_size} bytes rather than {self._size}", self._path
                )
            os.fsync(self._fd)
            return entry_of(os.fstat(self._fd))
        finally:
            self.leave()

    def leave(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._fd

    def abandon(self) -> None:
        """Remove it."""
        self.leave()
        with self._store.parent(self._path) as (folder, name):
            remove_name(folder, name, self._path)


class LocalMoving(LocalReading):
    """A directory into which files are written that appear elsewhere later, by a rename."""

    def incoming(self, path: str, size: int, token: str = "") -> LocalIncoming:
        """Begin a file, or go on with that of a token; its directories are made."""
        return LocalIncoming(self, path, size, token)

    def blocks(self, path: str, entry: Entry, offset: int = 0) -> Iterator[memoryview]:
        """Yield the bytes of a file.  VanishedError where it is another, or becomes one meanwhile."""
        fd, _ = self.opened(path)
        try:
            _refuse_other(fd, entry, path)
            buffer = memoryview(bytearray(min(_BLOCK, entry.size) or 1))
            while count := os.preadv(fd, [buffer], offset):
                yield buffer[:count]
                offset += count
            _refuse_other(fd, entry, path)
            if offset != entry.size:
                raise VanishedError(errno.ESTALE, "it is cut short by now", path)
        finally:
            os.close(fd)

    def copied(self, path: str, entry: Entry, source: Giving, target: str) -> Entry | None:
        """Let both share their blocks, where the file system can; None where it cannot."""
        if not isinstance(source, LocalReading):
            return None
        fd, _ = source.opened(path)
        try:
            _refuse_other(fd, entry, path)
            made = LocalIncoming(self, target, entry.size, "")
            try:
                fcntl.ioctl(made.fileno(), _FICLONE, fd)
            except OSError:
                made.abandon()
                return None
            return made.finish()
        finally:
            os.close(fd)

    def unfinished(self) -> Iterable[Unfinished]:
        """Yield nothing: what is unfinished is a file in a staging directory of ours."""
        return ()

    def drop(self, upload: Unfinished) -> None:
        """Do nothing, for the same reason."""

    def make_link(self, path: str, text: str) -> None:
        """Make a symbolic link where nothing is.  FileExistsError."""
        with self.parent(path) as (folder, name):
            os.symlink(text, name, dir_fd=folder)

    def make_twin(self, path: str, first: str) -> None:
        """Give a file a second name (a hard link), where nothing is.  FileExistsError."""
        with self.parent(first) as (source, old), self.parent(path) as (folder, new):
            os.link(old, new, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def set_time(self, path: str, mtime_ns: int) -> Entry:
        """Set when a file, directory or link was last written; return its entry."""
        with self.parent(path) as (folder, name):
            # Read last is left as it is, at this moment: an old time there, and a purge by it
            # would take a copy on the day it was made.
            read_ns = os.stat(name, dir_fd=folder, follow_symlinks=False).st_atime_ns
            os.utime(name, ns=(read_ns, mtime_ns), dir_fd=folder, follow_symlinks=False)
            return entry_of(os.stat(name, dir_fd=folder, follow_symlinks=False))

    def exchange(self, path: str, other: LocalMoving, target: str) -> None:
        """Let a name and another one, which both exist, change places; in one step where that can be.

        Where it cannot, a file takes the other's place in one step, and a directory in two.
        """
        with self.parent(path) as (source, name), other.parent(target) as (folder, new):
            if _exchanged(source, name, folder, new):
                return
            if not stat.S_ISDIR(os.stat(new, dir_fd=folder, follow_symlinks=False).st_mode):
                os.rename(name, new, src_dir_fd=source, dst_dir_fd=folder)
                return
            aside = f"{name}.old"
            os.rename(new, aside, src_dir_fd=folder, dst_dir_fd=source)
            os.rename(name, new, src_dir_fd=source, dst_dir_fd=folder)

    def rename_over(self, path: str, other: LocalMoving, target: str) -> None:
        """Give a file another name in one step, over a file that has it."""
        with self.parent(path) as (source, name), other.parent(target) as (folder, new):
            os.rename(name, new, src_dir_fd=source, dst_dir_fd=folder)
            os.fsync(folder)

    def sync_folder(self, path: str) -> None:
        """Make the names in a directory ("" for this one) durable."""
        if not path:
            os.fsync(self.fd)
            return
        with self.parent(path) as (folder, name):
            fd = os.open(name, DIRECTORY, dir_fd=folder)
        try:
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
                fd = os.open(name, DIRECTORY, dir_fd=folder)
                try:
                    self.as_owner(fd, 0o2777)
                finally:
                    os.close(fd)

    def as_owner(self, fd: int, bits: int) -> None:
        """Give what was just made the mode of this store's directory and, as root, its owner.

        Its owner can always use it; others than owner and group never get to write.
        """
        model = self.like or os.fstat(self.fd)
        if os.geteuid() == 0:
            os.fchown(fd, model.st_uid, model.st_gid)
        os.fchmod(fd, model.st_mode & bits & 0o2775 | bits & 0o700)


def _exchanged(source: int, name: str, folder: int, new: str) -> bool:
    """Let two names change places by one call of the kernel; False where it does not know it there."""
    import ctypes  # noqa: PLC0415 - few need it

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    failed = call(source, os.fsencode(name), folder, os.fsencode(new), _RENAME_EXCHANGE)
    if failed and (number := ctypes.get_errno()) not in _UNKNOWN:
        raise OSError(number, os.strerror(number), new)
    return not failed


def _refuse_other(fd: int, entry: Entry, path: str) -> None:
    """Refuse an open file that is not the one that was listed.  VanishedError."""
    now = entry_of(os.fstat(fd))
    if now._replace(links=entry.links, allocated=entry.allocated) != entry:
        raise VanishedError(errno.ESTALE, "it was saved anew meanwhile", path)
