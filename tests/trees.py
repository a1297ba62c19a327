"""Directories as dict literals: what a test starts from, and what it finds afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path


def make_tree(root: Path, tree: Mapping[str, bytes | str], *, age: float | None = None) -> Path:
    """Write files below `root`; a str that begins with "-> " is a symlink, a name with "/" at its end a directory.

    With `age` every file and directory made gets that many seconds of age.
    """
    root.mkdir(parents=True, exist_ok=True)
    for name, content in tree.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    if age is not None:
        set_age(root, age)
    return root


def set_age(path: Path, seconds: float) -> None:
    """Make a file, or all below a directory, look as if it was last written that long ago."""
    then = time.time() - seconds
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (then, then), follow_symlinks=False)
        os.utime(folder, (then, then))
    if path.is_file():
        os.utime(path, (then, then))


def read_tree(root: Path) -> dict[str, bytes]:
    """Return every file below, with its content; links as "-> target"."""
    found: dict[str, bytes] = {}
    for folder, folders, files in os.walk(root):
        for name in files + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            path = Path(folder) / name
            key = str(path.relative_to(root))
            found[key] = (
                b"-> " + os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            )
    return found
