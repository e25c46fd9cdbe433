"""Moments of gridded losses, many at once, and windows that leave out no more than they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp.composition.tilting import Tilted, log_moment, log_moments, window


def test_many_moments_are_those_one_by_one() -> None:
    rng = np.random.default_rng(3)
    values, mass = rng.normal(size=300), rng.dirichlet(np.ones(300))
    ts = np.array([1e-9, 0.3, 20.0, 1e6])
    one_by_one = [log_moment(values, mass, float(t)) for t in ts]
    assert log_moments(values, mass, ts) == pytest.approx(one_by_one, rel=1e-13)


@pytest.mark.parametrize("count", [1, 40])
def test_a_window_leaves_out_no_more_than_it_says(count: int) -> None:
    """A coin of two places: the sum of `count` is binomial, so its tails are known exactly."""
    step, outside = 0.5, math.log(1e-6)
    coin = Tilted(
        np.array([0, 1]), np.array([0.7, 0.3]), 0.0, 0.3 * step, 0.21 * step**2, 0.0, count
    )
    span = window([coin], step, outside)
    chances = [math.comb(count, k) * 0.3**k * 0.7 ** (count - k) for k in range(count + 1)]
    away = [step * (k - 0.3 * count) for k in range(count + 1)]
    assert sum(p for p, a in zip(chances, away, strict=True) if a > span.above) <= 1e-6
    assert sum(p for p, a in zip(chances, away, strict=True) if a < -span.below) <= 1e-6
    assert span.outside == pytest.approx(2e-6)
