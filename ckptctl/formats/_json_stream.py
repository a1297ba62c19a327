"""A framework's own JSON, read piece by piece: a long log in it never becomes one tree.

Like Python's `json`, which the frameworks write with, it takes bare NaN and Infinity.
"""

from __future__ import annotations

import codecs
import errno
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from ckptctl.reading import FRAMEWORK_LIMIT, Reader, TooLargeError, digits_only

_CHUNK = 1 << 20
_VALUE_LIMIT = 64 << 20  # characters of one value that is kept as a tree
_LOOKAHEAD = 4  # what may still belong to a number at the end of the text: `1` of `1e-5`
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def read_object(
    chunks: Iterator[bytes], each: Mapping[str, Callable[[object], None]] | None = None
) -> dict[str, object]:
    """Return the JSON object that the chunks spell.

    The array under a key of `each` is not kept: its items are passed on one by one.
    ValueError where it is no JSON, no object, or holds a value of more than 64 MiB.
    """
    first, second = next(chunks, b""), next(chunks, b"")
    if not second:
        return _read_small(first, each or {})
    text = _Text(chain((first, second), chunks))
    found: dict[str, object] = {}
    text.expect("{")
    more = text.peek() != "}"
    if not more:
        text.expect("}")
    while more:
        key = text.value()
        if not isinstance(key, str):
            raise ValueError("a key is no text")  # noqa: TRY004 - callers ask only for ValueError
        text.expect(":")
        if each and key in each and text.peek() == "[":
            for item in text.items():
                each[key](item)
        else:
            found[key] = text.value()
        more = text.expect(",}") == ","
    if text.peek():
        raise ValueError("something follows the object")
    return found


def _read_small(content: bytes, each: Mapping[str, Callable[[object], None]]) -> dict[str, object]:
    """Return the object of a text that is one chunk: three times as fast as piece by piece."""
    try:
        found = _DECODER.decode(content.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(_why(error)) from error
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - callers ask only for ValueError
    for key, take in each.items():
        if isinstance(items := found.get(key), list):
            for item in items:
                take(item)
            del found[key]
    return found


def chunks_of(
    reader: Reader, path: str, size: int, limit: int = FRAMEWORK_LIMIT
) -> Iterator[bytes]:
    """Yield the content of a file that was listed with `size` bytes; a small one in one read.

    Raises VanishedError, TooLargeError or OSError.
    """
    if size <= _CHUNK:
        yield reader.read(path, limit)
        return
    with reader.open(path) as blob:
        at = 0
        while part := blob.read(at, _CHUNK):
            at += len(part)
            if max(at, blob.size) > limit:
                raise TooLargeError(errno.EFBIG, f"larger than {limit} bytes", path)
            yield part


def _why(error: Exception) -> str:
    return "a number has thousands of digits" if digits_only(error) else str(error)


class _Text:
    """The part of the text that is in memory, and the place up to which it was understood."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is no space, "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def expect(self, characters: str) -> str:
        """Take one of the characters; ValueError where something else comes."""
        found = self.peek()
        if not found:
            raise ValueError("it ends early")
        if found not in characters:
            raise ValueError(f"{found!r} stands where {' or '.join(characters)} should")
        self._at += 1
        return found

    def value(self) -> object:
        """Take the next value as a tree."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > _VALUE_LIMIT or not self._more():
                    raise ValueError(f"a value cannot be understood: {_why(error)}") from error
                continue
            length = end - self._at
            if end + _LOOKAHEAD <= len(self._text) or not self._more():
                self._at += length
                return value

    def items(self) -> Iterator[object]:
        """Take the next array, and yield each of its items."""
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return
        yield self.value()
        while self.expect(",]") == ",":
            yield self.value()

    def _more(self) -> bool:
        """Double what is in memory, so that a long value is tried a few times only."""
        if self._ended:
            return False
        parts = [self._text[self._at :]]
        wanted = max(2 * len(parts[0]), 1)
        while wanted > sum(map(len, parts)) and not self._ended:
            chunk = next(self._chunks, b"")
            self._ended = not chunk
            parts.append(self._decode(chunk, final=self._ended))
        grown = sum(map(len, parts)) > len(parts[0])
        self._text = "".join(parts)
        self._at = 0
        return grown
