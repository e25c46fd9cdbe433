"""Masses of Gaussians between points, and what their rounding does to losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TRIFLE", "gaussian_masses", "just_below_zero", "mixed_rounding"]

_EPS = float(np.finfo(np.float64).eps)
_SERIES_WIDTH = 0.1
_FARTHEST = 1e4
"""Deviations beyond which all masses are 0 in floats, and the series' powers might overflow."""
TRIFLE = 1e-6
"""A part of a loss's spread that is nothing beside it."""


def just_below_zero(spread: float) -> float:
    """A loss slightly below 0, at least as far as rounding moves the mean of losses that is 0."""
    return -(TRIFLE * spread + 1e-13)


def mixed_rounding(
    rate: float, losses: NDArray[np.float64], rounding: float
) -> NDArray[np.float64]:
    """What errors of two masses do to a loss log(1 − q + q·u) up to ±losses, where they err in u only.

    d loss/d log u = 1 − (1 − q)·e^(−loss); with two such terms (SwapPair) one is at most q/(1 − q).
    """
    if rate == 1:
        share = np.ones_like(losses)
    else:
        share = np.minimum(rate / (1 - rate) - np.expm1(math.log1p(-rate) - losses), 1.0)
    return rounding * share + 2 * _EPS * (1 + losses)


def gaussian_masses(x: NDArray[np.float64], mean: float, stddev: float) -> NDArray[np.float64]:
    """N(mean, stddev²) between successive points, with small relative error in cells of any width.

    Narrow cells by the midpoint series, whose next term is below 1e-16 of the first; the width is an
    exact difference and shared by all Gaussians of a pair, so that it cancels from their ratio.
    """
    z = (x - mean) / stddev
    with np.errstate(invalid="ignore", over="ignore"):
        width = (x[1:] - x[:-1]) / stddev
        mid = ((x[1:] + x[:-1]) / 2 - mean) / stddev
        narrow = (width * (1 + np.abs(mid)) < _SERIES_WIDTH) & (np.abs(mid) < _FARTHEST)
    out = np.zeros(len(width))
    m2, w2 = mid[narrow] ** 2, width[narrow] ** 2 / 4
    # Σ_k (w/2)^2k·He_2k(m)/(2k+1)!
    series = 1 + w2 * (
        (m2 - 1) / 6
        + w2 * (((m2 - 6) * m2 + 3) / 120 + w2 * (((m2 - 15) * m2 + 45) * m2 - 15) / 5040)
    )
    out[narrow] = np.exp(-m2 / 2) / math.sqrt(2 * math.pi) * width[narrow] * series
    wide = np.flatnonzero(~narrow)
    left, right = z[wide], z[wide + 1]
    # Tails are subtracted on the side where both are small, so that no digits cancel.
    near, far = ndtr(-np.abs(left)), ndtr(-np.abs(right))
    mass = np.where(right <= 0, far - near, np.where(left >= 0, near - far, 1.0 - near - far))
    out[wide] = np.maximum(mass, 0.0)  # rounding may leave less than 0
    return out
