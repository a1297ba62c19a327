"""README.md and docs/: what is shown is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ckptctl.errors import CkptctlError, Interrupted

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _commands(page: str) -> list[tuple[str, list[str]]]:
    """The commands of the console blocks, each with the output shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def _steady(text: str) -> str:
    """Leave out what differs from call to call: seconds of age."""
    return re.sub(r"\b\d\ds\b", "20s", text)


def test_each_console_block_of_the_readme_does_what_it_shows(tmp_path: Path) -> None:
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
        "COLUMNS": "120",
    }
    commands = _commands(README)
    assert len(commands) > 4
    for command, shown in commands:
        done = subprocess.run(
            ["sh", "-c", command], cwd=place, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
        if shown != ["..."]:
            assert _steady(done.stdout).splitlines() == _steady("\n".join(shown)).splitlines()
    assert sorted(path.name for path in (place / "sample" / "tiny-llm").glob("*.pt")) == [
        "best.pt", "step_7000.pt", "step_8000.pt", "step_9000.pt",
    ]  # fmt: skip


def _kinds(error: type[CkptctlError]) -> list[type[CkptctlError]]:
    return [error, *(kind for below in error.__subclasses__() for kind in _kinds(below))]


def test_the_readme_has_every_exit_code_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| ([\d, ]+) \| (.*) \|$", README, re.MULTILINE))
    assert rows.pop("0") == "done, or nothing to do"
    wanted = {str(kind.code): kind.meaning for kind in _kinds(CkptctlError)}
    wanted["130, 143"] = wanted.pop(str(Interrupted.code))
    assert rows == wanted


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
