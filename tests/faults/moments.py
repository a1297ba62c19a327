"""At which of many moments a test lets something die or fail."""

from __future__ import annotations

from typing import Protocol


class Moments(Protocol):
    """Chooses moments; `pytest --every-moment` takes all of them, which .ci/run does."""

    def __call__(self, end: int, share: int = 0, shares: int = 1) -> range:
        """Those from 1 to before `end` that one of several tests takes, which share them."""


def every(step: int) -> Moments:
    """Choose each first of so many."""

    def choose(end: int, share: int = 0, shares: int = 1) -> range:
        return range(1 + share * step, end, shares * step)

    return choose
