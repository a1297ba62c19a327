"""Make the generated pages of docs/ anew, or with --check say which are not fresh."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ckptctl.formats._base import Format
from ckptctl.group import known_formats

HERE = Path(__file__).parent
FORMATS_HEAD = """\
# Formats

<!-- made by docs/generate.py from ckptctl/formats/: do not edit -->

What `ckptctl` recognises, in the order in which it asks. Frameworks come first; plain tensor files and folders are
looked at only where no framework claims or owns a name. A layout of your own goes under `formats:` in the policy
(see [policy.md](policy.md)) and is asked before all of these. `ckptctl list --formats` prints the same list.
"""
MOST_FILES = 8


def formats_page() -> str:
    """Return docs/formats.md."""
    return FORMATS_HEAD + "".join(_section(kind) for kind in known_formats())


def _section(kind: Format) -> str:
    files = sorted(kind.example)
    shown = "\n".join(files[:MOST_FILES] + ["..."] * (len(files) > MOST_FILES))
    title = ", ".join(f"`{name}`" for name in kind.names())
    return f"\n## {title}\n\n{kind.summary}\n\n```text\n{shown}\n```\n\nSource: {kind.source}\n"


def pages() -> Mapping[Path, str]:
    """Return every generated page and what it has to hold."""
    return {HERE / "formats.md": formats_page()}


def main(arguments: list[str]) -> int:
    """Write what is not fresh, or only name it; return the exit code."""
    check = arguments == ["--check"]
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        print(f"{path.name}: {'not fresh; `make docs` makes it anew' if check else 'made anew'}")
        if not check:
            path.write_text(pages()[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
