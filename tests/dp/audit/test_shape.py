"""The allowance for integer laws covers them; levels and shares of right and wrong shapes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from dp import sample_rounded_gaussian
from dp.audit import shape
from tests.dp.audit.test_energy import LAWS, shares

CASES = [
    (law, stddev)
    for law in LAWS
    for stddev in (0.5, 0.7, 1.0, 1.3, 2.0, 5.0, 20.0, 100.0)
    if law is not shares or stddev >= 1
]


@pytest.mark.parametrize(("law", "stddev"), CASES)
def test_the_allowance_covers_every_law(law, stddev):
    """Against the law summed value by value, with the deviation that it really has."""
    reach = int(14 * stddev) + 20
    probabilities = law(stddev, reach)
    values = np.arange(-reach, reach + 1)
    # a rounded Gaussian is at or below k exactly where the Gaussian is at or below k + 1/2
    spreads = [stddev, float(np.sqrt(probabilities @ values**2.0))]
    gaps = [np.abs(np.cumsum(probabilities) - ndtr((values + 0.5) / s)).max() for s in spreads]
    assert min(gaps) <= min(0.5, shape._ALLOWANCE / stddev**2)


def test_right_noise_fits_and_its_magnitudes_do_not():
    noise = sample_rounded_gaussian(20.0, 40_000).reshape(4, 10_000).astype(float)
    assert shape.misfits(noise, 20.0, 1e-6) == (None, {})
    assert shape.misfits(3 * noise, 20.0, 1e-6) == (None, {})  # stronger noise, on a coarser grid
    whole, apart = shape.misfits(np.abs(noise), 20.0, 1e-6)
    assert whole is not None
    assert whole.share == 0
    assert whole.low > 0
    assert list(apart) == [0, 1, 2, 3]


def test_one_round_of_another_shape_is_named():
    noise = sample_rounded_gaussian(20.0, 40_000).reshape(4, 10_000).astype(float)
    noise[2] = np.sign(noise[2] + 0.5) * 20
    _, apart = shape.misfits(noise, 20.0, 1e-6)
    assert list(apart) == [2]


@pytest.mark.parametrize("fill", [1e9, -1e9, 20.0, 13.5])
def test_equal_entries_of_any_size_are_misfits(fill):
    """But zeros: they are what weak noise looks like, and are called weak."""
    assert shape.misfits(np.full((1, 4000), fill), 20.0, 1e-6)[0] is not None


def test_noise_off_the_grid_needs_no_allowance():
    """Laplace noise of the same median magnitude: its body and tails differ by up to 4 %."""
    ranks = (np.arange(40_000) + 0.5) / 40_000
    laplace = np.where(ranks < 0.5, np.log(2 * ranks), -np.log(2 - 2 * ranks))[None]
    assert shape.misfits(laplace, 1.0, 1e-6)[0] is not None
    assert shape.misfits(laplace / 1000, 0.001, 1e-6)[0] is not None


def test_too_few_entries_on_a_coarse_grid_tell_nothing():
    assert shape.misfits(np.zeros((1, 16)), 0.25, 0.5) == (None, {})
