"""`ckptctl sync --watch`: copy each checkpoint of one place when it is completed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from ckptctl.cli.runtime import Session
from ckptctl.cli.watching import Loop, Round
from ckptctl.errors import CkptctlError, LockedError, PartialError
from ckptctl.locate import local_path
from ckptctl.stores import is_local
from ckptctl.transfer.outcome import Synced, is_unfinished
from ckptctl.ui.syncing import sync_data, sync_table
from ckptctl.watcher import Watcher


def watch_sync(session: Session, once: Callable[[], Synced], source: str, interval: float) -> None:
    """Copy again and again until a signal comes; leave with its code.  UsageError ends it too.

    What settles without an event is found by looking every `interval` seconds.
    """
    roots = [local_path(source)] if is_local(source) else []
    loop = Loop(session, Watcher(), roots, polled=True, interval=interval)

    def synced() -> Round:
        done = once()
        if any(result.bytes_sent for result in done.results):
            _tell(session, loop, done)
        held = [run.error for run in done.runs if isinstance(run.error, LockedError)]
        errors = tuple(_wrong(done))
        return Round(
            moving=sum(result.seconds for result in done.results),
            errors=errors,
            locked=bool(held) and len(held) == len(errors),
        )

    loop.say(f"watching {source}")
    loop.run(synced)


def _wrong(done: Synced) -> Iterator[CkptctlError]:
    yield from (run.error for run in done.runs if run.error is not None)
    for result in done.results:
        if is_unfinished(result):
            yield PartialError(f"{result.path}: {result.error}")


def _tell(session: Session, loop: Loop, done: Synced) -> None:
    if session.common.format == "json":
        session.print(json.dumps(sync_data(done)) + "\n")
    else:
        for line in sync_table(done, session.look()):
            loop.say(line)
