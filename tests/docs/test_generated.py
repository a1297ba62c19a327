"""What is generated is fresh, and is seen not to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs import generate

ROOT = Path(__file__).parents[2]


def test_every_generated_file_is_fresh_whatever_the_terminal() -> None:
    """A failure names the files: `make docs` makes them anew."""
    env = {**os.environ, "COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "xterm-256color", "HOME": "/"}
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_what_is_stale_missing_or_too_many_is_named_and_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    for name in ("docs", "man", "completions"):
        (tmp_path / name).mkdir()
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "man" / "ckptctl.1").write_text("old")
    (tmp_path / "completions" / "_ckptctl").unlink()
    (tmp_path / "man" / "ckptctl-gone.1").write_text("of a command that is no more")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    named = {line.split(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert named == {"man/ckptctl.1", "completions/_ckptctl", "man/ckptctl-gone.1"}
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert not (tmp_path / "man" / "ckptctl-gone.1").exists()


@pytest.mark.parametrize("path", generate.pages(), ids=lambda path: path.name)
def test_no_generated_file_names_this_machine_or_a_day(path: Path) -> None:
    text = path.read_text(encoding="ascii")
    assert str(ROOT) not in text
    assert sys.prefix not in text
    assert ".Dd" not in text
