"""How callers write down what they tell each other: one JSON object of a known kind, and read again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ckptctl.reading import NOT_UNDERSTOOD

Schema = tuple[str, int]
"""The kind of a note, and its version."""

_T = TypeVar("_T")


class NoteError(ValueError):
    """A note cannot be understood, so what its caller has said is unknown."""


def written(schema: Schema, said: Mapping[str, object]) -> bytes:
    """Return what is said as its file holds it."""
    return json.dumps({"schema": schema[0], "version": schema[1], **said}).encode()


def understood(content: bytes, schema: Schema, made: Callable[[Mapping[str, Any]], _T]) -> _T:
    """Return what `made` makes of a note.  NoteError where that cannot be, whoever wrote it."""
    try:
        said = json.loads(content)
        known = (said["schema"], said["version"]) == schema
        result = made(said) if known else None
    except NoteError:
        raise
    except NOT_UNDERSTOOD as error:
        raise NoteError(f"cannot be understood ({type(error).__name__}: {error})") from error
    if result is None:
        raise NoteError("is of a version that this ckptctl cannot read")
    return result


def inside(path: object) -> str:
    """Return a path within a run.  NoteError where it leads out of it."""
    if not isinstance(path, str) or {"", ".", ".."} & {*path.split("/")} or "\0" in path:
        raise NoteError(f"names {path!r}, which is no path within a run")
    return path
