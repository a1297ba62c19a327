from __future__ import annotations

import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ckptctl.ui import printable

NAMES = st.binary(min_size=1, max_size=60).map(os.fsdecode) | st.text(min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("step_1000", "step_1000"),
        ("检查点_1", "检查点_1"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc\rd\x00", r"a\nb\tc\rd\x00"),
        ("caf\udce9", r"caf\xe9"),  # the byte 0xE9, which is no UTF-8
        ("a\u0085b", r"a\u0085b"),  # the character, which is another name
        ("a\u202eb", r"a\u202eb"),  # right-to-left override
        ("a\u200bb", r"a\u200bb"),  # zero width space
        ("a\ufe0fb\u3164", r"a\ufe0fb\u3164"),  # variation selector, Hangul filler
        ("\U000e0041", r"\U000e0041"),  # a tag character
        ("a\u00a0b", r"a\u00a0b"),
        (r"a\x1b", r"a\\x1b"),  # a backslash of its own is no escape
        ("  a ", r"\x20\x20a\x20"),
        ("a b", "a b"),
        (" ", r"\x20"),
    ],
)
def test_a_name_is_shown_as_what_it_is(name: str, shown: str) -> None:
    assert printable.name(name) == shown


@given(NAMES, NAMES)
def test_two_names_never_look_the_same(one: str, other: str) -> None:
    assume(one != other)
    assert printable.name(one) != printable.name(other)


@given(NAMES)
def test_nothing_that_a_terminal_obeys_is_left(name: str) -> None:
    for shown in (printable.name(name), printable.text(name)):
        assert shown.isprintable()
        shown.encode()  # no surrogate is left either


def test_wide_and_combining_characters_take_what_they_take() -> None:
    assert printable.cells("检查点") == 6
    assert printable.cells("cafe\u0301") == 4


@given(st.lists(NAMES.map(printable.name), max_size=8, unique=True), st.integers(8, 30))
def test_shortened_names_stay_different_and_fit_or_are_whole(names: list[str], room: int) -> None:
    short = printable.elide_all(names, room)
    assert len(set(short)) == len(names)
    for name, shown in zip(names, short, strict=True):
        assert shown == name or printable.cells(shown) <= room


def test_shortened_names_show_what_tells_them_apart() -> None:
    names = [f"{'x' * 100}-step={n}-{'y' * 100}" for n in (1000, 2000)]
    assert [s[-21:] for s in printable.elide_all(names, 30)] == [
        "p=1000-yyyyyyyyyyyyy…",
        "p=2000-yyyyyyyyyyyyy…",
    ]


def test_the_middle_goes_where_the_ends_are_enough() -> None:
    assert printable.elide_all(
        ["run-aaaaaaaaaaaaaaaaaaaa-1", "run-aaaaaaaaaaaaaaaaaaaa-2"], 11
    ) == [
        "run-a…aaa-1",
        "run-a…aaa-2",
    ]


def test_names_that_no_shortening_tells_apart_stay_whole() -> None:
    names = ["a" + "x" * 40 + "b" + "x" * 40, "a" + "x" * 40 + "c" + "x" * 40, "d" + "x" * 81 + "e"]
    twins = [*names, names[0][:60] + "z" + "x" * 21]
    assert printable.elide_all(twins, 10) == twins


def test_wrapping_breaks_between_words_and_never_in_one() -> None:
    long = "n" * 30
    assert printable.wrap(f"every 200 from {long}, it takes", 16) == [
        "every 200 from",
        f"{long},",
        "it takes",
    ]


def test_reasons_are_broken_between_reasons_first() -> None:
    assert printable.pack(["last #1", "best #2 by val_ppl (12.3)", "newest"], 30) == [
        "last #1;",
        "best #2 by val_ppl (12.3);",
        "newest",
    ]
    assert printable.pack(["last #1", "newest"], 30) == ["last #1; newest"]
