"""Regular expressions that are compiled when they are first used.

Every command imports every format, and compiling all their expressions would be a tenth of the time
that a small `list` takes; it uses a few of them.
"""

from __future__ import annotations

import re
from typing import AnyStr, cast

_USED = ("findall", "finditer", "flags", "fullmatch", "match", "pattern", "search", "split", "sub")


class _Later:
    """Stands for a compiled expression, and has all that it has from the first use on."""

    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> object:
        compiled = re.compile(self._source, self._flags)
        for each in _USED:
            setattr(self, each, getattr(compiled, each))
        return getattr(compiled, name)


def later(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return an expression like `re.compile`, that is compiled when it is first used."""
    return cast("re.Pattern[AnyStr]", _Later(source, flags))
