"""A run in memory, as a bucket or a disk would list it, for tests that read many of them."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.group import Found, look
from ckptctl.known import known_formats
from ckptctl.listing import Entry, Folder
from ckptctl.model import NS, Run
from ckptctl.reading import Blob, TooLargeError, VanishedError

KNOWN = known_formats()
BEGAN = 1_760_000_000 * NS
NOW = BEGAN + 10**6 * NS  # long after anything here settled


class _Bytes:
    """An opened file."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def readinto(self, offset: int, buffer: memoryview) -> int:
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Files:
    """Reads files from a mapping."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def read(self, path: str, limit: int) -> bytes:
        if path not in self.files:
            raise VanishedError(errno.ENOENT, "is not there", path)
        if len(self.files[path]) > limit:
            raise TooLargeError(errno.EFBIG, "too large", path)
        return self.files[path]

    @contextmanager
    def open(self, path: str) -> Iterator[Blob]:
        yield _Bytes(self.read(path, 2**40))


def folder_of(
    files: Mapping[str, bytes],
    links: Mapping[str, str] | None = None,
    *,
    bucket: bool,
    times: Mapping[str, int] | None = None,
) -> Folder:
    """Return the listing of files that were written one second after another, in this order.

    `times` has those that were written at another second.
    """
    top = Folder("")
    for number, (path, content) in enumerate(files.items()):
        second = (times or {}).get(path, number)
        entry = Entry(len(content), BEGAN + second * NS, etag=f"{hash(content):x}")
        if not bucket:
            entry = entry._replace(etag="", inode=number + 1, device=1)
        top = _with(top, path, entry)
    for path, text in (links or {}).items():
        top = _with(top, path, text)
    return top


def _with(folder: Folder, path: str, what: Entry | str) -> Folder:
    name, joint, rest = path.partition("/")
    if joint:
        inner = folder.folders.get(name) or Folder(f"{folder.path}/{name}".lstrip("/"))
        return replace(folder, folders={**folder.folders, name: _with(inner, rest, what)})
    if isinstance(what, str):
        return replace(folder, links={**folder.links, name: what})
    return replace(folder, files={**folder.files, name: what})


def read(folder: Folder, files: Mapping[str, bytes], location: str) -> tuple[Found, Run]:
    """Read a run from a listing as the program does, with no records of it."""
    reader = Files(files)
    found = look(folder, reader, KNOWN, location.rpartition("/")[2])
    beside = Beside(roots=(location,))
    return found, annotate(found, "run", location, reader, beside, Context(now_ns=NOW))
