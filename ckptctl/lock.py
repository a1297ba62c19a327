"""One prune at a time on a run: a file made by one exclusive create, renewed while it is held.

It names host, process and expiry.  Another process takes it over when it has expired, or when its
process is gone on this very host (same boot, same process-id namespace, same start of the process:
a container or a reused number is not taken for it).  The kernel's own lock on the run's directory
is held besides, so that a full disk, where no file can be made, is no hole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable

from ckptctl.boot import boot_id
from ckptctl.errors import LockedError, RefusedError, UnreadableError
from ckptctl.model import NS
from ckptctl.reading import TRACKER_LIMIT, VanishedError
from ckptctl.stores import told
from ckptctl.stores._base import ChangedError, IgnoredConditionError, Store
from ckptctl.units import format_time

FILE = "lock"
LIFE_NS = 10 * 60 * NS
"""How long a lock that nobody renews is respected."""

# Fields of /proc/PID/stat, counted after the name in parentheses; see proc(5)
_STATE_FIELD, _THREADS_FIELD, _START_FIELD = 0, 17, 19

Clock = Callable[[], int]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def started(pid: int) -> str:
    """Return when a process of this host started, in the kernel's ticks; "" where there is none."""
    fields = _fields(pid)
    return fields[_START_FIELD] if fields else ""


def _fields(pid: int) -> list[str]:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields if len(fields) > _START_FIELD else []


def _has_ended(pid: int) -> bool:
    """Whether only its parent's asking for its end is left of a process, for which some never ask.

    Process 1 of a container is often the training itself.  A thread that hangs in a write may still
    write, though the process was killed: then it has not ended.
    """
    fields = _fields(pid)
    return bool(fields) and fields[_STATE_FIELD] == "Z" and int(fields[_THREADS_FIELD]) <= 1


def is_gone(pid: int, began: object) -> bool:
    """Whether a process of this host that started then is gone.

    `/proc` may hide the processes of other users, as clusters like it (`hidepid`, and systemd's
    `ProtectProc`): one of which nothing is seen lives while it can be asked for a signal.
    """
    seen = started(pid)
    if seen:
        return seen != began or _has_ended(pid)
    if pid <= 0:  # the ids of groups
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def this_host() -> dict[str, str]:
    """Return what tells this host, its boot, and its view of process ids from any other."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "namespace": namespace,
    }


class Lock:
    """The lock of one run, in its state directory (`store`); under another name, of its records."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        file: str = FILE,
        life_ns: int = LIFE_NS,
        needed: bool = True,
    ) -> None:
        """A lock that is not `needed` is done without on a store that cannot hold one."""
        self._store = store
        self._clock = clock
        self._file = file
        self._life_ns = life_ns
        self._needed = needed
        self._had = True
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lock.  Raises LockedError where another process holds it, OSError on failure."""
        for _ in range(3):
            try:
                self._store.create(self._file, self._content())
            except FileExistsError:
                if self._is_mine():  # the answer to our own write was lost, and it was done twice
                    break
                self._take_over()
                continue
            except IgnoredConditionError as error:
                if not self._needed:
                    self._had = False
                    return
                raise RefusedError(
                    f"{self._store.root}: no lock can be had there ({error.strerror or error}); "
                    "nothing was changed",
                    "where nobody else works on this run, --no-lock goes on without",
                ) from error
            except PermissionError as error:
                said, check = told(
                    self._store.root,
                    error.strerror or str(error),
                    "run as the owner of that directory, or name another with --state-dir",
                )
                raise UnreadableError(
                    f"{self._store.root}: the lock cannot be written ({said}); nothing was changed",
                    check,
                ) from error
            break
        else:
            raise LockedError(
                f"{self._store.root}: the lock changes hands; nothing was changed", "try again"
            )
        self._thread = threading.Thread(target=self._keep_renewing, daemon=True)
        self._thread.start()

    def _is_mine(self) -> bool:
        holder = self._holder()
        return holder is not None and holder.get("token") == self._token

    def _content(self, life_ns: int | None = None) -> bytes:
        pid = os.getpid()
        until = self._clock() + (self._life_ns if life_ns is None else life_ns)
        return json.dumps(
            {
                "schema": "ckptctl/lock",
                "version": 1,
                **this_host(),
                "pid": pid,
                "started": started(pid),
                "token": self._token,
                "expires": format_time(until),
                "expires_ns": until,
            }
        ).encode()

    def _holder(self, path: str | None = None) -> dict[str, object] | None:
        try:
            value = json.loads(self._store.read(path or self._file, TRACKER_LIMIT))
        except VanishedError:
            return None
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def _take_over(self) -> None:
        """Move a dead holder's lock out of the way; LockedError where its holder lives."""
        holder = self._holder()
        if holder is None:
            return
        if not self._dead(holder):
            who = f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')}"
            raise LockedError(
                f"{self._store.root}: locked by {who} until {holder.get('expires', '?')}; nothing was changed",
                "wait with --lock-wait 10m; a lock whose process is gone is taken over by itself",
            )
        if not self._store.able.rename:
            self._write_over(holder)
            return
        if self._holder() != holder:  # it ended while we looked at it, and another has the lock
            return
        aside = f"{self._file}.{self._token}"
        with contextlib.suppress(VanishedError):
            self._store.rename_to(self._file, self._store, aside)
            if self._holder(aside) != holder:  # another process took it over between our two looks
                with contextlib.suppress(FileExistsError):
                    self._store.rename_to(aside, self._store, self._file)
            self._store.remove_file(aside)

    def _write_over(self, holder: dict[str, object]) -> None:
        """Take a dead holder's lock by one conditional write: of several that try, one gets it.

        LockedError where the store knows no such write, since then two could get it.
        """
        if not self._store.able.match:
            raise LockedError(
                f"{self._store.root}: its holder is gone, but no store of this kind lets just one take over its lock; nothing was changed",
                f"if nobody works on this run, remove {self._store.root}/{self._file}",
            )
        seen = self._store.stat(self._file)
        if seen is None or self._holder() != holder:  # it is another one by now
            return
        with contextlib.suppress(ChangedError):
            self._store.replace(self._file, self._content(), if_match=seen.etag)

    def _renew(self) -> None:
        """Write the lock anew; LockedError where it is not ours any more."""
        seen = self._store.stat(self._file)
        self.check()
        match = seen.etag if seen is not None and self._store.able.match else ""
        self._store.replace(self._file, self._content(), if_match=match)

    def _dead(self, holder: dict[str, object]) -> bool:
        expires = holder.get("expires_ns")
        if not isinstance(expires, int):
            # An unreadable lock may be one that is being written this moment: its age decides.
            entry = self._store.stat(self._file)
            return entry is not None and self._clock() - entry.mtime_ns > self._life_ns
        if expires < self._clock():
            return True
        here = this_host()
        pid = holder.get("pid")
        if not isinstance(pid, int) or any(holder.get(key) != value for key, value in here.items()):
            return False
        return is_gone(pid, holder.get("started"))

    def lives(self) -> bool:
        """Whether somebody holds it, and is not known to be dead.  Raises OSError."""
        holder = self._holder()
        return holder is not None and not self._dead(holder)

    def check(self) -> None:
        """Prove that the lock is still ours.  LockedError where another process has it."""
        if not self._had:
            return
        holder = self._holder()
        if holder is None or holder.get("token") != self._token:
            raise LockedError(
                f"{self._store.root}: the lock was lost to another process", "try again"
            )

    def _keep_renewing(self) -> None:
        while not self._stop.wait(self._life_ns / NS / 4):
            with contextlib.suppress(OSError, LockedError):  # `check` tells before the next action
                self._renew()

    def release(self) -> None:
        """Give the lock back, if it is still ours."""
        if not self._had:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError, LockedError):
            self.check()
            if self._store.remove_file(self._file).left:
                # Where nothing may be deleted, neither this process nor another is to wait for it.
                seen = self._store.stat(self._file)
                match = seen.etag if seen is not None and self._store.able.match else ""
                self._store.replace(self._file, self._content(-1), if_match=match)


def lock_folder(fd: int, path: str) -> None:
    """Take the kernel's lock on an open directory; it goes with the descriptor.

    LockedError where another process has it; a file system without such locks is no error.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{path}: locked by another process on this host; nothing was changed",
            "wait with --lock-wait 10m",
        ) from None
    except OSError:
        pass  # NFS has no flock on directories: the lock file is the lock there
