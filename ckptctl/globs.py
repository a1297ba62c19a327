"""Globs for names of runs: `*` and `?` stop at `/`, `**` does not."""

from __future__ import annotations

import re

from ckptctl.patterns import later

_TOKEN = later(
    r"(?P<deep>(?:(?<=/)|^)\*\*/)|(?P<any>\*\*+)|(?P<star>\*)|(?P<one>\?)"
    r"|\[(?P<not>[!^]?)(?P<set>\][^\]/]*|[^\]/]+)\]|(?P<text>.)",
    re.DOTALL,
)


def matches(pattern: str, name: str) -> bool:
    """Whether a glob matches a whole name; `**/` as a whole part also matches no part at all.

    `[abc]` and `[!abc]` are sets, in which ranges work; nothing matches a `/` but `/` and `**`.
    """
    return (
        re.fullmatch("".join(_translate(found) for found in _TOKEN.finditer(pattern)), name)
        is not None
    )


def _translate(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "deep":
            return r"(?s:.*/)?"
        case "any":
            return r"(?s:.*)"
        case "star":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "set":
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", found["set"])
            return f"(?!/)[{'^' if found['not'] else ''}{inside}]"
        case _:
            return re.escape(found[0])
