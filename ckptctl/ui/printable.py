r"""Text that a terminal can be given: what it would obey or hide is shown as an escape.

`name` is for names and paths, and cannot be misread: a backslash of its own is doubled, a space at
either end is `\x20`.  `\x80` and above is a byte that is no UTF-8; a character is `\u0085`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ckptctl.patterns import later

# Unicode's Default_Ignorable_Code_Point where str.isprintable() says True, and the blank U+2800.
_INVISIBLE = later(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
ELLIPSIS = "…"


def text(said: str) -> str:
    """Return one line of text with everything that is not plainly visible escaped."""
    if said.isprintable() and (said.isascii() or not _INVISIBLE.search(said)):
        return said
    return "".join(map(_visible, said))


def name(said: str) -> str:
    """Return a name or path so that two different ones never look the same."""
    shown = text(said.replace("\\", "\\\\"))
    if shown[:1] == " " or shown[-1:] == " ":
        core = shown.strip(" ")
        before = len(shown) - len(shown.lstrip(" "))
        return "\\x20" * before + core + "\\x20" * (len(shown) - before - len(core))
    return shown


def _visible(char: str) -> str:
    if char.isprintable() and not _INVISIBLE.match(char):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - how PEP 383 spells an undecodable byte
        return f"\\x{code - 0xDC00:02x}"
    if char.isascii():
        return _SHORT.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def cells(shown: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(shown) if shown.isascii() else sum(map(_cells, shown))


@lru_cache(maxsize=4096)
def _cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def head(shown: str, room: int) -> str:
    """Return the longest beginning that takes at most `room` columns."""
    if shown.isascii():
        return shown[: max(room, 0)]
    used = 0
    for index, char in enumerate(shown):
        used += _cells(char)
        if used > room:
            return shown[:index]
    return shown


def elide(shown: str, room: int) -> str:
    """Return a text that takes at most `room` columns, its middle left out where it must be."""
    if cells(shown) <= room:
        return shown
    end = head(shown[::-1], room // 2)[::-1]
    return head(shown, room - 1 - cells(end)) + ELLIPSIS + end


def elide_all(names: Sequence[str], room: int) -> list[str]:
    """Shorten names to `room` columns so that different ones stay different.

    Where the middle is what tells them apart it is the beginning that they share that goes; where
    that is not enough either they are left whole.
    """
    different = len(set(names))
    shared = _shared(name for name in set(names) if cells(name) > room)
    middle = [elide(name, room) for name in names]
    if len(set(middle)) == different:
        return middle
    around = [_from(name, max(shared - room // 3, 0), room) for name in names]
    return around if len(set(around)) == different else list(names)


def _shared(names: Iterable[str]) -> int:
    """Return the length of the beginning that all names share."""
    ordered = sorted(names)
    if not ordered:
        return 0
    pairs = zip(ordered[0], ordered[-1], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(ordered[0]))


def _from(name: str, start: int, room: int) -> str:
    """Return what stands at `start` and after it, of a name that takes more than `room`."""
    if cells(name) <= room:
        return name
    rest = ELLIPSIS + name[start:]
    return rest if cells(rest) <= room else head(rest, room - 1) + ELLIPSIS


def wrap(said: str, room: int) -> list[str]:
    """Break a text into lines between its words; a word longer than a line is left whole."""
    if cells(said) <= room:
        return [said]
    lines: list[str] = []
    line, used = "", 0
    for word in said.split(" "):
        size = cells(word)
        if line and used + 1 + size > room:
            lines.append(line)
            line, used = word, size
        else:
            line, used = (f"{line} {word}", used + 1 + size) if line else (word, size)
    return [*lines, line]


def pack(parts: Sequence[str], room: int) -> list[str]:
    """Join parts by `; ` into lines, broken between parts where that is enough."""
    whole = "; ".join(parts)
    if cells(whole) <= room:
        return [whole]
    lines: list[str] = []
    for index, part in enumerate(parts):
        said = f"{part};" if index < len(parts) - 1 else part
        if lines and cells(lines[-1]) + 1 + cells(said) <= room:
            lines[-1] += f" {said}"
        else:
            lines += wrap(said, room)
    return lines
