"""What the tables of every command say beside their rows: titles, problems, errors, sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ckptctl.errors import CkptctlError
from ckptctl.model import Checkpoint, Problem
from ckptctl.report import RunReport
from ckptctl.ui import printable
from ckptctl.ui.columns import Look

_MOST = 20
"""Lines of one kind that are shown where nobody asked for all of them."""


def count(number: int, word: str) -> str:
    """Return a number with its word, in the plural where it is not one."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def epoch(value: float) -> str:
    """Return an epoch as people write it: whole where it is."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.6g}"


def total_bytes(checkpoints: Iterable[Checkpoint]) -> int:
    """Return the bytes of checkpoints together: each inode and shared sidecar once."""
    total = 0
    seen: set[object] = set()
    for checkpoint in checkpoints:
        total += checkpoint.bytes
        shared: dict[object, int] = {}
        for path, entry in checkpoint.files.items():
            if entry.links > 1 and entry.inode:
                shared[entry.device, entry.inode] = entry.size
            elif path in checkpoint.sidecars:
                shared[checkpoint.run, path] = entry.size
        total -= sum(size for key, size in shared.items() if key in seen)
        seen.update(shared)
    return total


def title(run: RunReport, look: Look) -> str:
    """Return the line above the table of one run of several."""
    return f"{look.paint(printable.name(run.name), 'bold')}  {printable.name(run.location)}"


def error(said: CkptctlError, look: Look) -> Iterator[str]:
    """Yield the lines of a run's error and its hint."""
    yield from _message("error: ", said.parts, "red", look)
    if said.hint:
        yield from _message("  hint: ", (said.hint,), "", look)


def failed(runs: Sequence[RunReport], look: Look) -> Iterator[str]:
    """Yield a line with the names of the runs that have an error, where there are any."""
    names = [run.name for run in runs if run.error is not None]
    if names:
        said = f"{count(len(names), 'run')} with an error: {listed(names, look)}"
        yield from folded("", said, look)


def problems(
    checkpoints: Iterable[Checkpoint], others: Sequence[Problem], look: Look
) -> Iterator[str]:
    """Yield a line for each problem, those of the run first; without --verbose only so many."""
    found = [(problem.text, problem.code) for problem in others]
    found += [
        (f"{printable.name(c.name)}: {problem.text}", problem.code)
        for c in checkpoints
        for problem in c.problems
    ]
    shown = found if look.verbose else found[:_MOST]
    for text, code in shown:
        yield from _message("! ", (f"{text} ({code})",), "yellow", look)
    if len(found) > len(shown):
        yield f"! and {count(len(found) - len(shown), 'more problem')}: -v or --json shows them all"


def listed(names: Sequence[str], look: Look, *, most: int = 5) -> str:
    """Return names after each other, only the first few of many."""
    shown = names if look.verbose else names[:most]
    rest = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return ", ".join(map(printable.name, shown)) + rest


def folded(begin: str, said: str, look: Look) -> Iterator[str]:
    """Yield a printable line broken at the width, what follows indented below its text."""
    indent = " " * printable.cells(begin)
    room = max(look.width - len(indent), 20)
    for index, line in enumerate(printable.wrap(said, room)):
        yield (indent if index else begin) + line


def note(said: str, look: Look) -> Iterator[str]:
    """Yield what is less important than the rest, dimmed."""
    yield from (look.paint(line, "dim") for line in folded("", said, look))


def shortened(look: Look) -> Iterator[str]:
    """Yield the note below a table that does not show all names whole."""
    yield from note("names are shortened here: -o paths or --json shows them whole", look)


def _message(begin: str, said: Sequence[str], style: str, look: Look) -> Iterator[str]:
    """Yield the lines of a text of several paragraphs; only its beginning stands at the left."""
    for index, paragraph in enumerate(said):
        start = begin if index == 0 else " " * len(begin)
        for number, line in enumerate(folded(start, printable.text(paragraph), look)):
            first = index == number == 0
            yield look.paint(begin, style) + line[len(begin) :] if first else line
