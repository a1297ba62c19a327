"""Aligned columns of plain text: a hundred thousand rows take a second, which no rich table does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ckptctl.ui.printable import cells

GAP = "  "
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a person wants to see it; `colour` is False wherever escape codes must not appear."""

    width: int
    colour: bool
    now_ns: int
    verbose: bool

    def paint(self, shown: str, style: str) -> str:
        """Return the text in a style: a name of this module, or "" for none."""
        if not (self.colour and style and shown):
            return shown
        return f"\x1b[{_CODES[style]}m{shown}\x1b[0m"


def _plain(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A heading and its cells, made printable already."""

    head: str
    cells: Sequence[str]
    right: bool = False
    style: Callable[[str], str] = _plain
    width: int = field(init=False)

    def __post_init__(self) -> None:
        """Measure the widest cell, once."""
        width = max(cells(self.head), max(map(cells, self.cells), default=0))
        object.__setattr__(self, "width", width)

    def lines(self, look: Look) -> Iterator[str]:
        """Yield the heading and each cell, filled up to the width."""
        width = self.width
        yield self._fill(look.paint(self.head, "bold"), width - cells(self.head))
        for cell in self.cells:
            yield self._fill(look.paint(cell, self.style(cell)), width - cells(cell))

    def _fill(self, shown: str, missing: int) -> str:
        return " " * missing + shown if self.right else shown + " " * missing


def width_of(columns: Sequence[Column]) -> int:
    """Return how wide a row of these columns is."""
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def rows(columns: Sequence[Column], look: Look) -> Iterator[str]:
    """Yield the line of headings, then each row, without a line end."""
    for row in zip(*(column.lines(look) for column in columns), strict=True):
        yield GAP.join(row).rstrip()
