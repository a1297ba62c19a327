"""`--prometheus FILE`: a file that is replaced whole, by whoever the caller was before --as-user."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from typing import NoReturn

from ckptctl.errors import CkptctlError, UsageError
from ckptctl.stores.local import LocalStore

_END = b"\0"
"""Ends what is sent: a sender that dies midway sends none, and nothing is written."""


class Publisher:
    """Replaces one file, once.

    A rename takes the rights to its directory when it happens.  So where root is about to be
    dropped (`apart`) a child process keeps them, and does nothing but write what it is sent to this
    one file.
    """

    def __init__(self, path: str, *, apart: bool) -> None:
        """Open the directory.  UsageError where the file cannot be written."""
        self._path = path
        folder, self._name = os.path.split(os.path.abspath(path))
        try:
            self._store = LocalStore(folder)
            found = os.stat(path) if os.path.lexists(path) else None
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        if not self._name or (found is not None and not stat.S_ISREG(found.st_mode)):
            raise self._refused("it is no regular file")
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._store.fd, effective_ids=True):
            raise self._refused("its directory is not writable")
        self._child = self._fork() if apart else None

    def publish(self, content: bytes) -> None:
        """Replace the file.  CkptctlError where that fails; it is then as it was."""
        if self._child is None:
            try:
                self._store.replace(self._name, content)
            except OSError as error:
                raise self._failed(error.strerror or str(error)) from error
            return
        pid, sender, receiver = self._child
        answer = ""
        with suppress(OSError):  # no answer says it
            with open(sender, "wb") as pipe:
                pipe.write(content + _END)
            with open(receiver, "rb") as pipe:
                answer = pipe.read().decode(errors="replace")
        os.waitpid(pid, 0)
        if answer != "done":
            raise self._failed(answer or "the process that was to write it has died")

    def _refused(self, why: str) -> UsageError:
        return UsageError(
            f"--prometheus: {self._path} cannot be written ({why}); nothing was touched"
        )

    def _failed(self, why: str) -> CkptctlError:
        return CkptctlError(
            f"--prometheus: {self._path} could not be written ({why}); it is as it was"
        )

    def _fork(self) -> tuple[int, int, int]:
        """Start the child; return its id, where to send the content, and where its answer comes."""
        content, sender = os.pipe()
        receiver, answer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(sender)
            os.close(receiver)
            self._serve(content, answer)
        os.close(content)
        os.close(answer)
        return pid, sender, receiver

    def _serve(self, content: int, answer: int) -> NoReturn:
        """Wait for the content, in the child; its end is the end of the parent."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            with open(content, "rb") as pipe:
                sent = pipe.read()
            if sent.endswith(_END):
                self._store.replace(self._name, sent[: -len(_END)])
                os.write(answer, b"done")
        except OSError as error:
            os.write(answer, (error.strerror or str(error)).encode())
        finally:
            os._exit(0)
