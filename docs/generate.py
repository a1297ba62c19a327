"""Make man/, completions/ and the generated pages of docs/ anew, or with --check say which are not fresh.

What is made depends on the program only: no date, no width of a terminal, no path.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ckptctl.formats._base import Format
from ckptctl.known import known_formats
from docs import completions, manpages, policypage

ROOT = Path(__file__).parents[1]
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
    made = {
        "docs/formats.md": formats_page(),
        "man/ckptctl-policy.5": policypage.policy_page(),
        **{f"man/{name}": text for name, text in manpages.pages().items()},
        **{f"completions/{name}": text for name, text in completions.scripts().items()},
    }
    return {ROOT / name: text for name, text in made.items()}


def strangers(wanted: Mapping[Path, str]) -> list[Path]:
    """Return what lies among the generated files and is none: the page of a command that is gone."""
    there = [path for name in ("man", "completions") for path in (ROOT / name).iterdir()]
    return sorted(path for path in there if path not in wanted)


def main(arguments: list[str]) -> int:
    """Write what is not fresh, or only name it; return the exit code."""
    check = arguments == ["--check"]
    wanted = pages()
    fresh = {path: text for path, text in wanted.items() if not _holds(path, text)}
    gone = strangers(wanted)
    for path in [*fresh, *gone]:
        state = "not fresh; `make docs` makes it anew" if check else "made anew"
        print(f"{path.relative_to(ROOT)}: {state}")
    if not check:
        for path, text in fresh.items():
            path.write_text(text)
        for path in gone:
            path.unlink()
    return 1 if check and (fresh or gone) else 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
