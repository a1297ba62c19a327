"""The texts and numbers of a pickle, in their order, told from its opcodes; nothing is unpickled.

What a pickle would import, call or build is passed over, so that nothing in it can do harm: one
step takes the same time and memory whatever it says.  Source: CPython, Lib/pickletools.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ckptctl.patterns import later

STEP_LIMIT = 4_000_000
"""Texts, numbers and what refers to them: at some a million a second."""

_MEMO_LIMIT = 1 << 18
_TEXT_LIMIT = 4096  # bytes of the longest text that is kept: no name of a file is longer

_PLAIN = b"(012NRabd}el]ostu)Q" + bytes((0x81, *range(0x85, 0x8A), *range(0x8F, 0x94), 0x97, 0x98))
_QUIET = later(
    b"(?:[" + re.escape(_PLAIN) + rb"]|[G\x95].{8}|[\x80\x82].|\x83..|\x84....)++", re.DOTALL
)
_TEXTS = {0x8C: 1, 0x58: 4, 0x8D: 8}  # opcode -> bytes of the length
_SKIPPED = {0x55: 1, 0x54: 4, 0x43: 1, 0x42: 4, 0x8E: 8, 0x96: 8}  # the same, for bytes
_NUMBERS = {0x4B: 1, 0x4D: 2, 0x4A: 4}  # opcode -> bytes of the number
_LONGS = {0x8A: 1, 0x8B: 4}  # opcode -> bytes of the length
_PUTS = {0x71: 1, 0x72: 4, 0x70: 0}  # opcode -> bytes of the place; 0: a line
_GETS = {0x68: 1, 0x6A: 4, 0x67: 0}
_MEMOIZE, _STOP, _UNICODE = 0x94, 0x2E, 0x56
_DECIMALS = frozenset(b"IL")
_LINES = {**dict.fromkeys(b"SFP", 1), **dict.fromkeys(b"ci", 2)}
_OLD = later(rb"(-?(?:0|[1-9][0-9]{0,30}))L?")  # `I00` and `I01` are booleans


class TooLongError(Exception):
    """A limit is reached; up to there it is a pickle."""


class Scan:
    """Goes through a pickle once.

    A text that the pickle refers to again is known again only if it is in `wanted` when the next
    step is taken: what goes through may add to it.
    """

    def __init__(self, data: bytes, wanted: Iterable[str]) -> None:
        self.wanted = set(wanted)
        self._data = data
        self._at = 0
        self._memo: dict[int, str] = {}
        self._memoized = 0

    def __iter__(self) -> Iterator[str | int | None]:
        """Yield each text and number, and None for anything else between two of them.

        Raises ValueError where it is cut off or no pickle, TooLongError where a limit is reached.
        """
        last: str | None = None  # a text that may be put into the memo now
        for _ in range(STEP_LIMIT):
            if found := _QUIET.match(self._data, self._at):
                self._at, last = found.end(), None
                yield None
            opcode = self._number(1)
            if opcode == _STOP:
                return
            if opcode == _MEMOIZE or opcode in _PUTS:
                self._remember(opcode, last)
                continue
            value = self._value(opcode)
            last = value if isinstance(value, str) else None
            yield value
        raise TooLongError

    def _value(self, opcode: int) -> str | int | None:
        """Return what an opcode pushes, where that is a text or a number."""
        if opcode in _TEXTS:
            return _decoded(self._take(self._number(_TEXTS[opcode])), "utf-8")
        if opcode in _NUMBERS:
            return self._number(_NUMBERS[opcode], signed=opcode == 0x4A)  # noqa: PLR2004 - BININT
        if opcode in _GETS:
            return self._memo.get(self._place(_GETS[opcode]))
        if opcode in _LONGS:
            content = self._take(self._number(_LONGS[opcode]))
            return int.from_bytes(content[:16], "little", signed=True)
        if opcode in _SKIPPED:
            self._take(self._number(_SKIPPED[opcode]))
        elif opcode in _DECIMALS:
            found = _OLD.fullmatch(self._line())
            return int(found[1]) if found else None
        elif opcode == _UNICODE:
            return _decoded(self._line(), "raw-unicode-escape")
        elif opcode in _LINES:
            for _ in range(_LINES[opcode]):
                self._line()
        else:
            raise ValueError(f"byte {opcode:#x} at {self._at - 1:,} is no opcode of a pickle")
        return None

    def _remember(self, opcode: int, last: str | None) -> None:
        place = self._memoized if opcode == _MEMOIZE else self._place(_PUTS[opcode])
        self._memoized += 1
        if last is not None and last in self.wanted:
            self._memo[place] = last
            if len(self._memo) > _MEMO_LIMIT:
                raise TooLongError

    def _place(self, width: int) -> int:
        """Return a place in the memo, of so many bytes, or written in a line."""
        if width:
            return self._number(width)
        line = self._line()
        if not re.fullmatch(rb"[0-9]{1,18}", line):
            raise ValueError("a place in its memo is no number")
        return int(line)

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(width), "little", signed=signed)

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise ValueError("the pickle ends early")
        content = self._data[self._at : end]
        self._at = end
        return content

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise ValueError("the pickle ends early, within a line")
        content = self._data[self._at : end]
        self._at = end + 1
        return content


def _decoded(content: bytes, encoding: str) -> str | None:
    """Return a text; None for one that is longer than any name."""
    if len(content) > _TEXT_LIMIT:
        return None
    return content.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
