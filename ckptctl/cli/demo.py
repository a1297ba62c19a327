"""`ckptctl demo`: a small sample run, and a walk through list, verify, annotate, prune and undo on it."""

from __future__ import annotations

import shlex
import tempfile
from typing import Annotated

import typer

from ckptctl.cli.options import Common
from ckptctl.cli.runtime import Session, write
from ckptctl.demo import make_run

_RULES = ("--keep-last", "3", "--keep-best", "2", "--metric", "val_ppl")
_RUN = "RUN"
_WALK = (
    (
        "What is there. step_9000 is still being written: torn, so no rule counts it. train.log is no checkpoint.",
        ("list", _RUN),
    ),
    (
        "Is all of it whole? Headers and indexes are opened; --record notes digests, for --level digest to compare.",
        ("verify", _RUN, "--record"),
    ),
    (
        "step_2000 is no good by its metric, but somebody needs it: a pin keeps it whatever the rules say.",
        ("annotate", "step_2000", "--pin", "--in", _RUN),
    ),
    (
        "What a prune would do, and why. step_5000's metric is NaN: never the best. Nothing is changed.",
        ("prune", _RUN, "--dry-run", *_RULES),
    ),
    (
        "The same plan, carried out, but what goes can be brought back for a week. A cron job needs no --yes.",
        ("prune", _RUN, "--yes", *_RULES, "--grace", "7d", "-o", "paths"),
    ),
    (
        "That was too much: all of it comes back, as it was.",
        ("undo", _RUN),
    ),
    (
        "The pin is not needed any more,",
        ("annotate", "step_2000", "--unpin", "--in", _RUN),
    ),
    (
        "and this time it is for good: the space is free at once. The paths are those that went.",
        ("prune", _RUN, "--yes", *_RULES, "-o", "paths"),
    ),
    (
        "What is left. A second prune would find nothing to do.",
        ("list", _RUN),
    ),
)
"""What is told of each command, and its arguments; `RUN` stands for the run's path."""


def demo(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="A directory that is new or empty; by default a temporary one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a small sample run and walk through list, verify, a pin, prune and undo on it."""
    from ckptctl.cli.app import run  # noqa: PLC0415 - the app imports this module

    place = tempfile.mkdtemp(prefix="ckptctl-demo-") if directory is None else directory
    path = make_run(place, Session(common=Common()).context(0, 0).now_ns)
    write(f"A sample run in {path}: eight checkpoints, an hour apart, with val_ppl beside each.\n")
    for text, words in _WALK:
        arguments = [path if word == _RUN else word for word in words] + ["--no-config"]
        write(f"\n# {text}\n$ ckptctl {shlex.join(arguments)}\n")
        if code := run(arguments):
            raise typer.Exit(code)
    write(f"\nAll of it lies in {place}; remove that when you have seen enough.\n")
