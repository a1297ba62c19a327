"""How often to save: Young's and Daly's optimum, the exact one, and what each costs.

One model for all (J. T. Daly, FGCS 22 (2006) 303-312): failures come at random, on average one in
`mtbf` seconds; a save stops the job for `save_cost` seconds; after a failure a restart takes
`restart_cost` seconds, and what was computed since the last save is computed again.  Results are
seconds of computing between two saves, so that a period is that plus the save.
"""

from __future__ import annotations

import math

_SMALL = 0.5
"""Below it a series is exact where the plain formula would lose digits."""


def young_s(save_cost: float, mtbf: float) -> float:
    """Return Young's first-order optimum (CACM 17(9), 1974): good while a save costs little."""
    return math.sqrt(2 * save_cost) * math.sqrt(mtbf)


def daly_s(save_cost: float, mtbf: float) -> float:
    """Return Daly's higher-order optimum (2006, eq. 37).

    It jumps by a ninth where a save costs twice the time between failures; from there on it is
    that time.
    """
    if save_cost >= 2 * mtbf:
        return mtbf
    half = save_cost / (2 * mtbf)
    return young_s(save_cost, mtbf) * (1 + math.sqrt(half) / 3 + half / 9) - save_cost


def optimal_s(save_cost: float, mtbf: float) -> float:
    """Return the exact optimum of Daly's model, mtbf * (1 + W0(-exp(-1 - save_cost / mtbf))).

    With `s` the period and `d` the save, both in units of mtbf, it is where
    s - 1 + exp(-s) = d.  That function is convex and grows, so Newton's steps reach the root from
    the right and stop; the interval is then 1 - exp(-s), which loses no digit at either end.
    """
    cost = save_cost / mtbf
    period = cost + min(1.0, math.sqrt(2 * cost))
    for _ in range(100):
        step = (_rest(period) - cost) / -math.expm1(-period)
        if abs(step) <= 1e-16 * period:
            break
        period -= step
    return mtbf * -math.expm1(-period)


def _rest(period: float) -> float:
    """Return period - 1 + exp(-period), to the last digits for small ones too."""
    if period > _SMALL:
        return period + math.expm1(-period)
    term, total, power = period * period / 2, 0.0, 2
    while abs(term) > 1e-18 * total:
        total += term
        power += 1
        term *= -period / power
    return total


def overhead(interval: float, save_cost: float, mtbf: float, restart_cost: float = 0.0) -> float:
    """Return by which part a job takes longer than its computing: saves, lost work and restarts.

    Infinite where it would hardly ever end.
    """
    try:
        growth = math.expm1((interval + save_cost) / mtbf) * math.exp(restart_cost / mtbf)
    except OverflowError:
        return math.inf
    return mtbf / interval * growth - 1


def lost_s(interval: float, save_cost: float, mtbf: float) -> float:
    """Return the seconds that a failure takes back on average: those since the last whole save.

    A little less than half a period, since a failure is likelier early in a long one.
    """
    period = (interval + save_cost) / mtbf
    if period < 1e-4:  # noqa: PLR2004 - where the next term of the series is below 1e-13
        return mtbf * (period / 2 - period * period / 12)
    try:
        return mtbf * (1 - period / math.expm1(period))
    except OverflowError:
        return mtbf


def mtbf_between(observed: float, failures: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return between which mean times a number of failures in `observed` seconds leaves us.

    The exact interval for a Poisson count (Garwood 1936), half of the doubt at each end.  Without
    any failure there is no upper end, and all of the doubt is at the lower one: at 95 % the mean
    time is at least observed / 2.9957.
    """
    doubt = 1 - confidence
    if failures == 0:
        return observed / -math.log(doubt), math.inf
    most = _mean_where(failures, doubt / 2)
    least = _mean_where(failures - 1, 1 - doubt / 2)
    return observed / most, observed / least


def _mean_where(count: int, probability: float) -> float:
    """Return the mean of a Poisson number that is at most `count` with that probability."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(200):
        middle = (low + high) / 2
        if _at_most(count, middle) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    """Return how likely a Poisson number with that mean is at most `count`."""
    if mean <= 0:
        return 1.0
    log = math.log(mean)
    return math.fsum(math.exp(k * log - mean - math.lgamma(k + 1)) for k in range(count + 1))
