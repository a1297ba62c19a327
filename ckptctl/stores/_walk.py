"""One pass over a local directory tree: one scandir a directory, one stat a file.

On a fast disk one thread is best (the interpreter lock changes hands at each small call); where a
metadata call takes long, many are kept in flight, also within one directory.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import LifoQueue

from ckptctl.listing import Entry, Folder
from ckptctl.stores._base import DEEPEST

THREADS = 32
_PROBES = 8  # stat calls that are timed before deciding
_SLOW_SECONDS = 0.0002  # a stat that takes longer is worth a thread
_BATCH = 64  # names that the kernel hands out at a time, at the least
_CHUNK = 16  # stat calls a task
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512  # unit of st_blocks, whatever the file system's own block size


class _Node:
    """A directory while it is being read."""

    __slots__ = (
        "children",
        "error",
        "fd",
        "files",
        "forbidden",
        "links",
        "mtime_ns",
        "others",
        "path",
        "pending",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.files: dict[str, Entry] = {}
        self.children: list[tuple[str, _Node]] = []
        self.links: dict[str, str] = {}
        self.others: list[str] = []
        self.mtime_ns = 0
        self.error: str | None = None
        self.forbidden = False
        self.fd = -1
        self.pending = 0

    def failed(self, error: OSError, name: str = "") -> None:
        """Note that something of this directory could not be read."""
        text = error.strerror or str(error)
        self.error = f"{name}: {text}" if name else text
        self.forbidden = isinstance(error, PermissionError)

    def folder(self, folders: dict[str, Folder]) -> Folder:
        """Freeze, once all below is read."""
        return Folder(
            self.path, dict(sorted(self.files.items())), folders, dict(sorted(self.links.items())),
            tuple(sorted(self.others)), self.mtime_ns, self.error, self.forbidden,
        )  # fmt: skip


def entry_of(found: os.stat_result) -> Entry:
    """Return what a stat says of a regular file."""
    return Entry(
        found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, found.st_nlink,
        found.st_blocks * _BLOCK,
    )  # fmt: skip


def walk(root: int, path: str, *, deep: bool, skip: frozenset[str]) -> Folder:
    """Read the tree at `path` below the descriptor `root`, leaving out directories in `skip`.

    Raises OSError where the top directory cannot be listed.
    """
    top = _Node(path)
    nodes = [top]
    pace = _Pace()
    try:
        top.fd = os.open(path or ".", _OPEN, dir_fd=root)
        _first(top, skip, pace)
    finally:
        _close(top)
    if deep:
        _read_fast(root, nodes, skip, pace)
    return _frozen(nodes)


class _Pace:
    """How long a metadata call is waited for here; what is computed meanwhile no thread shortens."""

    __slots__ = ("calls", "seconds")

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0

    def slow(self) -> bool:
        """Whether calls take so long that threads are worth their price."""
        return self.calls >= _PROBES and self.seconds > _SLOW_SECONDS * self.calls


def _first(node: _Node, skip: frozenset[str], pace: _Pace) -> None:
    """Read one open directory in this thread, or with many threads once calls prove slow."""
    began, computing = time.perf_counter(), time.thread_time()
    names = _scan(node, skip)
    _stat(node, names[:_PROBES])
    rest = names[_PROBES:]
    pace.seconds += (time.perf_counter() - began) - (time.thread_time() - computing)
    listed = len(names) + len(node.children)
    pace.calls += 2 + listed // _BATCH + len(names) - len(rest)
    if len(rest) > _CHUNK and pace.slow():
        _in_threads([_task(node, rest[i : i + _CHUNK]) for i in range(0, len(rest), _CHUNK)])
    else:
        _stat(node, rest)


def _task(node: _Node, names: list[str]) -> Callable[[], None]:
    return lambda: _stat(node, names)


def _read_fast(root: int, nodes: list[_Node], skip: frozenset[str], pace: _Pace) -> None:
    """Read all directories below in this thread, until the calls turn out to be slow."""
    waiting = [child for _, child in nodes[0].children]
    while waiting:
        if pace.slow():
            _read_slowly(root, nodes, skip, waiting)
            return
        node = waiting.pop()
        nodes.append(node)
        if _opened(root, node):
            try:
                _first(node, skip, pace)
            except OSError as error:
                node.failed(error)
            finally:
                _close(node)
        waiting += [child for _, child in node.children]


def _read_slowly(root: int, nodes: list[_Node], skip: frozenset[str], waiting: list[_Node]) -> None:
    """Read all directories below with many calls in flight; last found, first read."""
    tasks: LifoQueue[Callable[[], None] | None] = LifoQueue()
    guard = threading.Lock()

    def stats(node: _Node, names: list[str]) -> None:
        _stat(node, names)
        with guard:
            node.pending -= 1
            if not node.pending:
                _close(node)

    def listing(node: _Node) -> None:
        if not _opened(root, node):
            return
        try:
            names = _scan(node, skip)
        except OSError as error:
            node.failed(error)
            names = []
        chunks = [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
        node.pending = len(chunks)
        if not chunks:
            _close(node)
        start([child for _, child in node.children])
        for chunk in chunks:
            tasks.put(lambda chunk=chunk: stats(node, chunk))  # type: ignore[misc]  # a bound default

    def start(found: list[_Node]) -> None:
        with guard:
            nodes.extend(found)
        for node in found:
            tasks.put(lambda node=node: listing(node))  # type: ignore[misc]  # a bound default

    start(waiting)
    _drain(tasks)


def _in_threads(work: list[Callable[[], None]]) -> None:
    tasks: LifoQueue[Callable[[], None] | None] = LifoQueue()
    for task in work:
        tasks.put(task)
    _drain(tasks)


def _drain(tasks: LifoQueue[Callable[[], None] | None]) -> None:
    """Run tasks in threads until none is left; the first exception is raised here."""
    failures: list[BaseException] = []

    def worker() -> None:
        while (task := tasks.get()) is not None:
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                failures.append(error)
            finally:
                tasks.task_done()
        tasks.task_done()

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    tasks.join()
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _opened(root: int, node: _Node) -> bool:
    """Open a directory; one that vanished or became something else meanwhile is simply not there."""
    if node.path.count("/") >= DEEPEST:
        node.error = f"lies {DEEPEST} directories deep, and deeper none is looked into"
        return False
    try:
        node.fd = os.open(node.path, _OPEN, dir_fd=root)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        node.failed(error)
        return False
    return True


def _close(node: _Node) -> None:
    if node.fd >= 0:
        os.close(node.fd)
        node.fd = -1


def _scan(node: _Node, skip: frozenset[str]) -> list[str]:
    """Read the names of an open directory; return those of regular files, which need a stat."""
    names = []
    prefix = f"{node.path}/" if node.path else ""
    node.mtime_ns = os.fstat(node.fd).st_mtime_ns
    with os.scandir(node.fd) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_symlink():
                with suppress(FileNotFoundError):
                    node.links[name] = os.readlink(name, dir_fd=node.fd)
            elif entry.is_dir(follow_symlinks=False):
                if name not in skip:
                    node.children.append((name, _Node(prefix + name)))
            elif entry.is_file(follow_symlinks=False):
                names.append(name)
            else:
                node.others.append(name)
    return names


def _stat(node: _Node, names: list[str]) -> None:
    for name in names:
        try:
            found = os.stat(name, dir_fd=node.fd, follow_symlinks=False)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except OSError as error:
            node.failed(error, name)
            continue
        if stat.S_ISREG(found.st_mode):
            node.files[name] = entry_of(found)


def _frozen(nodes: list[_Node]) -> Folder:
    """Freeze all nodes, the deepest first; a child's node always stands after its parent's."""
    done: dict[int, Folder] = {}
    for node in reversed(nodes):
        folders = {}
        for name, child in sorted(node.children, key=lambda item: item[0]):
            below = done.pop(id(child), None)
            folders[name] = child.folder({}) if below is None else below
        done[id(node)] = node.folder(folders)
    return done[id(nodes[0])]
