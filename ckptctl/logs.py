"""Metrics from a training log: CSV or JSON lines, joined to checkpoints by a number."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptctl.model import Unit
from ckptctl.sidecar import STEP_KEYS, as_number

_STEP_KEYS = (*STEP_KEYS, "iter", "steps", "current_steps")


@dataclass(frozen=True, slots=True)
class Log:
    """What the logs of a run say at each step and at each epoch; later rows win."""

    steps: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    epochs: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    bare: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """What rows that state no epoch say at each `step`, which are among `steps` too."""

    def at_epoch(self, number: int) -> Mapping[str, float]:
        """Return the metrics of an epoch where the `step` of a row without an epoch is one too.

        MMEngine logs a validation after each epoch so (mmengine, hooks/logger_hook.py).
        """
        return {**self.at(Unit.EPOCH, number), **self.bare.get(number, {})}

    def at(self, unit: Unit, number: int) -> Mapping[str, float]:
        """Return the metrics logged at a number of steps or epochs."""
        return (self.steps if unit is Unit.STEP else self.epochs).get(number, {})


def parse_log(content: bytes) -> Log:
    """Return what one log says.  ValueError where it is neither CSV nor JSON lines with a number."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("is no text") from None
    steps: dict[int, dict[str, float]] = {}
    epochs: dict[int, dict[str, float]] = {}
    bare: dict[int, dict[str, float]] = {}
    numbered = False
    for row in _rows(text):
        step = next(
            (found for key in _STEP_KEYS if (found := _whole(row.get(key))) is not None), None
        )
        epoch = _whole(row.get("epoch"))
        numbered = numbered or step is not None or epoch is not None
        metrics = {
            key: value for key, value in row.items() if key not in _STEP_KEYS and key != "epoch"
        }
        if step is not None:
            steps.setdefault(step, {}).update(metrics)
            if epoch is None:
                bare.setdefault(step, {}).update(metrics)
        if epoch is not None:
            epochs.setdefault(epoch, {}).update(metrics)
    if not numbered and text.strip():
        raise ValueError("has no column or key `step` or `epoch`")
    return Log(steps, epochs, bare)


def joined(logs: Iterable[Log]) -> Log:
    """Return several logs as one; later files win."""
    steps: dict[int, dict[str, float]] = {}
    epochs: dict[int, dict[str, float]] = {}
    bare: dict[int, dict[str, float]] = {}
    for log in logs:
        for rows, into in ((log.steps, steps), (log.epochs, epochs), (log.bare, bare)):
            for number, metrics in rows.items():
                into.setdefault(number, {}).update(metrics)
    return Log(steps, epochs, bare)


def _rows(text: str) -> Iterator[dict[str, float]]:
    """Yield the numbers of each row; a last line that is being written is left out."""
    if text.lstrip().startswith("{"):
        for line in text.splitlines():
            try:
                value = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                continue  # torn, or not meant for us: the other lines stand by themselves
            if isinstance(value, dict):
                yield {key: n for key, v in value.items() if (n := as_number(v)) is not None}
        return
    try:
        for record in csv.DictReader(io.StringIO(text)):
            yield {
                key.strip(): n for key, v in record.items() if key and (n := _number(v)) is not None
            }
    except csv.Error as error:
        raise ValueError(f"is no CSV ({error})") from None


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) and text.strip() else None
    except ValueError:
        return None


def _whole(value: float | None) -> int | None:
    if value is None or not math.isfinite(value) or value != int(value):
        return None
    return int(value)
