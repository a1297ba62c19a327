"""Every command, with its line of help; its module is imported when it is asked for.

So `--help` imports no command, and `list` nothing of what only `prune` needs: half of the time
that a small `list` takes would be imports.
"""
# ruff: noqa: PLC0415 - importing late is what this module is for

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import typer

from ckptctl.cli.examples import show_examples


class Command(NamedTuple):
    """How a command is put into the app, and the first line of its help."""

    add: Callable[[typer.Typer], object]
    help: str


def _list(app: typer.Typer) -> None:
    from ckptctl.cli.list_runs import ListOptions, list_runs
    from ckptctl.cli.options import with_common

    app.command("list")(with_common(list_runs, options=ListOptions))


def _prune(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.policy_options import PolicyOptions, rule_parameters
    from ckptctl.cli.prune import PruneOptions, prune

    command = with_common(
        prune, extra=rule_parameters(), options=PruneOptions, policy_options=PolicyOptions
    )
    app.command("prune")(command)


def _verify(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.verify import VerifyOptions, verify

    app.command("verify")(with_common(verify, options=VerifyOptions))


def _resolve(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.resolve import ResolveOptions, resolve

    app.command("resolve")(with_common(resolve, options=ResolveOptions))


def _promote(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.promote import PromoteOptions, promote

    app.command("promote")(with_common(promote, options=PromoteOptions))


def _sync(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.policy_options import ChoiceOptions, rule_parameters
    from ckptctl.cli.sync import SyncOptions, sync

    command = with_common(sync, extra=rule_parameters(), options=SyncOptions, choice=ChoiceOptions)
    app.command("sync")(command)


def _apply(app: typer.Typer) -> None:
    from ckptctl.cli.apply import ApplyOptions, apply
    from ckptctl.cli.options import with_common

    app.command("apply")(with_common(apply, options=ApplyOptions))


def _watch(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.watch import WatchOptions, watch

    app.command("watch")(with_common(watch, options=WatchOptions))


def _drill(app: typer.Typer) -> None:
    from ckptctl.cli.drill import DrillOptions, drill
    from ckptctl.cli.options import with_common

    app.command("drill")(with_common(drill, options=DrillOptions))


def _interval(app: typer.Typer) -> None:
    from ckptctl.cli.interval import IntervalOptions, interval
    from ckptctl.cli.options import with_common

    app.command("interval")(with_common(interval, options=IntervalOptions))


def _status(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.status import StatusOptions, status

    app.command("status")(with_common(status, options=StatusOptions))


def _why(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.policy_options import PolicyOptions, rule_parameters
    from ckptctl.cli.why import why

    command = with_common(why, extra=rule_parameters(), policy_options=PolicyOptions)
    app.command("why")(command)


def _hold(app: typer.Typer) -> None:
    from ckptctl.cli.hold import HoldCommand, HoldOptions, hold
    from ckptctl.cli.options import with_common

    app.command("hold", cls=HoldCommand)(with_common(hold, options=HoldOptions))


def _annotate(app: typer.Typer) -> None:
    from ckptctl.cli.annotate import AnnotateOptions, annotate
    from ckptctl.cli.options import with_common

    app.command("annotate")(with_common(annotate, options=AnnotateOptions))


def _undo(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.undo import UndoOptions, undo

    app.command("undo")(with_common(undo, options=UndoOptions))


def _purge(app: typer.Typer) -> None:
    from ckptctl.cli.options import with_common
    from ckptctl.cli.purge import PurgeOptions, purge

    app.command("purge")(with_common(purge, options=PurgeOptions))


def _demo(app: typer.Typer) -> None:
    from ckptctl.cli.demo import demo

    app.command("demo")(demo)


def _config(app: typer.Typer) -> None:
    from ckptctl.cli import config

    app.add_typer(config.app, name="config")


COMMANDS = {
    "list": Command(_list, "List the checkpoints below a location, whatever framework wrote them."),
    "prune": Command(_prune, "Delete the checkpoints that no rule and no guard keeps."),
    "verify": Command(
        _verify,
        "Prove that checkpoints are whole: by names, by headers and indexes, or by every byte.",
    ),
    "sync": Command(
        _sync,
        "Copy complete checkpoints from one place to another: disk or bucket, in any direction.",
    ),
    "apply": Command(
        _apply,
        "Carry out the whole configuration: prove what is new, copy it to the next tiers, then prune each tier.",
    ),
    "watch": Command(
        _watch, "Run apply whenever a checkpoint is completed: a process beside the training."
    ),
    "undo": Command(
        _undo,
        "Bring back what a prune with --grace took: all of it, or what the options choose.",
    ),
    "purge": Command(
        _purge, "Empty the trash: what is past its grace, or what the options choose."
    ),
    "why": Command(
        _why,
        "Explain why a checkpoint is kept or would be deleted, and what would change that.",
    ),
    "hold": Command(
        _hold,
        "Keep a checkpoint from prune while a reader works: for a while, or for a command.",
    ),
    "annotate": Command(
        _annotate,
        "Record metrics that arrive later (an asynchronous evaluation), tags and pins.",
    ),
    "resolve": Command(
        _resolve,
        "Print the path of a checkpoint to resume from: the newest that is whole, on any tier.",
    ),
    "promote": Command(
        _promote,
        "Pin a checkpoint that is whole, tag it, let an alias name it, and note who did so and why.",
    ),
    "drill": Command(
        _drill,
        "Rehearse a resume from each tier: fetch it, read every byte, and say how long that takes.",
    ),
    "interval": Command(
        _interval,
        "Say how often to save: Young's, Daly's and the exact optimum, and what they cost.",
    ),
    "status": Command(
        _status,
        "Show the age of each run's newest complete checkpoint, sizes, copies, trash and free space.",
    ),
    "demo": Command(
        _demo, "Make a small sample run and walk through list, verify, a pin, prune and undo on it."
    ),
    "config": Command(
        _config, "Check the configuration, or print its JSON Schema or an example of it."
    ),
}
"""In the order in which help shows them."""


def add_all(app: typer.Typer) -> None:
    """Put every command into the app."""
    for name, command in COMMANDS.items():
        command.add(app)
        show_examples(app, name)


def add_one(app: typer.Typer, wanted: str | None) -> None:
    """Put one command into the app, and of the others no more than help and suggestions show."""
    for name, command in COMMANDS.items():
        if name == wanted:
            command.add(app)
            show_examples(app, name)
        else:
            app.command(name, help=command.help)(_elsewhere)


def _elsewhere() -> None:
    raise AssertionError("the command asked for is always added whole")
