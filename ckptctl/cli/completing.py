"""What TAB offers: the scripts in `completions/` call the program, and typer answers them.

Names are offered only as far as a shell takes them as they are: one that holds a blank or a `$(`
would be run, not completed, by whoever presses Enter.  Nothing here ever complains.
"""
# ruff: noqa: PLC0415 - whoever completes a command's name waits for none of these imports

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from ckptctl.errors import CkptctlError

if TYPE_CHECKING:
    from ckptctl.config import Config

VARIABLE = "_CKPTCTL_COMPLETE"
"""Set by the scripts: typer derives the name from the program's."""
_PATIENCE = 2.0  # seconds: on a slow file system no names are better than a shell that hangs


def line_typed(environ: Mapping[str, str]) -> list[str] | None:
    """Return the words after the program's name where a shell asks for completions, else None.

    They only say which command is to be imported; typer reads the line by itself.
    """
    if not environ.get(VARIABLE):
        return None
    from typer import completion

    # with add_completion=False typer would know no shell
    completion.completion_init()  # type: ignore[attr-defined]  # is imported there, not exported
    line = environ.get("COMP_WORDS") or environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[1:]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return a completion by fixed words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def locations(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tiers of the configuration that would count; paths are the shell's own part."""
    return _patiently(lambda: _tiers(ctx)) if incomplete.startswith("@") else []


def checkpoints(ctx: typer.Context) -> list[str]:
    """Return the names of the checkpoints in the location given, or in the current directory."""
    return _patiently(lambda: _names(ctx))


def selectors(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the keywords of a SELECTOR, and the names of the checkpoints in the location."""
    words = ("latest", "saved", "best", "best:", "step:", "alias:", "tag:")
    return [word for word in words if word.startswith(incomplete)] + checkpoints(ctx)


def _patiently(ask: Callable[[], Iterable[str]]) -> list[str]:
    """Return the answer, or nothing where it fails or takes too long."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        return [name for name in ask() if shlex.quote(name) == name]
    except (CkptctlError, OSError):
        return []  # a line that is still being typed may be wrong
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _tiers(ctx: typer.Context) -> Iterator[str]:
    config = _config(ctx)
    for tier in config.tiers if config else ():
        yield f"@{tier.name}"


def _names(ctx: typer.Context) -> Iterator[str]:
    from ckptctl.survey import survey

    config, location = _config(ctx), _location(ctx)
    if location.startswith("@") and config is not None:
        name, _, rest = location[1:].partition("/")
        location = os.path.join(config.tier(name).url, rest)
    for found in survey(location, config.formats if config else ()).found:
        for item in found.items:
            if not item.claim.temporary:
                yield item.name


def _location(ctx: typer.Context) -> str:
    """Return the location that the line gives so far."""
    return str(ctx.params.get("location") or os.curdir)


def _config(ctx: typer.Context) -> Config | None:
    """Return the configuration for the line as it stands; raises UsageError where it is wrong."""
    from ckptctl.configfile import load
    from ckptctl.discover import find_config

    if ctx.params.get("no_config"):
        return None
    file = find_config(_location(ctx), os.environ, os.geteuid(), ctx.params.get("config")).file
    return load(file) if file else None
