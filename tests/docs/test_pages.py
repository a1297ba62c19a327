"""README.md and docs/: what is shown is what happens, and nothing that a user looks for is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from ckptctl.cli.commands import COMMANDS
from ckptctl.configfile import read_config
from docs.manpages import exit_codes

ROOT = Path(__file__).parents[2]
PAGES = {
    page.name: page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
}


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def _commands(page: str) -> list[tuple[str, str]]:
    """The commands of the console blocks, each with the output shown below it.

    A command begins after `$ ` and goes on after `> `.
    """
    found = []
    for block in _blocks(page, "console"):
        assert block.startswith("$ "), block
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            while lines and lines[0].startswith("> "):
                command += f"\n{lines.pop(0)[2:]}"
            found.append((command, "\n".join(lines)))
    return found


def _as_shown(shown: str, output: str) -> bool:
    """Whether an output is the one shown: `...` is anything, an age of seconds is one of two digits."""
    pattern = re.escape(shown).replace(r"\.\.\.", ".*")
    pattern = re.sub(r"\b\d\ds\b", r"\\d\\ds", pattern)
    return re.fullmatch(pattern, output.rstrip("\n"), re.DOTALL) is not None


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\nb c\n", False),
        ("a.b", "axb", False),
        ("...", "any\nthing", True),
        ("", "something", False),
        ("a ... c", "a b c", True),
        ("step_9  20s", "step_9  31s", True),
        ("step_9  20s", "step_9  120s", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, output: str, same: bool) -> None:
    assert _as_shown(shown, output) is same


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if _commands(page)])
def test_each_console_block_does_what_it_shows(name: str, tmp_path: Path) -> None:
    """All blocks of a page run in one directory, one after the other."""
    program = tmp_path / "bin" / "ckptctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ckptctl "$@"\n')
    program.chmod(0o755)
    place = tmp_path / "work"
    place.mkdir()
    env = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "COLUMNS": "120",  # as wide as the pages are written
    }
    for command, shown in _commands(PAGES[name]):
        done = subprocess.run(
            ["sh", "-c", command], cwd=place, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert _as_shown(shown, done.stdout), f"$ {command}\n{done.stdout}\ninstead of\n{shown}"


def test_the_readme_has_console_blocks() -> None:
    assert len(_commands(PAGES["README.md"])) > 4


YAML = [(name, text) for name, page in PAGES.items() for text in _blocks(page, "yaml")]


@pytest.mark.parametrize("number", range(len(YAML)))
def test_every_yaml_block_is_right(number: int) -> None:
    """A block without a version is the inside of a policy."""
    name, text = YAML[number]
    if not text.startswith("version:"):
        text = "version: 1\npolicies:\n  default:\n" + indent(text, "    ")
    read_config(text.encode(), name)


def test_there_are_yaml_blocks() -> None:
    assert len(YAML) > 4


def test_the_readme_has_every_exit_code_with_its_meaning() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| (.*) \|$", PAGES["README.md"], re.MULTILINE)
    assert dict(rows) == dict(exit_codes())


def test_the_readme_has_every_command_with_its_line_of_help() -> None:
    rows = re.findall(r"^\| `ckptctl (\w+)` \| (.*) \|$", PAGES["README.md"], re.MULTILINE)
    assert dict(rows) == {name: command.help for name, command in COMMANDS.items()}


def test_what_is_said_not_to_be_there_yet_is_not_there() -> None:
    for name in ("README.md", "design.md"):
        told = PAGES[name].split("## What is not there yet")[1]
        assert not {f"`{command}`" for command in COMMANDS} & set(re.findall(r"`[^`]+`", told))


def test_links_between_pages_lead_somewhere() -> None:
    for name, page in PAGES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#:]+)\)", page):
            assert (folder / target).exists(), f"{name}: {target}"
