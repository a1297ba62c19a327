"""What the Trainer writes into `trainer_state.json`.

Source: transformers, trainer_callback.py `TrainerState.save_to_json`; PaddleNLP has the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ckptctl.formats._hf_parts import STATE
from ckptctl.formats._json_files import too_large, unread
from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.listing import Entry
from ckptctl.model import Metadata, Problem
from ckptctl.reading import FRAMEWORK_LIMIT, Reader, TooLargeError
from ckptctl.sidecar import as_number

_WANTED = ("global_step", "epoch", "best_model_checkpoint")


def read_state_file(reader: Reader, path: str, entry: Entry | None, step: int | None) -> Metadata:
    """Return what a `trainer_state.json` says; nothing where there is none.  Raises OSError."""
    if entry is None:
        return Metadata()
    try:
        return read_state(chunks_of(reader, path, entry.size), step)
    except TooLargeError:
        return unread(f"{path} {too_large(FRAMEWORK_LIMIT)}")


def read_state(chunks: Iterator[bytes], step: int | None) -> Metadata:
    """Return what `trainer_state.json` says of the checkpoint of a step.

    The file is the commit marker: one that is torn, or is of another step, is `missing`.  Every row
    of `log_history` with that step counts, a later one over an earlier.  Raises OSError.
    """
    metrics: dict[str, float] = {}

    def take(row: object) -> None:
        if isinstance(row, Mapping) and _count(row.get("step")) == step:
            metrics.update(_numbers(row))

    seen = 0

    def counted() -> Iterator[bytes]:
        nonlocal seen
        for chunk in chunks:
            seen += len(chunk)
            yield chunk

    try:
        state = read_object(counted(), {"log_history": take}, wanted=_WANTED)
    except (ValueError, RecursionError) as error:
        if not seen:
            return Metadata(missing=f"{STATE} is empty")
        text = f"{STATE} cannot be understood: {error}"
        return unread(text, missing=text)
    saved = _count(state.get("global_step"))
    if saved is None or step is None:
        return Metadata(missing=f"{STATE} states no global_step")
    if saved != step:
        return Metadata(missing=f"{STATE} is of step {saved}", step=saved)
    epoch, problems = _epoch(state.get("epoch"))
    best = state.get("best_model_checkpoint")
    return Metadata(
        step=saved,
        epoch=epoch,
        metrics=metrics,
        points_to=best if isinstance(best, str) and best else None,
        problems=problems,
    )


def _count(value: object) -> int | None:
    """Return a whole number as an int; None for anything else, booleans too."""
    number = as_number(value)
    whole = number is not None and math.isfinite(number) and number == int(number)
    return int(number) if number is not None and whole else None


def _epoch(value: object) -> tuple[float | None, tuple[Problem, ...]]:
    """Return the epoch, and the problem of one that is no number."""
    if value is None:
        return None, ()
    numbers = _numbers({"": value})
    if not numbers or not math.isfinite(numbers[""]):
        return None, (Problem("metadata-value", f"{STATE}: the epoch is no number"),)
    return numbers[""], ()


def _numbers(row: Mapping[object, object]) -> dict[str, float]:
    """Return the metrics of a row of the log: its numbers, without the two that place it."""
    return {
        key: float(number)
        for key, value in row.items()
        if isinstance(key, str)
        and key not in {"step", "epoch"}
        and (number := as_number(value)) is not None
    }
