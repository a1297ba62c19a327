from __future__ import annotations

import io
import os

import pytest

from ckptctl.errors import CkptctlError, UsageError
from ckptctl.ui.ask import confirm
from ckptctl.ui.messages import format_error, say


def test_an_error_says_what_happened_and_what_to_do() -> None:
    error = UsageError("/x: holds 2 runs:", "name one, or add --recursive", ("  a", "  b"))
    assert format_error(error, colour=False) == (
        "ckptctl: /x: holds 2 runs:\n    a\n    b\n  name one, or add --recursive\n"
    )
    assert error.message == "/x: holds 2 runs:\n  a\n  b"
    assert format_error(CkptctlError("no"), colour=False) == "ckptctl: no\n"


def test_a_name_in_an_error_cannot_pass_for_a_message_of_ours() -> None:
    text = format_error(CkptctlError("a\x1b[2J\nckptctl: all is well\u202e"), colour=True)
    assert text == "\x1b[31mckptctl: \x1b[0ma\\x1b[2J\\nckptctl: all is well\\u202e\n"


def test_a_pattern_in_an_error_keeps_its_backslashes() -> None:
    assert r"net-(\d+)" in format_error(CkptctlError(r"no group in net-(\d+)"), colour=False)


@pytest.mark.parametrize(("quiet", "written"), [(False, "kept caf\\xe9\n"), (True, "")])
def test_messages_are_printable_and_can_be_quiet(*, quiet: bool, written: str) -> None:
    stream = io.StringIO()
    say("kept caf\udce9", stream=stream, quiet=quiet)
    assert stream.getvalue() == written


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("y\n", True),
        ("YES\n", True),
        (" yes \n", True),
        ("\n", False),
        ("n\n", False),
        ("yeah\n", False),
        ("", False),
    ],
)
def test_only_yes_is_yes(answer: str, *, yes: bool) -> None:
    stderr, (reader, writer) = io.StringIO(), os.pipe()
    os.write(writer, answer.encode())
    os.close(writer)
    with os.fdopen(reader) as stdin:
        assert confirm("Delete 3?\x1b", stdin=stdin, stderr=stderr) is yes
    assert stderr.getvalue() == "Delete 3?\\x1b [y/N] " + ("" if answer else "\n")
