"""What is secret on a command line is in no error and no JSON, however wrong the rest of it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program import Ckptctl
from tests.test_secrecy import SECRET

WRONG = (
    ("list", "a", "{}"), ("prune", "--keep-last", "1", "a", "{}"), ("why", "a", "b", "{}"),
    ("hold", "a", "b", "{}"), ("undo", "a", "{}"), ("purge", "a", "{}"), ("interval", "a", "{}"),
    ("list", "--config", "{}"), ("list", "--settle", "{}"), ("list", "--log-file", "{}"),
    ("list", "--jobs", "{}"), ("list", "-o", "{}"), ("list", "--state", "{}"), ("{}",),
    ("list", "--sort={}"), ("list", "--{}"), ("prune", "--policy", "{}"),
    ("prune", "--from-plan", "{}"), ("verify", "--against", "{}"), ("annotate", "{}", "a=1"),
    ("annotate", "a", "{}"), ("status", ".", "{}"), ("hold", "{}"), ("list", "--state-dir", "{}"),
    ("prune", "--keep-last", "1", "--metrics-from", "{}"), ("config", "check", "{}"),
)  # fmt: skip
"""Every way of which a location can be where none belongs."""


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_url_with_a_secret_is_not_repeated(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"{SECRET[0]}?X-Amz-Signature=hush"
    done = ckptctl(*(word.format(url) for word in words), env={"CKPTCTL_DEBUG": ""})
    assert "hush" not in done.stdout + done.stderr
    assert done.code != 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_forgotten_flag_does_not_show_its_secret(ckptctl: Ckptctl) -> None:
    for words in (("list", ".", "secret=hush"), ("list", ".", "token=hush", "--json")):
        done = ckptctl(*words)
        assert done.code == 2
        assert "hush" not in done.stdout + done.stderr
