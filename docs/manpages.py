"""man/ckptctl.1 and man/ckptctl-COMMAND.1, from the app itself, its errors and what is written here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import groupby
from typing import TypeAlias, cast

import typer
import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from ckptctl.cli.app import build
from ckptctl.cli.commands import COMMANDS
from ckptctl.cli.examples import EXAMPLES
from ckptctl.cli.options import Common
from ckptctl.errors import CkptctlError, Interrupted
from docs.roff import (
    block,
    bold,
    item,
    page,
    paragraphs,
    plain,
    prose,
    section,
    see_also,
    slanted,
    subsection,
)
from docs.texts import ABOUT, ENVIRONMENT, FILES, LOCATIONS

Shown: TypeAlias = TyperCommand | TyperGroup
COMMON = frozenset(field.name for field in fields(Common))
_HELP = item(f"{bold('-h')}, {bold('--help')}", "Show the options, and exit.")


def whole_app() -> TyperGroup:
    """Return the app with every command in it."""
    return cast("TyperGroup", typer.main.get_command(build()))


def commands_of(group: TyperGroup) -> Mapping[str, Shown]:
    """Return the commands that help lists, by name."""
    commands = cast("Mapping[str, Shown]", group.commands)
    return {name: command for name, command in commands.items() if not command.hidden}


def pages() -> Mapping[str, str]:
    """Return every page by its file's name."""
    app = whole_app()
    made = {f"ckptctl-{name}.1": _command_page(name, one) for name, one in commands_of(app).items()}
    return {"ckptctl.1": _main_page(app), **made}


def options(command: Shown) -> list[TyperOption]:
    """Return the options that a command shows."""
    return [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]


def exit_codes() -> Iterator[tuple[str, str]]:
    """Yield each exit code and what it means."""
    yield "0", "done, or nothing to do"
    for kind in sorted(_kinds(CkptctlError), key=lambda kind: kind.code):
        yield ("130, 143" if kind is Interrupted else str(kind.code)), kind.meaning


def _kinds(error: type[CkptctlError]) -> Iterator[type[CkptctlError]]:
    yield error
    for below in error.__subclasses__():
        yield from _kinds(below)


def _main_page(app: TyperGroup) -> str:
    shown = commands_of(app)
    common = next(
        [one for one in options(command) if one.name in COMMON]
        for command in shown.values()
        if isinstance(command, TyperCommand)
    )
    return page(
        "ckptctl",
        1,
        [
            section("NAME", f"ckptctl {plain('-')} {prose(_as_title(app.help or ''))}\n"),
            section(
                "SYNOPSIS",
                f"{bold('ckptctl')} {slanted('COMMAND')} [{slanted('options')}] [{slanted('LOCATION')}]\n.br\n"
                f"{bold('ckptctl')} {bold('--version')}\n",
            ),
            section("DESCRIPTION", paragraphs(ABOUT), paragraphs(LOCATIONS)),
            section("COMMANDS", *map(_command_item, shown)),
            section("OPTIONS", *map(_option, options(app)), _HELP),
            section("COMMON OPTIONS", _COMMON_TEXT, *map(_option, common)),
            section("EXIT STATUS", *(item(bold(code), f"{text}.") for code, text in exit_codes())),
            section("ENVIRONMENT", *(item(bold(name), text) for name, text in ENVIRONMENT)),
            section("FILES", *(item(slanted(name), *said) for name, *said in FILES)),
            see_also([*((f"ckptctl-{name}", 1) for name in sorted(shown)), ("ckptctl-policy", 5)]),
        ],
    )


_COMMON_TEXT = paragraphs(
    "Every command that takes a `LOCATION` has these. "
    "Durations are `90s`, `15m`, `6h`, `7d`, `2w`; sizes `500GB`, `1.5TiB`, or plain bytes."
)


_EXIT_TEXT = paragraphs("Those of `ckptctl`(1), unless something else is said above.")


def _command_item(name: str) -> str:
    return item(f"{bold(f'ckptctl-{name}')}(1)", COMMANDS[name].help)


def _command_page(name: str, command: Shown) -> str:
    title = f"ckptctl-{name}"
    inner = commands_of(command) if isinstance(command, TyperGroup) else {}
    if inner:
        usage = "\n.br\n".join(_usage(f"{name} {below}", one) for below, one in inner.items())
        body = [
            section("DESCRIPTION", paragraphs(command.help or "")),
            section("COMMANDS", *(_subcommand(f"{name} {below}", one) for below, one in inner.items())),
        ]  # fmt: skip
    else:
        usage = _usage(name, command)
        body = [
            section("DESCRIPTION", paragraphs(command.help or ""), *_arguments(command)),
            *_options(command),
        ]
    examples = EXAMPLES.get(name, "")
    return page(
        title,
        1,
        [
            section("NAME", prose(f"{title} - {_as_title(COMMANDS[name].help)}"), "\n"),
            section("SYNOPSIS", f"{usage}\n"),
            *body,
            *([section("EXAMPLES", block(examples))] if examples else []),
            section("EXIT STATUS", _EXIT_TEXT),
            see_also([("ckptctl", 1), ("ckptctl-policy", 5)]),
        ],
    )


def _subcommand(name: str, command: Shown) -> str:
    own = "".join(map(_option, options(command)))
    return subsection(f"ckptctl {name}", paragraphs(command.help or ""), *_arguments(command), own)


def _usage(name: str, command: Shown) -> str:
    """Return how a command is called, whichever way this version of typer writes that."""
    context = typer.Context(command)
    own = {piece for one in command.params for piece in one.get_usage_pieces(context)}
    more = [piece for piece in command.collect_usage_pieces(context)[1:] if piece not in own]
    words = ["[options]"] if options(command) else []
    words += [name if one.required else f"[{name}]" for one, name in _positional(command)]
    return " ".join([bold(f"ckptctl {name}"), *map(slanted, words + more)])


def _positional(command: Shown) -> Iterator[tuple[TyperArgument, str]]:
    """Yield the arguments of a command and how each is written."""
    for one in command.params:
        if isinstance(one, TyperArgument) and not one.hidden:
            yield one, (one.metavar or one.name or "") + ("..." if one.nargs < 0 else "")


def _arguments(command: Shown) -> list[str]:
    return [item(slanted(name), one.help) for one, name in _positional(command) if one.help]


def _options(command: Shown) -> list[str]:
    """Return the sections of a command's own options, and a word on those that all have."""
    shown = options(command)
    own = [one for one in shown if one.name not in COMMON]
    by_panel = sorted(own, key=lambda one: one.rich_help_panel or "~")  # those of no panel last
    parts = []
    for panel, some in groupby(by_panel, key=lambda one: one.rich_help_panel):
        items = "".join(map(_option, some))
        parts.append(subsection(str(panel), items) if panel else subsection("Others", items))
    if len(parts) == 1:
        parts = list(map(_option, own))
    if len(own) < len(shown):
        names = ", ".join(f"`{max(one.opts, key=len)}`" for one in shown if one.name in COMMON)
        text = f"The common options are told in `ckptctl`(1): {names}."
        parts.append(subsection("Common options", paragraphs(text)) if own else paragraphs(text))
    return [section("OPTIONS", *parts)] if parts else []


def _option(option: TyperOption) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    tag = ", ".join(map(bold, names))
    if not option.is_flag:
        tag += f" {slanted(option.metavar or (option.name or '').upper())}"
    text = option.help or ""
    if isinstance(option.default, int | str) and not isinstance(option.default, bool):
        text += f" Default: {option.default}."
    return item(tag, text)


def _as_title(sentence: str) -> str:
    """Return a sentence as the NAME of a page has it: no capital, no full stop."""
    sentence = " ".join(sentence.split())
    return sentence[:1].lower() + sentence[1:].rstrip(".")
