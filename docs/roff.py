"""Write man pages: plain macros of man(7), which groff and mandoc both render."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

_SPECIAL = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})  # fmt: skip
_MADE = '.\\" Made by docs/generate.py: do not edit.\n'
_MARKED = re.compile(r"`([^`]+)`|(?<![\w-])(--[a-z][a-z-]*[a-z])")


def plain(text: str) -> str:
    """Escape a text so that it appears as it is: a `-` as what can be pasted into a shell."""
    return text.translate(_SPECIAL)


def bold(text: str) -> str:
    """Return what is to be typed as it stands."""
    return rf"\fB{plain(text)}\fP"


def slanted(text: str) -> str:
    """Return what is to be replaced by a value."""
    return rf"\fI{plain(text)}\fP"


def prose(text: str) -> str:
    """Escape a sentence, with what stands in backticks, and each long option, in bold."""
    text, done, marked = " ".join(text.split()), 0, ""
    for found in _MARKED.finditer(text):
        marked += plain(text[done : found.start()]) + bold(found[1] or found[2])
        done = found.end()
    lines = textwrap.wrap(
        marked + plain(text[done:]), 78, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(map(_no_request, lines))


def _no_request(line: str) -> str:
    """Return a line that is text, whatever it begins with."""
    return rf"\&{line}" if line.startswith(".") else line


def page(title: str, section: int, parts: Iterable[str]) -> str:
    """Return a whole page of sections.

    It bears no date, so that it changes with the program only, and breaks no words, for most
    that are long are to be typed.
    """
    head = f'.TH {plain(title).upper()} {section} "" "ckptctl" "ckptctl manual"\n'
    return _MADE + head + ".nh\n.ad l\n" + "".join(parts)


def section(title: str, *parts: str) -> str:
    """Return a section of a page."""
    return f".SH {plain(title)}\n" + "".join(parts).removeprefix(".PP\n")


def subsection(title: str, *parts: str) -> str:
    """Return a part of a section under a title of its own."""
    return f".SS {plain(title)}\n" + "".join(parts).removeprefix(".PP\n")


def paragraphs(text: str) -> str:
    """Return paragraphs, which empty lines part."""
    return "".join(f".PP\n{prose(one)}\n" for one in text.split("\n\n") if one.strip())


def item(tag: str, *texts: str) -> str:
    """Return what a tag means; the tag is roff already, the texts are paragraphs."""
    first, *more = (prose(text) for text in texts)
    return f".TP\n{tag}\n{first}\n" + "".join(f".IP\n{text}\n" for text in more)


def block(text: str) -> str:
    """Return lines as they are: commands, a file."""
    return ".PP\n.EX\n" + "".join(f"{_no_request(plain(line))}\n" for line in text.splitlines()) + ".EE\n"  # fmt: skip


def see_also(pages: Sequence[tuple[str, int]]) -> str:
    """Return the section that leads to other pages."""
    return section("SEE ALSO", ",\n".join(f"{bold(name)}({number})" for name, number in pages) + "\n")  # fmt: skip
