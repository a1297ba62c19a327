"""JSON in pieces: the same values as Python's `json`, wherever the pieces are cut."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptctl.formats._json_stream import read_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def cut(content: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


@settings(deadline=None)
@given(
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.lists(VALUES, max_size=5),
    st.integers(1, 40),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_the_same_values_as_json(
    value: dict[str, object], rows: list[object], size: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps({**value, "rows": rows}, indent=indent, ensure_ascii=ascii_only)
    content = text.encode("utf-8", "surrogatepass" if ascii_only else "replace")
    expected = json.loads(content)
    taken: list[object] = []
    found = read_object(cut(content, size), {"rows": taken.append})
    assert taken == expected.pop("rows")
    assert found == expected


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=3), st.data())
def test_no_part_of_an_object_is_taken_for_the_whole(
    value: dict[str, object], data: st.DataObject
) -> None:
    content = json.dumps(value).encode()
    end = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match=r"."):
        read_object(cut(content[:end], 7))


@pytest.mark.parametrize(
    "text", ["1e-5", "-1.5E+10", "NaN", "-Infinity", "0.1", "12345678901234567890"]
)
def test_a_number_cut_anywhere_is_one_number(text: str) -> None:
    content = f'{{"a":{text}}}'.encode()
    for size in range(1, len(content)):
        assert repr(read_object(cut(content, size))) == repr(json.loads(content))


@pytest.mark.parametrize(
    "content", [b"", b" ", b"[]", b"1", b"{} {}", b'{"a" 1}', b'{"a":1,}', b"{1:2}"]
)
def test_what_is_no_object(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_object(iter([content]))


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_number_of_thousands_of_digits_is_told_without_advice_on_python(size: int) -> None:
    with pytest.raises(ValueError, match=r"a number has thousands of digits") as caught:
        read_object(cut(b'{"a": ' + b"9" * 5000 + b"}", size))
    assert "sys" not in str(caught.value)


def test_a_long_log_is_never_in_memory_at_once() -> None:
    row = json.dumps({"step": 1, "loss": 0.5, "text": "x" * 1000})
    count = 0

    def chunks() -> Iterator[bytes]:
        yield b'{"log": ['
        for _ in range(50):
            yield ", ".join([row] * 1000).encode() + b", "
        yield row.encode() + b"]}"

    def take(_: object) -> None:
        nonlocal count
        count += 1

    tracemalloc.start()
    try:
        assert read_object(chunks(), {"log": take}) == {}
        assert count == 50_001
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.integers(1, 40), st.booleans())
def test_what_is_not_wanted_is_passed_over(
    value: dict[str, object], size: int, ascii_only: bool
) -> None:
    text = json.dumps({"before": value, "mine": 5, "after": value}, ensure_ascii=ascii_only)
    content = text.encode("utf-8", "surrogatepass" if ascii_only else "replace")
    pairs: list[object] = []
    kept = read_object(cut(content, size), {"after": pairs.append}, wanted=("mine",))
    if len(content) > size:
        assert kept == {"mine": 5}
    assert pairs == list(json.loads(content)["after"].items())
    with pytest.raises(ValueError, match=r"."):
        read_object(cut(content[:-1], size), wanted=())


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": [[[[1, 2}]]]',
        b'{"a": ]}',
        b'{"a": "x',
        b'{"a": "x\\',
        b'{"a": ,"b": 1}',
        b'{"a"}',
        b'{"a": {"b": 1}',
    ],
)
def test_what_is_passed_over_must_end(content: bytes) -> None:
    for size in (1, 2, 5):
        with pytest.raises(ValueError, match=r"."):
            read_object(cut(content, size), wanted=())


@pytest.mark.parametrize(
    "inner",
    [
        b"[" * 3_000_000,
        b"[[]" + b",[]" * 900_000 + b"]",
        b'"' + b"x" * 30_000_000 + b'"',
        b'"' + b"\xf0\x9f\x98\x80" * 9_000_000 + b'"',
    ],
)
def test_a_value_that_is_too_large_for_memory(inner: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"too (large|deeply)"):
            read_object(cut(b'{"a": ' + inner + b"}", 1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()


def test_a_long_value_that_is_not_wanted_costs_no_memory() -> None:
    content = b'{"a": [' + b'{"b": ["x\\"]", 1.5]},' * 90_000 + b'[]], "mine": 1}'
    tracemalloc.start()
    try:
        chunks = cut(content, 1 << 20)
        assert read_object(chunks, wanted=("mine",)) == {"mine": 1}
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_text_that_ends_with_a_piece() -> None:
    for size in range(1, 5):
        for end in range(12):
            with pytest.raises(ValueError, match=r"."):
                read_object(cut(b'{"a": [1, 2]}'[:end], size))
