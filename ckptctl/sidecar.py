"""Sidecar JSON: what a user's training loop says of a checkpoint; section 3 of the contract."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from ckptctl.model import Metadata, Problem
from ckptctl.patterns import later
from ckptctl.reading import digits_only, too_many_values
from ckptctl.units import parse_time

STEP_KEYS = ("step", "global_step", "iteration")
TIME_KEYS = ("saved_at", "timestamp", "time")
_KNOWN = frozenset((*STEP_KEYS, *TIME_KEYS, "epoch", "metrics", "tags", "pinned", "resumable"))

_FRAMEWORKS = later(rb'"(?:sharded_backend|is_temporary)"')


def parse_object(content: bytes) -> Mapping[str, object] | str:
    """Return a JSON object; or a text that says why the content is none.

    Bare `NaN` and `Infinity` are read, as Python writes them.
    """
    if too_many_values(content):
        return "holds too many values to be read"
    try:
        value = json.loads(content)
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        if digits_only(error):
            return "holds a number of thousands of digits, which is not read"
        return f"is no JSON ({error})" if content.strip() else "is empty"
    return value if isinstance(value, dict) else f"holds a JSON {_kind(value)}, no object"


def parse_sidecar(path: str, content: bytes) -> Metadata:
    """Return what one sidecar says; what cannot be understood is a problem, never an exception."""
    value = parse_object(content)
    if isinstance(value, str):
        text = f"{path} {value}"
        return Metadata(unread=text, problems=(Problem("sidecar-unreadable", text),))
    return metadata_of(path, value)


def metadata_of(path: str, value: Mapping[str, object]) -> Metadata:
    """Return what an object of a sidecar's keys says; `path` is what problems name."""
    return _Sidecar(path, value).metadata()


def is_frameworks(path: str, content: bytes) -> bool:
    """Whether a `metadata.json` is a framework's own, wherever it lies; such a one is no sidecar.

    Megatron Core and Levanter write it: megatron/core/dist_checkpointing/core.py
    `CheckpointingConfig`, levanter/checkpoint.py `save_metadata`.  One in which a user pinned or
    tagged the checkpoint is still heard.
    """
    if path.rpartition("/")[2] != "metadata.json" or not _FRAMEWORKS.search(content):
        return False  # told without parsing, as nearly all are
    value = parse_object(content)
    return not isinstance(value, str) and bool(
        value.keys() & {"sharded_backend", "is_temporary"} and not value.keys() & {"pinned", "tags"}
    )


def as_number(value: object) -> float | None:
    """Return a JSON number that a float can hold; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        float(value)
    except OverflowError:
        return None
    return value


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "number"


class _Sidecar:
    """Reads one sidecar's object, collecting problems."""

    def __init__(self, path: str, value: Mapping[str, object]) -> None:
        self.path = path
        self.value = value
        self.problems: list[Problem] = []
        self.unread: str | None = None

    def metadata(self) -> Metadata:
        return Metadata(
            step=self._step(),
            epoch=self._epoch(),
            saved_ns=self._saved(),
            metrics=self._metrics(),
            tags=self._tags(),
            pinned=self._flag("pinned", keeps=True) or False,
            resumable=self._flag("resumable", keeps=False),
            unread=self.unread,
            problems=tuple(self.problems),
        )

    def _wrong(self, key: str, wanted: str) -> None:
        shown = json.dumps(self.value[key], default=str)[:60]
        self.problems.append(
            Problem("sidecar-value", f"{self.path}: {key} is {shown}, not {wanted}")
        )

    def _step(self) -> int | None:
        for key in STEP_KEYS:
            if (value := self.value.get(key)) is None:
                continue
            number = as_number(value)
            if number is not None and math.isfinite(number) and number == int(number):
                return int(number)
            self._wrong(key, "a whole number")
        return None

    def _epoch(self) -> float | None:
        if (value := self.value.get("epoch")) is None:
            return None
        number = as_number(value)
        if number is not None and math.isfinite(number):
            return number
        self._wrong("epoch", "a number")
        return None

    def _saved(self) -> int | None:
        for key in TIME_KEYS:
            if (value := self.value.get(key)) is None:
                continue
            try:
                return parse_time(value)
            except ValueError:
                self._wrong(key, "an RFC 3339 time or Unix seconds")
        return None

    def _metrics(self) -> dict[str, float]:
        found = {
            key: number
            for key, value in self.value.items()
            if key not in _KNOWN and (number := as_number(value)) is not None
        }
        stated = self.value.get("metrics")
        if isinstance(stated, dict):
            for key, value in stated.items():
                if (number := as_number(value)) is not None:
                    found[key] = number
                elif value is not None:
                    shown = json.dumps(value, default=str)[:60]
                    text = f"{self.path}: metrics.{key} is {shown}, not a number"
                    self.problems.append(Problem("sidecar-value", text))
        elif stated is not None:
            self._wrong("metrics", "an object")
        return found

    def _tags(self) -> tuple[str, ...]:
        value = self.value.get("tags")
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(tag, str) for tag in value):
            return tuple(value)
        self._wrong("tags", "a list of strings")
        self.unread = f"{self.path}: its tags cannot be understood"
        return ()

    def _flag(self, key: str, *, keeps: bool) -> bool | None:
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(key, "true or false")
        if keeps:
            self.unread = f"{self.path}: its {key} cannot be understood"
        return None
