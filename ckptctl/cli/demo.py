"""`ckptctl demo`: a small sample run, and a walk through list and prune on it."""

from __future__ import annotations

import shlex
import tempfile
from typing import Annotated

import typer

from ckptctl.cli.options import Common
from ckptctl.cli.runtime import Session, write
from ckptctl.demo import make_run

_RULES = ("--keep-last", "3", "--keep-best", "2", "--metric", "val_ppl")
_WALK = (
    (
        "What is there. step_9000 is still being written, so no rule counts it; train.log is no checkpoint.",
        ("list",),
    ),
    (
        "What a prune would do, and why. It reads the heads of what is to stay; nothing is changed.",
        ("prune", "--dry-run", *_RULES),
    ),
    (
        "The same plan, carried out; each deletion is asked again first. A cron job needs no --yes.",
        ("prune", "--yes", *_RULES),
    ),
    ("What is left. A second prune would find nothing to do.", ("list",)),
)


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
    """Make a small sample run and walk through list and prune on it."""
    from ckptctl.cli.app import run  # noqa: PLC0415 - the app imports this module

    place = tempfile.mkdtemp(prefix="ckptctl-demo-") if directory is None else directory
    path = make_run(place, Session(common=Common()).context(0, 0).now_ns)
    write(f"A sample run in {path}: eight checkpoints, an hour apart, with val_ppl beside each.\n")
    for text, (command, *options) in _WALK:
        arguments = [command, path, "--no-config", *options]
        write(f"\n# {text}\n$ ckptctl {shlex.join(arguments)}\n")
        if code := run(arguments):
            raise typer.Exit(code)
    write(f"\nAll of it lies in {place}; remove that when you have seen enough.\n")
