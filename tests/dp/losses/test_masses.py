"""Masses between points, narrow and wide, against tails; and rounding's effect on losses, by differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from dp.losses.masses import gaussian_masses, mixed_rounding


@pytest.mark.parametrize("width", [1e-9, 1e-3, 0.09, 0.11, 3.0])
@pytest.mark.parametrize("start", [-6.0, -0.5, 0.0, 2.0])
def test_masses_of_cells_of_any_width(start, width):
    x = start + width * np.arange(4)
    found = gaussian_masses(x, 0.3, 1.7)
    z = (x - 0.3) / 1.7
    plain = ndtr(z[1:]) - ndtr(z[:-1])
    assert found == pytest.approx(plain, rel=1e-9, abs=3e-16)


def test_cells_without_width_hold_nothing():
    assert (gaussian_masses(np.array([1.0, 1.0, 1.0]), 0.0, 1.0) == 0).all()


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.3, 1.0])
def test_a_loss_moves_by_no_more_than_is_said(rate):
    """log(1 − q + q·u) when u errs by a relative 1e-6 up and down, and twice in a swap."""
    error = 1e-6
    u = np.geomspace(1e-4, 1e4, 200)
    up, down = (np.log1p(rate * (u * (1 + side * error) - 1)) for side in (1, -1))
    loss = np.log1p(rate * (u - 1))
    moved = np.maximum(np.abs(up - loss), np.abs(loss - down))
    assert (moved <= 1.001 * mixed_rounding(rate, np.abs(loss), error)).all()
