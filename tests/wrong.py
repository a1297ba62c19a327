"""What is wrong with a checkpoint as far as names, its framework's metadata and structure tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ckptctl.formats._base import Format
from tests.claims import Tree, claims_of, findings_of, metadata_of
from tests.trees import make_tree


def wrong(kind: type[Format], root: Path) -> list[str]:
    """Return all that is wrong with the one checkpoint below a directory, or that there is none."""
    claims = claims_of(kind, root).values()
    if not claims:
        return ["nothing is taken for a checkpoint"]
    (claim,) = claims
    said = metadata_of(kind, root)
    found = [finding.text for finding in findings_of(kind, root)]
    return [text for text in (claim.missing, said.missing, *found) if text]


def torn(kind: type[Format], root: Path, tree: Tree, *, but: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield each way to tear a checkpoint that nothing notices: a file less, or half of one.

    `but` are files that do not belong to it.
    """
    for number, (path, content) in enumerate(tree.items()):
        if path in but:
            continue
        less = {name: data for name, data in tree.items() if name != path}
        half = {**tree, path: content[: len(content) // 2]}
        for how, left in (("without", less), ("half of", half), ("empty", {**tree, path: b""})):
            where = make_tree(root / f"{number}-{how.replace(' ', '-')}", left)
            if not wrong(kind, where):
                yield f"{how} {path}"
