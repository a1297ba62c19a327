"""By which metric to rank, and whether less or more of it is better."""

from __future__ import annotations

import re

from ckptctl.rules._base import Family, Metric, Mode

LESS_IS_BETTER = frozenset(
    [
        "loss", "ppl", "perplexity", "error", "err", "wer", "cer", "mae", "mse", "rmse", "nll", "bpb", "bpc", "eer", "der", "fid",
    ]
)  # fmt: skip
"""Words of a metric's name that make it `min`; section 4 of the contract."""

MORE_IS_BETTER = frozenset(
    [
        "acc", "accuracy", "f1", "auc", "bleu", "rouge", "rougel", "map", "iou", "miou", "dice", "recall",
        "precision", "reward", "score", "r2", "em", "success", "top", "psnr", "ssim", "ndcg", "mrr",
    ]
)  # fmt: skip
"""Words of a metric's name that make it `max`."""


def mode_of(name: str) -> Mode | None:
    """Return the mode that the words of a name tell; None where they tell none, or both.

    `map50` counts as `map`, `f1` as it is; `valLoss` is one word, and tells nothing.
    """
    words: set[str] = set()
    for word in re.findall(r"[^\W_]+", name.lower()):
        words |= {word, word.rstrip("0123456789")}
    less, more = not words.isdisjoint(LESS_IS_BETTER), not words.isdisjoint(MORE_IS_BETTER)
    if less == more:
        return None
    return Mode.MIN if less else Mode.MAX


def parse_metric(text: str) -> Metric:
    """Return what `NAME`, `NAME:min` or `NAME:max` means; a name may hold colons of its own.

    ValueError where there is no name.
    """
    name, _, mode = text.rpartition(":")
    metric = Metric(name, Mode(mode)) if ":" in text and mode in tuple(Mode) else Metric(text)
    if not metric.name.strip():
        raise ValueError(f"must be NAME, NAME:min or NAME:max, not {text!r}")
    return metric


def with_mode(metric: Metric) -> Metric:
    """Return the metric with the mode that is given, or else that its name tells.

    ValueError where neither does: a guess would keep the worst.
    """
    mode = metric.mode or mode_of(metric.name)
    if mode is None:
        raise ValueError(
            f"cannot tell whether less or more {metric.name} is better: "
            f"give the mode, as in {metric.name}:min or {metric.name}:max"
        )
    return Metric(metric.name, mode)


def in_doubt(family: Family, metric: Metric) -> frozenset[str]:
    """Return the members of the complete checkpoints whose 0 is not ranked.

    Lightning writes `name=0` where nothing was logged.  Such a 0 is believed only where it does not
    rank before all values of its family that are not 0.  The metric has its mode.
    """
    name, less = metric.name, metric.mode is Mode.MIN
    complete = [checkpoint for place in family.places for checkpoint in place.checkpoints]
    zeros = [c.member for c in complete if name in c.zeros and c.value(name) == 0]
    if not zeros:
        return frozenset()
    others = [value for c in complete if (value := c.value(name))]
    first = all(value > 0 if less else value < 0 for value in others)
    return frozenset(zeros) if first else frozenset()


def values(family: Family, metric: Metric) -> list[float | None]:
    """Return the best value of each place, None where there is none to rank.

    Ranked are finite values that are not `in_doubt`.  The metric has its mode.
    """
    doubts = in_doubt(family, metric)
    better = min if metric.mode is Mode.MIN else max
    found: list[float | None] = []
    for place in family.places:
        own = [
            value
            for checkpoint in place.checkpoints
            if (value := checkpoint.value(metric.name)) is not None
            and checkpoint.member not in doubts
        ]
        found.append(better(own) if own else None)
    return found
