"""Estimates out of noisy sums: what is withheld, and what is exact without noise."""

import numpy as np
import pytest

from fedavg.statistics.noise.consistent import Estimates
from fedavg.statistics.noise.intervals import Moments, correlation_of, count_figure, quantiles_of

RNG = np.random.default_rng(11)
VALUES = RNG.uniform(-1, 1, 500) ** 3
BOUNDS = (10.0, 30.0)


def _moments(variance=0.0, present=500.0):
    return Moments(
        float(VALUES.sum()), float((VALUES**2).sum()), variance, present, variance, 0.0, BOUNDS, 5
    )


def test_without_noise_moments_are_those_of_the_sample():
    mean, variance, deviation = _moments().figures(1.96)
    natural = 20 + 10 * VALUES
    assert mean.value == pytest.approx(natural.mean())
    assert variance.value == pytest.approx(natural.var(ddof=1))
    assert deviation.value == pytest.approx(natural.std(ddof=1))
    assert mean.low == pytest.approx(mean.high)


@pytest.mark.parametrize("moments", [_moments(present=3.0), _moments(variance=150.0**2)])
def test_moments_of_few_rows_or_under_much_noise_are_withheld(moments):
    assert [figure.withheld for figure in moments.figures(1.96)] == ["the noise drowns it"] * 3


def test_a_count_below_zero_stays_unbiased_and_its_interval_does_not():
    figure = count_figure(-3.0, 4.0, 2.0)
    assert (figure.value, figure.low, figure.high) == (-3.0, 0.0, 1.0)


@pytest.mark.parametrize("level", [0.001, 0.05, 0.5, 0.77, 0.999])
def test_without_noise_a_quantile_is_in_its_interval_and_the_interval_is_short(level):
    counts, edges = np.histogram(VALUES, bins=64, range=(-1, 1))
    leaves = Estimates.independent(counts.astype(float), 0.0)
    (found,) = quantiles_of(leaves, edges, (level,), 1.96, 5)
    want = np.quantile(VALUES, level, method="inverted_cdf")
    assert found.figure.low <= want <= found.figure.high
    assert found.figure.low <= found.figure.value <= found.figure.high
    assert found.figure.high - found.figure.low <= 3 * (edges[1] - edges[0])


def test_a_correlation_without_noise_is_that_of_numpy():
    x, y = VALUES, 0.5 * VALUES + RNG.normal(0, 0.1, 500)
    sums = np.array([500, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
    assert correlation_of(sums, 0.0, 1.96, 5).value == pytest.approx(np.corrcoef(x, y)[0, 1])
    drowned = correlation_of(sums, 400.0, 1.96, 5)
    assert drowned.withheld == "the noise drowns it"
    assert drowned.value is None
