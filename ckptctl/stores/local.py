"""Local paths and shared file systems.  Everything goes through descriptors that follow no link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores._base import (
    Capabilities,
    KeepsNothing,
    Opening,
    Removed,
    Stop,
    Store,
    never,
    opener,
)
from ckptctl.stores._local_moving import LocalMoving
from ckptctl.stores._local_reading import DIRECTORY, translated
from ckptctl.stores._removal import remove_folder, remove_name

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})


class LocalStore(LocalMoving, KeepsNothing):
    """A directory of a mounted file system, held open: it stays the same one if it is renamed."""

    @property
    def able(self) -> Capabilities:
        """What a mounted file system can do."""
        return Capabilities(rename=True, links=True, append=True, folders=True, identity=True)

    def below(self, path: str) -> LocalStore:
        """Open a directory within this one, step by step, following no link.  Raises OSError."""
        with self.parent(path) as (folder, name), translated():
            fd = os.open(name, DIRECTORY, dir_fd=folder)
        return LocalStore(os.path.join(self.root, path), fd, self.like, unnoticed=self.unnoticed)

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
                self.as_owner(fd, 0o666)
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(fd, rest) :]
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)

    def rename_to(self, path: str, other: Store, target: str) -> None:
        """Move one name into another local store by one rename, over nothing that is there."""
        assert isinstance(other, LocalStore)  # noqa: S101 - only local stores have atomic renames
        with self.parent(path) as (source, name), other.parent(target) as (folder, new):
            if other.identity(target) is not None:
                raise FileExistsError(errno.EEXIST, "already there", target)
            with translated():
                os.rename(name, new, src_dir_fd=source, dst_dir_fd=folder)

    def link_to(self, path: str, text: str, through: LocalStore) -> None:
        """Make a symlink in one step, over an older symlink but over nothing else.

        An older one is replaced by a rename from `through`, a directory of ours on the same file
        system: in the run's own directory no strange name appears.  FileExistsError where anything
        but a symlink has the name.
        """
        with self.parent(path) as (folder, name):
            try:
                os.symlink(text, name, dir_fd=folder)
            except FileExistsError:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISLNK(found.st_mode):
                    raise
                new = f"link{_own_suffix()}"
                os.symlink(text, new, dir_fd=through.fd)
                try:
                    os.rename(new, name, src_dir_fd=through.fd, dst_dir_fd=folder)
                except OSError:
                    through.remove_file(new)
                    raise
            if self.like is not None and os.geteuid() == 0:
                owner = self.like.st_uid, self.like.st_gid
                os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
            os.fsync(folder)

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
    """Return what a file is called by while it is written: no other thread or process writes it.

    On another node, or in another container, the same numbers may be another process.
    """
    return f".{os.getpid()}-{os.urandom(6).hex()}.new"


@opener("file", "local")
def open_local(opening: Opening) -> LocalStore:
    """Open a directory.  Raises OSError where there is none."""
    return LocalStore(opening.path or "/", unnoticed=True)
