"""The man pages: what is in the program is in them, and what is in them is in the program."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from typer.core import TyperGroup

from ckptctl.cli.commands import COMMANDS
from ckptctl.cli.examples import EXAMPLES
from docs.manpages import COMMON, Shown, commands_of, exit_codes, options, pages, whole_app
from docs.policypage import policy_page
from tests.program import Ckptctl

MADE = {**pages(), "ckptctl-policy.5": policy_page()}
APP = whole_app()
MACROS = {"TH", "SH", "SS", "PP", "TP", "IP", "EX", "EE", "RS", "RE", "br", "nh", "ad"}


def _plain(roff: str) -> str:
    """The text of a page, as far as its escapes go."""
    roff = re.sub(r"\\f[BIP]|\\&", "", roff)
    for escape, character in ((r"\-", "-"), (r"\(aq", "'"), (r"\(ga", "`"), (r"\(ha", "^"), (r"\(ti", "~"), (r"\e", "\\")):  # fmt: skip
        roff = roff.replace(escape, character)
    return roff


def _said(text: str) -> str:
    """A text as one line, without what marks words in it."""
    return " ".join(_plain(text).replace("`", "").split())


def _tags(page: str) -> set[str]:
    """The words that items of a page are about."""
    tags = re.findall(r"^\.TP\n(.*)$", _plain(page), re.MULTILINE)
    return {word for tag in tags for word in re.findall(r"-[\w-]+|[\w-]+", tag)}


def _with_subcommands(command: Shown) -> list[Shown]:
    inner = commands_of(command).values() if isinstance(command, TyperGroup) else ()
    return [command, *inner]


def test_every_command_has_its_page_and_its_line_in_the_main_one() -> None:
    assert {f"ckptctl-{name}.1" for name in COMMANDS} < set(MADE)
    for name, command in COMMANDS.items():
        assert _said(command.help) in _said(MADE["ckptctl.1"])
        assert command.help[1:].rstrip(".") in _said(MADE[f"ckptctl-{name}.1"])
        assert f"ckptctl-{name}" in _tags(MADE["ckptctl.1"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_visible_option_is_on_the_page_of_its_command(name: str) -> None:
    page = MADE[f"ckptctl-{name}.1"]
    text, seen = _plain(page), 0
    for command in _with_subcommands(commands_of(APP)[name]):
        for option in options(command):
            seen += 1
            if option.name in COMMON:
                assert max(option.opts, key=len) in re.split(r"[\s,.]+", text)
            else:
                assert set(option.opts) <= _tags(page)
                assert _said(option.help or "?") in _said(text)
    assert seen or name in {"demo", "config"}


def test_every_common_option_and_those_of_the_program_are_in_the_main_page() -> None:
    told = _tags(MADE["ckptctl.1"])
    common = [one for one in options(commands_of(APP)["list"]) if one.name in COMMON]
    assert len(common) == len(COMMON)
    for option in (*common, *options(APP)):
        assert set(option.opts) <= told


def test_what_is_hidden_is_on_no_page() -> None:
    everywhere = set().union(*map(_tags, MADE.values()))
    for command in commands_of(APP).values():
        for one in _with_subcommands(command):
            shown = {name for option in options(one) for name in option.opts}
            hidden = {name for p in one.params for name in p.opts if name.startswith("-")} - shown
            assert not hidden & everywhere


def test_every_exit_code_is_in_the_main_page_with_its_meaning() -> None:
    text = _said(MADE["ckptctl.1"])
    assert len(list(exit_codes())) == 10
    for code, meaning in exit_codes():
        assert f".TP {code} {meaning}." in text


@pytest.mark.parametrize("name", MADE)
def test_pages_refer_to_pages_that_there_are(name: str) -> None:
    for target, number in re.findall(r"(ckptctl[\w-]*)\((\d)\)", _plain(MADE[name])):
        assert f"{target}.{number}" in MADE


@pytest.mark.parametrize("name", MADE)
def test_pages_are_made_of_macros_that_every_man_knows(name: str) -> None:
    """A line of text that began with a dot or a quote would be lost silently."""
    used = set(re.findall(r"^\.(?!\\\")(\S*)", MADE[name], re.MULTILINE))
    assert used <= MACROS
    assert not re.findall(r"^'", MADE[name], re.MULTILINE)
    for tool, *words in (
        ["groff", "-man", "-ww", "-Tascii", "-z"],
        ["mandoc", "-Tlint", "-Werror"],
    ):
        if shutil.which(tool):  # all of it where they are installed; the lines above hold anywhere
            done = subprocess.run(
                [tool, *words], input=MADE[name], capture_output=True, text=True, check=False
            )
            assert (done.stderr, done.returncode) == ("", 0)


EXAMPLE_LINES = [
    line
    for text in EXAMPLES.values()
    for line in text.splitlines()
    if line and not line.startswith("#")
]


def test_every_command_has_examples_of_itself() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    for name, text in EXAMPLES.items():
        assert f"ckptctl {name} " in text


@pytest.mark.parametrize("line", EXAMPLE_LINES)
def test_the_program_takes_the_command_line_of_each_example(line: str) -> None:
    assert len(line) <= 72  # no man page wraps it
    shell = shlex.shlex(line, posix=True, punctuation_chars=True)
    shell.whitespace_split = True  # a URL is one word
    words = list(shell)
    own = words[1 : next((i for i, word in enumerate(words) if word in {"|", ">"}), None)]
    command: Shown = APP
    while isinstance(command, TyperGroup):
        command = commands_of(command)[own.pop(0)]
    command.make_context("example", own)  # raises where an option or an argument is wrong


def test_examples_are_below_the_help(ckptctl: Ckptctl) -> None:
    assert "Examples:\n    ckptctl demo sample\n" in ckptctl("demo", "--help").stdout
    assert "\n    ckptctl config check ckptctl.yaml\n" in ckptctl("config", "-h").stdout
    assert "Examples:" not in ckptctl("--help").stdout
