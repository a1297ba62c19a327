"""TAB, pressed in real shells: commands, options, words, tiers, checkpoints, files."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.completions import scripts
from tests.trees import make_tree

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
tiers:
  nvme: {url: tier}
  lustre: {url: /lustre/ckpt}
"""
LINES = {
    "ckptctl pru": "prune",
    "ckptctl conf": "config",
    "ckptctl config sch": "schema",
    "ckptctl prune --keep-l": "--keep-last",
    "ckptctl list @nv": "@nvme",
    "ckptctl prune --keep-last 2 @lu": "@lustre",
    "ckptctl list --state sav": "saving",
    "ckptctl list --output=cs": "--output=csv",
    "ckptctl list ti": "tier/",
    "ckptctl list -c ckpt": "ckptctl.yaml",
    "ckptctl why epoch=2-st": "epoch=2-step=200",
    "ckptctl hold epoch=1": "epoch=1-step=100",
    "ckptctl annotate step_7": "step_7000",
    "ckptctl resolve lat": "latest",
    "ckptctl promote epoch=2": "epoch=2-step=200",
}
"""What is typed, and what its last word is after TAB."""


PATIENT = (
    "from ckptctl.cli import completing; completing._PATIENCE = 60.0;"
    " from ckptctl.__main__ import main; main()"
)
"""The program, which gives up late: on a machine that does other things all is slow."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run to stand in, with a configuration, and the program and its scripts beside it."""
    program = tmp_path / "bin" / "ckptctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{PATIENT}' \"$@\"\n")
    program.chmod(0o755)
    for name, text in scripts().items():
        (tmp_path / name).write_text(text)
    names = ("epoch=1-step=100.ckpt", "epoch=2-step=200.ckpt", "step_7000.pt", "step_8 $(id).pt")
    run = make_tree(tmp_path / "run", {"ckptctl.yaml": CONFIG.encode(), **dict.fromkeys(names, b"x")})  # fmt: skip
    (run / "tier").mkdir()
    return run


def _env(place: Path) -> dict[str, str]:
    return {
        "PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PS1": "> ",
        "HOME": str(place.parent), "TERM": "xterm", "INPUTRC": "/dev/null", "LC_ALL": "C.UTF-8",
    }  # fmt: skip


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, wanted: str) -> str:
        """Read until something is on the screen; what was read is told where it never is."""
        seen, end = "", time.monotonic() + 60
        while wanted not in seen:
            left = end - time.monotonic()
            assert left > 0, f"{wanted!r} never came; the terminal showed {seen!r}"
            if select.select([self._terminal], [], [], left)[0]:
                text = os.read(self._terminal, 4096).decode(errors="replace")
                seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x08", "", text)
        return seen


@contextmanager
def shell(place: Path, *command: str) -> Iterator[Shell]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execvpe(command[0], command, _env(place))
    try:
        yield Shell(terminal)
    finally:
        os.killpg(pid, signal.SIGKILL)  # with what it has begun
        os.close(terminal)
        os.waitpid(pid, 0)


def test_tab_in_bash(place: Path) -> None:
    with shell(place, "bash", "--norc", "--noprofile", "-i") as bash:
        bash.type(f"source {place.parent / 'ckptctl.bash'}; PS1='ready'; PS1=$PS1'> '\n")
        bash.until("ready> ")
        for line, word in LINES.items():
            bash.type(f"{line}\t")
            bash.until(f"{line.rpartition(' ')[0]} {word}")
            bash.type("\x15")


def _bash(place: Path, line: str) -> list[str]:
    """What bash is told for a line, as its own words would be split: everything it would list."""
    word = re.split(r"[ =:]", line)[-1]
    call = f"source ../ckptctl.bash; COMP_LINE='{line}'; COMP_POINT={len(line)}; _ckptctl ckptctl '{word}'"
    return _run(place, "bash", "-c", f"{call}; printf '%s\\n' \"${{COMPREPLY[@]}}\"").split("\n")[
        :-1
    ]


def _run(place: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=place, env=_env(place), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_bash_lists_what_there_is(place: Path) -> None:
    assert _bash(place, "ckptctl list @") == ["@nvme", "@lustre"]
    assert _bash(place, "ckptctl list --output j") == ["json", "jsonl"]
    assert _bash(place, "ckptctl prune --max-delete") == ["--max-delete", "--max-delete-bytes"]
    assert {"list", "prune", "demo"} < set(_bash(place, "ckptctl "))


def test_a_name_that_a_shell_would_run_is_never_offered(place: Path) -> None:
    assert sorted(_bash(place, "ckptctl why ")) == [
        "epoch=1-step=100", "epoch=2-step=200", "step_7000",
    ]  # fmt: skip


def test_names_are_those_of_the_location_or_the_configuration_that_the_line_gives(
    place: Path,
) -> None:
    make_tree(place / "tier" / "llm", {"step_1.pt": b"x"})
    (place / "other.yaml").write_text("version: 1\ntiers: {far: {url: /far}}\n")
    assert _bash(place, "ckptctl list -c other.yaml @") == ["@far"]
    assert _bash(place, "ckptctl list --no-config @") == [""]
    assert _bash(place, "ckptctl annotate --in @nvme/llm ste") == ["step_1"]
    assert _bash(place, "ckptctl annotate --in tier/llm ste") == ["step_1"]


@pytest.mark.parametrize("line", ["ckptctl list @", "ckptctl why ", "ckptctl list --nothing x"])
def test_what_is_wrong_is_silent(place: Path, line: str) -> None:
    (place / "ckptctl.yaml").write_text("version: [")
    assert _bash(place, line) == [""]


def test_zsh_and_fish_get_the_same_with_the_line_of_help(place: Path) -> None:
    """By what their scripts put into the environment; the shells themselves are tried below."""
    for line, word in LINES.items():
        env = {
            "_CKPTCTL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": line, "PWD": str(place),
        }  # fmt: skip
        for name in ("_ckptctl", "ckptctl.fish"):
            assert set(env) - {"PWD"} <= set(re.findall(r"_[A-Z_]+", scripts()[name]))
        done = subprocess.run(
            ["ckptctl"], cwd=place, env=_env(place) | env, capture_output=True, text=True,
            check=True, executable=place.parent / "bin" / "ckptctl",
        )  # fmt: skip
        values = [reply.split("\t")[0] for reply in done.stdout.splitlines()]
        files = word in {"tier/", "ckptctl.yaml"}  # the shell's own work
        assert values == ([""] if files else [word.removeprefix("--output=")])


def test_tab_in_zsh_and_fish_where_they_are(place: Path) -> None:
    if shutil.which("zsh"):
        with shell(place, "zsh", "-f", "-i") as zsh:
            zsh.type(
                "fpath=(.. $fpath); autoload -Uz compinit; compinit -u -d ../dump; PS1='ready'; PS1=$PS1'> '\n"
            )
            zsh.until("ready> ")
            for line, word in LINES.items():
                zsh.type(f"{line}\t")
                zsh.until(word.removeprefix(line.rpartition(" ")[2]))
                zsh.type("\x15")
    if shutil.which("fish"):
        for line, word in LINES.items():
            told = _run(place, "fish", "--no-config", "-c", f"source ../ckptctl.fish; complete -C '{line}'")  # fmt: skip
            assert word in [reply.split("\t")[0] for reply in told.splitlines()], line


def test_a_slow_file_system_does_not_hold_the_shell(place: Path) -> None:
    slow = "import ckptctl.survey, time; ckptctl.survey.survey = lambda *_: time.sleep(300);"
    program = f"{slow} from ckptctl.__main__ import main; main()"
    (place.parent / "bin" / "ckptctl").write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{program}'\n")  # fmt: skip
    began = time.monotonic()
    assert _bash(place, "ckptctl why ") == [""]
    assert 1 < time.monotonic() - began < 250
