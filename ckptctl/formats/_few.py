"""Of findings that an index can make thousands of, the first ones and how many more there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ckptctl.reading import Finding

_MOST = 100


def few(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first 100 findings; of more, one that says how many."""
    rest = iter(findings)
    yield from islice(rest, _MOST)
    last, count = None, 0
    for finding in rest:
        last, count = finding, count + 1
    if last is not None:
        text = last.text if count == 1 else f"{last.text}, and {count - 1:,} more are like it"
        yield last._replace(text=text)
