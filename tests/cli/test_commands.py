"""The program as a whole: its help, and what a command line that is wrong gets."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer.main

from ckptctl.cli.app import build
from ckptctl.cli.commands import COMMANDS
from tests.program import Ckptctl


def _help(app: typer.Typer) -> dict[str, str]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {name: command.get_short_help_str(200) for name, command in group.commands.items()}


def test_the_line_of_help_is_the_same_whether_a_command_is_imported_or_not() -> None:
    assert _help(build(["--help"])) == _help(build())


def test_help_imports_no_command() -> None:
    program = (
        "import sys; from ckptctl.cli.app import run; run(['--help']);"
        "print(*[name for name in sys.modules if name.startswith('ckptctl.')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Commands:" in done.stdout
    needed = {"ckptctl.ui", "ckptctl.ui.streams"}
    assert {name.split(".")[1] for name in {*done.stderr.split()} - needed} <= {
        "cli",
        "errors",
        "secrecy",
        "patterns",
    }


def test_without_arguments_it_shows_the_commands(ckptctl: Ckptctl) -> None:
    done = ckptctl()
    assert (done.code, done.stderr) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, ckptctl: Ckptctl) -> None:
    done = ckptctl(name, "--help")
    assert done.code == 0
    assert done.stdout.startswith(f"Usage: ckptctl {name} ")


def test_a_misspelt_command_is_refused_with_the_nearest_right_one(ckptctl: Ckptctl) -> None:
    done = ckptctl("prun", "--keep-last", "3")
    assert done.code == 2
    assert "Did you mean 'prune'" in done.stderr


def test_a_misspelt_option_is_an_error_in_json_where_that_was_asked_for(ckptctl: Ckptctl) -> None:
    done = ckptctl("list", "--jsn", "--json")
    assert done.code == 2
    error = json.loads(done.stdout)
    assert (error["schema"], error["code"], error["kind"]) == ("ckptctl/error", 2, "usage")


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told(flag: str, ckptctl: Ckptctl) -> None:
    done = ckptctl(flag)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == ckptctl(flag, "list").stdout != ""
