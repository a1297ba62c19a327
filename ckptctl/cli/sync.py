"""`ckptctl sync`: copy checkpoints to another place, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.completing import locations, one_of
from ckptctl.cli.left_out import heed_left_out
from ckptctl.cli.loop_options import LoopOptions
from ckptctl.cli.options import Common
from ckptctl.cli.policy_options import ChoiceOptions, flags_of
from ckptctl.cli.run_by_run import refuse_by_place
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.sync_run import SyncRun
from ckptctl.cli.sync_source import viewed, viewed_in_part
from ckptctl.cli.syncing import end, rate_of
from ckptctl.cli.tasks import caller_of
from ckptctl.errors import UsageError
from ckptctl.group import Found
from ckptctl.parts.part import Caller
from ckptctl.parts.roll import Roll
from ckptctl.policy import Draft
from ckptctl.survey import Survey
from ckptctl.transfer.destination import refuse_destination
from ckptctl.transfer.outcome import Synced
from ckptctl.transfer.throttle import Throttle, finishing, napping

ON_CONFLICT = ("stop", "replace", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions(LoopOptions):
    """The options of `sync` alone."""

    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on: copy each checkpoint when it is completed."),
    ] = False

    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="Only the checkpoint of this name; repeatable."
        ),
    ] = None
    order: Annotated[
        str,
        typer.Option(
            "--order",
            metavar="newest|oldest",
            help="Which is copied first.",
            autocompletion=one_of("newest", "oldest"),
        ),
    ] = "newest"
    bwlimit: Annotated[
        str | None,
        typer.Option("--bwlimit", metavar="RATE", help="Bytes a second at most, as 200MB or 1GiB."),
    ] = None
    move: Annotated[
        bool,
        typer.Option("--move", help="Delete here what is proven there and no guard keeps."),
    ] = False
    on_conflict: Annotated[
        str | None,
        typer.Option(
            "--on-conflict",
            metavar="stop|replace|both",
            help="What to do where another one has its name there (default stop).",
            autocompletion=one_of(*ON_CONFLICT),
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="The same as --on-conflict replace.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be copied; change nothing.")
    ] = False
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="K/N",
            help="What is here is part K (from 0) of N: the call that comes last makes it whole. "
            "`node`: the nodes of the SLURM job. Default in a step of several tasks; 0/1 is none.",
        ),
    ] = None
    no_verify: Annotated[
        bool,
        typer.Option("--no-verify", help="Do not look at headers and indexes before copying."),
    ] = False

    def wish(self, jobs: int, *, in_part: bool) -> Wish:
        """Return how checkpoints are to be copied.  UsageError."""
        if self.order not in {"newest", "oldest"}:
            raise UsageError(f"--order: {self.order!r} is neither newest nor oldest")
        if self.on_conflict is not None and self.on_conflict not in ON_CONFLICT:
            raise UsageError(
                f"--on-conflict: {self.on_conflict!r} is none of {', '.join(ON_CONFLICT)}"
            )
        if self.watch and self.dry_run:
            raise UsageError("--watch and --dry-run exclude each other")
        if in_part and (self.overwrite or self.on_conflict in {"replace", "both"}):
            raise UsageError(
                "--part: parts of several nodes replace nothing, and have no second name"
            )
        if self.overwrite and self.on_conflict not in {None, "replace"}:
            raise UsageError("--overwrite and --on-conflict exclude each other")
        return Wish(
            names=tuple(self.name or ()),
            oldest=self.order == "oldest",
            on_conflict="replace" if self.overwrite else self.on_conflict,
            move=self.move,
            dry_run=self.dry_run,
            verify=not self.no_verify,
            jobs=jobs,
        )


def sync(
    common: Common,
    options: SyncOptions,
    choice: ChoiceOptions,
    extra: Mapping[str, object],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A run, or with -r a directory of runs.",
            autocompletion=locations,
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(metavar="DESTINATION", help="Where to copy to.", autocompletion=locations),
    ],
) -> None:
    """Copy complete checkpoints from one place to another: disk or bucket, in any direction.

    A checkpoint appears there only when it is whole, every byte of it proven. What is there already
    is left alone; an interrupted call goes on where it stopped. Nothing is deleted at the
    destination.
    """
    session = Session(common=common)
    session.open(source)
    caller = caller_of(options.part, os.environ)
    wish = options.wish(common.copies_at_once, in_part=caller is not None)
    interval, finish = options.seconds(session)
    flags = flags_of(extra, choice, common.settle, common.metrics_from).draft()
    rate = rate_of(options.bwlimit)
    here, there = session.locate(source), session.locate(destination)
    if caller is not None and options.part is None:
        heed_left_out(session, here, os.environ)
    if not options.watch:
        with session.signals.noted():
            end(session, _synced(session, wish, flags, rate, (here, there), caller))
        return
    from ckptctl.cli.sync_watch import watch_sync  # noqa: PLC0415 - most calls watch nothing

    wish = replace(wish, finish_seconds=finish)

    def once() -> Synced:
        fresh = replace(session, began=time.monotonic())
        return _synced(fresh, wish, flags, rate, (here, there), caller)

    watch_sync(session, once, here, interval)


def _synced(
    session: Session,
    wish: Wish,
    flags: Draft,
    rate: int | None,
    ends: tuple[str, str],
    caller: Caller | None,
) -> Synced:
    """Copy once what there is to be copied.  Raises UnreadableError, UsageError."""
    here, there = ends
    over = finishing(session.signals.stopped, time.monotonic, wish.finish_seconds)
    throttle = Throttle(rate, time.monotonic, napping(time.sleep, over))
    with session.progress() as progress:
        progress.started("listing")
        looked_ns = session.clock()
        with session.signals.heeded():
            view = (viewed if caller is None else viewed_in_part)(session, here)
        refuse_destination(there, view.store.root if caller is None else here, view.formats)
        if view.only is not None:
            wish = replace(wish, names=(view.only,))
        elif caller is None:
            refuse_by_place(view, recursive=session.common.recursive)
        runs = []
        for below, found, absent in _shared(session, view, wish, (here, there), caller, looked_ns):
            to = f"{there.rstrip('/')}/{below}" if below else there
            how = (flags, view, found, to, wish, throttle, progress)
            if caller is None:
                runs.append(SyncRun(session, None, *how).synced())
            else:
                from ckptctl.cli.sync_parts import PartRun  # noqa: PLC0415 - most calls are no parts

                runs.append(PartRun(session, caller, looked_ns, *how, absent).synced())
            if session.signals.stopped():
                break
    return Synced(runs=tuple(runs), problems=view.problems, dry_run=wish.dry_run)


def _shared(
    session: Session,
    view: Survey,
    wish: Wish,
    ends: tuple[str, str],
    caller: Caller | None,
    looked_ns: int,
) -> Iterable[tuple[str, Found, Callable[[Caller], Roll | None]]]:
    """Return the runs with their paths; of callers who divide a tree, those of the others too."""
    if caller is not None and session.common.recursive and not wish.dry_run:
        from ckptctl.cli.sync_trees import Trees  # noqa: PLC0415 - the same

        return Trees(session, caller, looked_ns, view, *ends, wish.names or None).shared()
    # One that has nothing is the location itself, which need not be there.
    return ((f.folder.path if f.items else "", f, lambda _: None) for f in view.found)
