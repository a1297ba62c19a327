"""The links of a run that a bucket cannot hold, noted in its state until a disk can have them again.

`pointers.json`: `{"schema": "ckptctl/pointers", "version": 1, "links": {"last.ckpt": "epoch=3.ckpt"}}`,
each path relative to the run, with the link's text.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping

from ckptctl.reading import NOT_UNDERSTOOD, SIDECAR_LIMIT, Reader, VanishedError

FILE = "pointers.json"
_SCHEMA = ("ckptctl/pointers", 1)


def dump_links(links: Mapping[str, str]) -> bytes:
    """Return the note as its file holds it."""
    return json.dumps(
        {"schema": _SCHEMA[0], "version": _SCHEMA[1], "links": dict(sorted(links.items()))}
    ).encode()


def parse_links(content: bytes) -> dict[str, str]:
    """Return the links in a note, without those whose path or text leaves the run.  ValueError."""
    try:
        said = json.loads(content)
        if (said["schema"], said["version"]) != _SCHEMA:
            raise ValueError(f"{FILE} is of another kind or version")
        links = said["links"].items()
    except NOT_UNDERSTOOD as error:
        raise ValueError(f"{FILE} cannot be understood: {error}") from error
    return {
        path: text
        for path, text in links
        if isinstance(text, str) and _stays(path, "") and _stays(text, path.rpartition("/")[0])
    }


def read_links(state: Reader) -> dict[str, str]:
    """Return the links that a state notes; none without a note.

    Raises OSError where it cannot be read or understood: it is not to be written over then.
    """
    try:
        return parse_links(state.read(FILE, SIDECAR_LIMIT))
    except (VanishedError, FileNotFoundError):
        return {}
    except ValueError as error:
        raise OSError(
            errno.EBADMSG, f"{error}; move it away, and links are noted anew", FILE
        ) from error


def _stays(path: str, base: str) -> bool:
    """Whether a relative path, walked from a directory of the run, never leaves the run."""
    deep = len([part for part in base.split("/") if part])
    for part in path.split("/"):
        deep += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if deep < 0:
            return False
    return bool(path) and not path.startswith("/") and "\0" not in path
