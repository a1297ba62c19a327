"""The formulas of how often to save, against published values and an independent search."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptctl.interval import daly_s, lost_s, mtbf_between, optimal_s, overhead, young_s

LLAMA = 4665600 / 419  # Llama 3 405B: 419 unexpected interruptions in 54 days
VECTORS = [
    # save, mtbf, restart, Young, Daly eq. 37, exact, overhead in percent
    (300, 86400, 600, 7200.000000, 7001.388889, 7001.404400, 9.5764),
    (300, 21600, 600, 3600.000000, 3402.777778, 3402.840120, 22.0433),
    (300, 900, 600, 734.846923, 548.455199, 549.990169, 400.8318),
    (5, LLAMA, 600, 333.692726, 330.367717, 330.367750, 8.7631),
    (30, LLAMA, 600, 817.376909, 797.499252, 797.500455, 13.6779),
    (60, LLAMA, 600, 1155.945511, 1116.291548, 1116.296368, 17.2951),
    (120, LLAMA, 600, 1634.753819, 1555.732559, 1555.751887, 22.6760),
    (600, LLAMA, 600, 3655.420665, 3266.363318, 3266.851168, 49.3543),
    (30, 4665600 / 466, 600, 775.061952, 755.190974, 755.192312, 14.8381),
    (60, 4665600 / 466, 600, 1096.103125, 1056.468054, 1056.473416, 18.7014),
    (60, 28440, 300, 1847.376518, 1807.593041, 1807.594924, 7.9196),
    (60, 6480, 300, 881.816307, 842.269917, 842.278215, 20.3864),
    (1, 10000, 0, 141.421356, 140.755475, 140.755477, 1.4276),
]


@pytest.mark.parametrize(("save", "mtbf", "restart", "young", "daly", "exact", "percent"), VECTORS)
def test_published_vectors_are_hit(
    save: float,
    mtbf: float,
    restart: float,
    young: float,
    daly: float,
    exact: float,
    percent: float,
) -> None:
    assert young_s(save, mtbf) == pytest.approx(young, rel=1e-8)
    assert daly_s(save, mtbf) == pytest.approx(daly, rel=1e-8)
    assert optimal_s(save, mtbf) == pytest.approx(exact, rel=1e-8)
    assert 100 * overhead(exact, save, mtbf, restart) == pytest.approx(percent, abs=6e-5)


@pytest.mark.parametrize(("hours", "minutes"), [(24, 116.6898), (6, 56.7130), (0.25, 9.1409)])
def test_the_answers_of_dalys_paper(hours: float, minutes: float) -> None:
    assert daly_s(300, hours * 3600) / 60 == pytest.approx(minutes, abs=5e-5)


@pytest.mark.parametrize(
    ("save", "mtbf", "daly"), [(200, 100, 100), (250, 100, 100), (199.999999, 100, 88.888889)]
)
def test_eq_37_jumps_where_a_save_costs_twice_the_mtbf(
    save: float, mtbf: float, daly: float
) -> None:
    assert daly_s(save, mtbf) == pytest.approx(daly, rel=1e-8)


@pytest.mark.parametrize(
    ("half", "percent"), [(0.001, -0.0001), (0.01, -0.003), (0.1, -0.12), (0.5, -1.8), (0.9, -5.1)]
)
def test_eq_37_is_off_the_exact_optimum_by_what_is_known(half: float, percent: float) -> None:
    off = 100 * (daly_s(2 * half, 1) / optimal_s(2 * half, 1) - 1)
    assert float(f"{off:.1g}" if half < 0.1 else f"{off:.2g}") == percent


def _lowest(cost: Callable[[float], float], low: float, high: float) -> float:
    """Golden section: knows nothing of the formula but its values."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(200):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if cost(left) < cost(right):
            high = right
        else:
            low = left
    return (low + high) / 2


@given(save=st.floats(1e-3, 1e5), mtbf=st.floats(1, 1e8), restart=st.floats(0, 1e4))
def test_the_exact_optimum_is_where_an_independent_search_finds_the_shortest_time(
    save: float, mtbf: float, restart: float
) -> None:
    def log_time(interval: float) -> float:
        """Log of Daly's wall time, up to a constant: it never overflows."""
        period = (interval + save) / mtbf
        growth = period + math.log(-math.expm1(-period))
        return restart / mtbf + growth - math.log(interval)

    exact = optimal_s(save, mtbf)
    found = _lowest(log_time, exact / 50, min(exact * 50, 40 * mtbf))
    # Around a minimum the time is flat: a search in doubles sees no more than half of the digits.
    flat = 3e-7 * math.sqrt(1 + mtbf / exact)
    assert exact == pytest.approx(found, rel=max(1e-5, flat))


@given(save=st.floats(1e-9, 1e9), mtbf=st.floats(1e-3, 1e12))
def test_the_exact_optimum_holds_its_equation_at_any_scale(save: float, mtbf: float) -> None:
    interval = optimal_s(save, mtbf)
    assert 0 < interval <= mtbf
    assert interval <= young_s(save, mtbf) * (1 + 1e-12)
    # 1 - x = exp(-(x + d)), as a logarithm: -log1p(-x) - x = d; alone x near 1 says nothing.
    x, d = interval / mtbf, save / mtbf
    if 1e-3 < x < 0.99:
        assert -math.log1p(-x) - x == pytest.approx(d, rel=1e-7)


def test_tiny_saves_come_to_youngs_optimum_and_not_to_noise() -> None:
    assert optimal_s(1e-9, 1e10) == pytest.approx(young_s(1e-9, 1e10), rel=1e-9)
    assert optimal_s(1e-6, 1e6) == pytest.approx(daly_s(1e-6, 1e6), rel=1e-12)


def test_a_job_that_cannot_make_headway_has_no_end() -> None:
    assert overhead(1e6, 60, 10) == math.inf
    assert lost_s(1e6, 60, 10) == 10


@given(interval=st.floats(1, 1e6), save=st.floats(0.1, 1e4), mtbf=st.floats(10, 1e9))
def test_a_failure_loses_less_than_half_a_period(interval: float, save: float, mtbf: float) -> None:
    assert 0 < lost_s(interval, save, mtbf) <= (interval + save) / 2 * (1 + 1e-9)


def test_what_a_failure_loses_is_the_mean_over_when_it_comes() -> None:
    interval, save, mtbf = 1000.0, 60.0, 800.0
    period, parts = interval + save, 100_000
    ats = [(n + 0.5) * period / parts for n in range(parts)]
    weights = [math.exp(-at / mtbf) for at in ats]
    mean = sum(at * weight for at, weight in zip(ats, weights, strict=True)) / sum(weights)
    assert lost_s(interval, save, mtbf) == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(
    ("failures", "least", "most"),
    [  # Garwood's limits of a Poisson mean, as tables print them
        (1, 0.0253, 5.5716),
        (2, 0.2422, 7.2247),
        (5, 1.6235, 11.6683),
        (10, 4.7954, 18.3904),
        (100, 81.3640, 121.6268),
    ],
)
def test_the_interval_of_a_few_failures_is_garwoods(
    failures: int, least: float, most: float
) -> None:
    low, high = mtbf_between(1000, failures)
    assert 1000 / high == pytest.approx(least, abs=5e-5)
    assert 1000 / low == pytest.approx(most, abs=5e-5)
    assert low < 1000 / failures < high


def test_no_failure_gives_only_a_lower_bound() -> None:
    low, high = mtbf_between(1000, 0)
    assert low == pytest.approx(1000 / 2.9957, rel=2e-5)
    assert high == math.inf


def test_many_failures_leave_little_doubt() -> None:
    low, high = mtbf_between(4665600, 419)
    assert LLAMA * 0.9 < low < LLAMA < high < LLAMA * 1.11
