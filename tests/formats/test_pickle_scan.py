"""Texts and numbers of a pickle, without unpickling it: the same as pickletools finds."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptctl.formats import _pickle_scan
from ckptctl.formats._dcp_index import files_needed
from ckptctl.formats._pickle_scan import Scan, TooLongError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


def spelled(data: bytes) -> list[str | int]:
    """The same with pickletools, which knows every opcode by its own table."""
    texts = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
    numbers = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
    return [
        arg
        for opcode, arg, _ in pickletools.genops(data)
        if opcode.name in texts + numbers
        and isinstance(arg, int | str)
        and not isinstance(arg, bool)
    ]


@given(VALUES, st.integers(0, 5))
def test_the_same_texts_and_numbers_as_pickletools(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    found = [one for one in Scan(data, ()) if one is not None]
    assert found == spelled(data)


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda opcode: opcode.name)
def test_each_opcode_takes_what_belongs_to_it(opcode: pickletools.OpcodeInfo) -> None:
    size = opcode.arg.n if opcode.arg else 0
    lines = 2 if opcode.name in {"GLOBAL", "INST"} else 1
    content = opcode.code.encode("latin-1") + (bytes(abs(size)) if size >= -1 else bytes(8))
    if size == pickletools.UP_TO_NEWLINE:
        content = opcode.code.encode("latin-1") + b"1\n" * lines
    elif size < 0:
        content = opcode.code.encode("latin-1") + bytes({-2: 1, -3: 4, -4: 4, -5: 8}[size])
    rest = b"" if opcode.name == "STOP" else b"X\3\0\0\0end."
    found = list(Scan(content + rest, ()))
    assert opcode.name == "STOP" or found[-1] == "end"


def test_a_text_is_known_again_where_it_is_wanted() -> None:
    name = "__0_0.distcp"
    pieces = [{"relative_path": name, "offset": at, "length": 10} for at in (0, 10, 20)]
    for protocol in range(6):
        data = pickle.dumps(pieces, protocol)
        assert files_needed(data) == {name: 30}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"N", b"\xff", b"X\5\0\0\0abc.", b"Vabc", b"pabc\n.", b"\x8d" + b"\xff" * 8 + b".",
     b"X\2\0\0\0\xff\xff.", b"I", b"\x8b\xff\xff\xff\xff."],
)  # fmt: skip
def test_what_is_cut_off_or_no_pickle(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(Scan(data, ()))


@pytest.mark.parametrize(
    "data", [b"K\1" * 2000, b"\x94" * 2000, b"N\x94" * 2000, b"I1\n" * 2000, b"h\0" * 2000]
)
def test_a_pickle_of_too_many_steps_is_not_read_to_its_end(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pickle_scan, "STEP_LIMIT", 1000)
    with pytest.raises(TooLongError):
        list(Scan(data, ()))


def test_the_memo_and_the_names_are_limited() -> None:
    with pytest.raises(TooLongError):
        list(Scan(b"\x8c\1a\x94" * 300_000, ("a",)))
    names = (b"\x8c\x0drelative_path\x8c\x06%06dC\0" % at for at in range(140_000))
    with pytest.raises(TooLongError):
        files_needed(b"".join(b"%b\x8c\6lengthK\1" % name for name in names))


def test_what_a_pickle_would_run_is_passed_over(tmp_path: Path) -> None:
    target = tmp_path / "harmed"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (target.write_text, ("",))

    for protocol in range(6):
        assert list(Scan(pickle.dumps([Evil()], protocol), ()))
    assert not target.exists()
