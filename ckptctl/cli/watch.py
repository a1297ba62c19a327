"""`ckptctl watch`: carry out the configuration whenever a checkpoint is completed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.apply import Bwlimit, end, life, opened
from ckptctl.cli.completing import locations
from ckptctl.cli.life import configured, inners
from ckptctl.cli.loop_options import LoopOptions
from ckptctl.cli.options import Common
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.syncing import rate_of
from ckptctl.cli.watching import Loop, Round
from ckptctl.config import Config
from ckptctl.errors import CkptctlError, Interrupted, PartialError
from ckptctl.locate import local_path
from ckptctl.stores import is_local
from ckptctl.transfer.applied import Applied
from ckptctl.transfer.outcome import is_unfinished
from ckptctl.ui import printable
from ckptctl.ui.applying import AT_RISK, applied_data, applied_lines
from ckptctl.watcher import Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions(LoopOptions):
    """The options of `watch` alone."""

    once: Annotated[
        bool, typer.Option("--once", help="Go round once and leave, as `apply` does.")
    ] = False
    bwlimit: Bwlimit = None


def watch(
    common: Common,
    options: WatchOptions,
    where: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOCATION",
            help="Runs, or directories of runs, on a tier; by default all tiers.",
            show_default=False,
            autocompletion=locations,
        ),
    ] = None,
) -> None:
    """Run apply whenever a checkpoint is completed: a process beside the training.

    Local file systems tell when a file is finished; others (NFS, Lustre, buckets) are looked at
    every --interval. What is being saved is not touched: with a commit marker it is copied as soon
    as that is there, without one when it has settled. What goes wrong is told on stderr and tried
    again. SIGTERM ends it: the checkpoint in hand is finished if that takes no longer than
    --finish, else the next call goes on where it stopped.
    """
    session = opened(common)
    config = configured(session, "watch")
    wanted = inners(config, where or ())
    interval, finish = options.seconds(session)
    rate = rate_of(options.bwlimit)
    wish = Wish(jobs=common.copies_at_once, finish_seconds=finish)

    def lived() -> Applied:
        fresh = replace(session, began=time.monotonic(), warnings=[])
        with session.progress() as progress:
            done = life(fresh, wish, rate, progress).lived(wanted)
        fresh.warn()
        return done

    if options.once:
        with session.signals.noted():
            end(session, lived())
        return
    loop = Loop(session, Watcher(), roots(config, wanted), _polled(config), interval)

    at_risk: list[str] = []

    def once() -> Round:
        nonlocal at_risk
        done = lived()
        was, at_risk = at_risk, list(_at_risk(done))
        _tell(session, loop, done, [text for text in at_risk if text not in was])
        return Round(
            moving=sum(result.seconds for result in done.results),
            due_ns=done.due_ns,
            errors=tuple(_wrong(done)),
            locked=done.locked,
        )

    loop.say(f"watching {', '.join(loop.roots) or 'no local directory'}")
    loop.run(once)


def _wrong(done: Applied) -> Iterator[CkptctlError]:
    """Yield what is wrong, of runs and of single checkpoints."""
    yield from (error for error in done.errors if not isinstance(error, Interrupted))
    for part in done.parts:
        for result in part.results:
            if is_unfinished(result):
                yield PartialError(f"{result.path}: {result.error}")
        for outcome in part.pruned.outcomes:
            if outcome.status not in {"done", "planned"}:
                yield PartialError(f"{outcome.path}: {outcome.error}")


def roots(config: Config, wanted: Sequence[str]) -> list[str]:
    """Return the local directories where checkpoints may appear."""
    found = []
    for tier in config.tiers:
        if not is_local(tier.url) or tier.per_node:
            continue
        top = local_path(tier.url)
        for inner in wanted:
            place = os.path.join(top, inner) if inner else top
            found.append(place if os.path.isdir(place) else top)
    return list(dict.fromkeys(found))


def _polled(config: Config) -> bool:
    """Whether anything is copied from a bucket, which gives no events."""
    remote = {tier.name for tier in config.tiers if not is_local(tier.url)}
    return any(tier in remote and draft.copy_to for (_, tier), draft in config.overrides.items())


def _at_risk(done: Applied) -> Iterator[str]:
    """Yield what a site's purge is about to take that has no copy, even after this round."""
    for part in done.parts:
        for problem in part.pruned.problems:
            if problem.code in AT_RISK:
                yield f"! {printable.text(problem.text)} ({problem.code})"


def _tell(session: Session, loop: Loop, done: Applied, at_risk: Sequence[str]) -> None:
    """Write what a round did: lines on stderr, with --json an object a line on stdout.

    What is `at_risk` now and was not in the last round is told although nothing was done.
    """
    if session.common.format == "json":
        if done.did or done.errors or at_risk:
            session.print(json.dumps(applied_data(done)) + "\n")
    elif done.did:
        quiet = replace(done, lost=(), unmatched=(), problems=())  # the loop tells them once
        for line in applied_lines(quiet, session.look()):
            loop.say(line)
    else:
        for text in at_risk:
            loop.say(text)
