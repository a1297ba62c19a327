"""`ckptctl config check|schema|example`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ckptctl.configfile import check_text, example_text, load
from ckptctl.discover import Found, find_config
from ckptctl.errors import UsageError
from ckptctl.schema import schema_text

app = typer.Typer(help="Check the configuration, or print its JSON Schema or an example of it.")


@app.command()
def check(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="By default the one that is found.")
    ] = None,
) -> None:
    """Say whether a configuration is right, and if not what is wrong on which line."""
    if not file and file is not None:
        raise UsageError("FILE is empty; a variable that was meant is not set")
    found = Found(file) if file else find_config(os.curdir, os.environ, os.geteuid())
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if found.file is None:
        raise UsageError(
            "no configuration found",
            "name one: ckptctl config check FILE; `ckptctl config example` prints one to begin with",
        )
    typer.echo(check_text(load(found.file)), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration (draft 2020-12)."""
    typer.echo(schema_text(), nl=False)


@app.command()
def example() -> None:
    """Print a commented configuration that has every key."""
    typer.echo(example_text(), nl=False)
