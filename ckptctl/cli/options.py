"""The options that every command has, written once, and how a command gets them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, get_type_hints

import typer

from ckptctl.cli.completing import locations, one_of
from ckptctl.stores import MAX_KEYS


class Output(StrEnum):
    """The formats of stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PATHS = "paths"


Location = Annotated[
    str | None,
    typer.Argument(
        metavar="LOCATION",
        help="A path or URL; by default the current directory.",
        show_default=False,
        autocompletion=locations,
    ),
]

Locations = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="LOCATION",
        help="Paths or URLs; by default the current directory.",
        show_default=False,
        autocompletion=locations,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The options that every command has; texts are parsed where they are used."""

    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Configuration file; else $CKPTCTL_CONFIG, or one that is found.",
        ),
    ] = None
    no_config: Annotated[bool, typer.Option("--no-config", help="Use no configuration.")] = False
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="table|json|jsonl|csv|paths",
            help="Format of stdout.",
            autocompletion=one_of(*Output),
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False
    null: Annotated[bool, typer.Option("-0", "--null", help="End paths with NUL.")] = False
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive",
            "-r",
            help="Act on every run below the location, and on itself if it is one.",
        ),
    ] = False
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="Parallel operations.")
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages, no progress.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More messages.")] = False
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress on stderr.")] = (
        False
    )
    state_dir: Annotated[
        str | None,
        typer.Option("--state-dir", metavar="DIR", help="Where ckptctl keeps its own records."),
    ] = None
    settle: Annotated[
        str | None,
        typer.Option(
            "--settle",
            metavar="D",
            help="What changed this recently is still being saved (default 15m).",
        ),
    ] = None
    metrics_from: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics-from",
            metavar="FILE",
            help="A log with metrics (CSV or JSON lines), relative to the run; repeatable.",
        ),
    ] = None
    lock_wait: Annotated[
        str | None,
        typer.Option(
            "--lock-wait", metavar="D", help="Wait that long for the lock (default 0), then exit 3."
        ),
    ] = None
    no_lock: Annotated[
        bool,
        typer.Option(
            "--no-lock",
            help="Go on without a lock on a store that cannot hold one; then never two at once.",
        ),
    ] = False
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout", metavar="D", help="Begin no further action after that long (exit 5)."
        ),
    ] = None
    as_user: Annotated[
        str | None,
        typer.Option("--as-user", metavar="NAME|UID", help="Drop root before anything is touched."),
    ] = None
    storage_option: Annotated[
        list[str] | None,
        typer.Option(
            "--storage-option", metavar="KEY=VALUE", help="Passed to the store; repeatable."
        ),
    ] = None
    max_keys: Annotated[
        int,
        typer.Option(
            "--max-keys", metavar="N", help="Refuse a bucket listing of more keys than this."
        ),
    ] = MAX_KEYS
    log_file: Annotated[
        str | None,
        typer.Option("--log-file", metavar="FILE", help="Append one JSON object per action."),
    ] = None

    @property
    def format(self) -> str:
        """Return the format of stdout."""
        return "json" if self.json else self.output or ("paths" if self.null else "table")

    @property
    def copies_at_once(self) -> int:
        """Return how many files are copied side by side: one waits while another is hashed."""
        return self.jobs or min(4, max(2, os.cpu_count() or 1))

    @property
    def small_copies_at_once(self) -> int:
        """Return how many small files are copied to or from a bucket: its server is waited for."""
        return self.jobs or 16


def fields_of(options: type) -> list[inspect.Parameter]:
    """Return a dataclass's fields as parameters that typer understands."""
    hints = get_type_hints(options, include_extras=True)
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in inspect.signature(options).parameters.items()
    ]


def with_options(
    command: Callable[..., None],
    parameters: Sequence[inspect.Parameter],
    call: Callable[[dict[str, object]], None],
) -> Callable[..., None]:
    """Return a function that typer sees with these parameters, and that passes their values to `call`."""

    def wrapper(**values: object) -> None:
        call(values)

    # typer reads both from any function that it is given
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def with_common(
    command: Callable[..., None], extra: Sequence[inspect.Parameter] = (), **groups: type
) -> Callable[..., None]:
    """Give a command each field of `Common` as an option, and those of other groups.

    Its first parameter gets the `Common`; a parameter named like a group gets that dataclass, and
    `extra` the values of the extra parameters by name.
    """
    every = {"common": Common, **groups}
    own = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, p in inspect.signature(command, eval_str=True).parameters.items()
        if name not in every and name != "extra"
    ]
    parameters = [
        *own,
        *extra,
        *(p for name, kind in groups.items() for p in fields_of(kind)),
        *fields_of(Common),
    ]

    def call(values: dict[str, object]) -> None:
        made = {
            name: kind(**{p.name: values.pop(p.name) for p in fields_of(kind)})
            for name, kind in every.items()
        }
        if extra:
            made["extra"] = {p.name: values.pop(p.name) for p in extra}
        command(**made, **values)

    return with_options(command, parameters, call)
