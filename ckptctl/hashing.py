"""Read files whole and hash them: as fast as the disk, or as BLAKE3 on all cores.

A file is read in plain blocks rather than mapped: of a mapped one that a trainer cuts short, or
that the disk cannot give, the kernel kills the process.  While one block is hashed, the next is
read by another thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ckptctl.algorithms import hasher
from ckptctl.containers import Checksums
from ckptctl.listing import Entry
from ckptctl.manifest import ALGORITHM
from ckptctl.reading import Blob, Reader

if TYPE_CHECKING:
    from concurrent.futures import Future

_BLOCK = 4 * 2**20
_SMALL = 2 * _BLOCK
"""Bytes below which a second thread costs more than it gains."""

_MANY = 64
_WARNINGS = 3
"""Of a file whose checksums do not fit no more are told: they may all be switched off."""

Advanced = Callable[[int], None]
Stop = Callable[[], bool]


class Source(Reader, Protocol):
    """What files are read from: a store, or a directory within one."""

    def stat(self, path: str) -> Entry | None:
        """Return the entry of a regular file as it is now; None where there is none."""

    def checksums(self, files: Mapping[str, Entry]) -> Mapping[str, Mapping[str, str]]:
        """Return what the server itself says that files hash to; see Store."""


class Wanted(NamedTuple):
    """A file to be read whole."""

    path: str
    entry: Entry  # as it was listed
    also: frozenset[str] = frozenset()  # algorithms beside BLAKE3; see `hasher`
    checksums: bool = False  # of a ZIP: compare those in its directory too
    held: Mapping[str, str] = {}  # what the server says that it hashes to


class Hashed(NamedTuple):
    """What a file hashed to, or why it could not be read."""

    path: str
    entry: Entry | None = None  # as it was listed, and is still; None where it changed meanwhile
    digests: dict[str, str] = {}  # noqa: RUF012 - algorithm -> hexadecimal; never changed
    bytes_read: int = 0
    warnings: tuple[str, ...] = ()  # checksums within it that do not fit
    error: OSError | None = None
    held: Mapping[str, str] = {}  # what the server says that it hashes to


class Stopped(Exception):  # noqa: N818 - nothing failed
    """Reading was to end before all was read."""


def hash_all(
    files: Iterable[Wanted], source: Source, *, jobs: int, advanced: Advanced, stop: Stop
) -> Generator[Hashed]:
    """Yield what each file hashes to, in their order, `jobs` of them read at once.

    `advanced` hears of bytes read, from several threads.  Raises Stopped once `stop()` is true;
    an error of one file is a value.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only who reads bytes needs it

    over: list[bool] = []
    pool = ThreadPoolExecutor(jobs)

    def work(wanted: Wanted) -> Hashed:
        return _hash(wanted, source, advanced, lambda: bool(over) or stop())

    def work_all(batch: Sequence[Wanted]) -> list[Hashed]:
        return [work(wanted) for wanted in batch]

    pending: deque[Future[list[Hashed]]] = deque()
    try:
        for batch in _batches(files):
            pending.append(pool.submit(work_all, batch))
            if len(pending) > 2 * jobs:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        over.append(True)
        pool.shutdown(cancel_futures=True)


def _batches(files: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Yield large files by themselves, small ones together: handing one over takes longer than it."""
    batch: list[Wanted] = []
    size = 0
    for wanted in files:
        batch.append(wanted)
        size += wanted.entry.size
        if size >= _SMALL or len(batch) >= _MANY:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _hash(wanted: Wanted, source: Source, advanced: Advanced, stop: Stop) -> Hashed:
    import blake3  # noqa: PLC0415 - only who reads bytes needs it

    read = 0
    try:
        with source.open(wanted.path) as blob:
            threads = blake3.blake3.AUTO if blob.size >= _BLOCK else 1
            own = blake3.blake3(max_threads=threads)
            others = {name: hasher(name) for name in wanted.also}
            checks = Checksums(blob) if wanted.checksums else None
            warnings: list[str] = []
            with closing(_blocks(blob)) as blocks:
                for block in blocks:
                    own.update(block)
                    for other in others.values():
                        other.update(block)
                    if checks is not None and len(warnings) < _WARNINGS:
                        warnings += checks.take(block)
                    read += len(block)
                    advanced(len(block))
                    if stop():
                        raise Stopped
        digests = {name: other.hexdigest() for name, other in others.items()}
        digests[ALGORITHM] = own.hexdigest()
        after = source.stat(wanted.path)
        same = _is(wanted.entry, after) and wanted.entry.size == read
        return Hashed(
            wanted.path,
            after if same else None,
            digests,
            read,
            tuple(warnings[:_WARNINGS]),
            held=wanted.held,
        )
    except OSError as error:
        return Hashed(wanted.path, bytes_read=read, error=error)


def _is(listed: Entry, entry: Entry | None) -> bool:
    """Whether a file is the one that was listed; how many links and blocks it has says nothing."""
    return entry is not None and listed == entry._replace(
        links=listed.links, allocated=listed.allocated
    )


def _blocks(blob: Blob) -> Generator[memoryview]:
    """Yield the bytes of a file; each block is valid until the next is asked for."""
    buffers = [memoryview(bytearray(min(_BLOCK, blob.size) or 1)) for _ in range(2)]
    if blob.size < _SMALL:
        offset = 0
        while length := blob.readinto(offset, buffers[0]):
            yield buffers[0][:length]
            offset += length
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - the same

    with ThreadPoolExecutor(1) as ahead:
        offset, turn = 0, 0
        coming = ahead.submit(blob.readinto, 0, buffers[0])
        while length := coming.result():
            offset += length
            coming = ahead.submit(blob.readinto, offset, buffers[1 - turn])
            yield buffers[turn][:length]
            turn = 1 - turn
