"""Distance of a sum of integer noise shares from one Gaussian on the grid (docs/privacy.md §4, §5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["coset_slack", "discrete_gaussian_tau", "rounded_gaussian_tau"]

_SHARES = 100_000
"""Largest number of shares that are summed one by one."""
_EPS = float(np.finfo(np.float64).eps)


def discrete_gaussian_tau(local_stddev: float, shares: int) -> float:
    """10·Σ_{k<n} e^(−2π²σ²k/(k+1)) (Kairouz, Liu, Steinke 2021, theorem 1)."""
    return 10 * _sum_over_shares(lambda decay: decay, local_stddev, shares)


def rounded_gaussian_tau(local_stddev: float, shares: int) -> float:
    """Σ_{k<n} 2·atanh η_k, η_k = 2·Σ_m e^(−2π²σ²m²k/(k+1)): valid on every coset (docs/privacy.md §4)."""
    return _sum_over_shares(_twice_atanh_eta, local_stddev, shares)


def coset_slack(variance: float) -> float:
    """2·atanh η(w): how far a Gaussian's sums over cosets differ, in logarithms (docs/privacy.md §4)."""
    return float(_twice_atanh_eta(np.exp(-2 * math.pi**2 * np.array([variance])))[0])


def _twice_atanh_eta(decay: NDArray[np.float64]) -> NDArray[np.float64]:
    if decay[0] >= 1 / 3:  # the decay falls with k; from this value on the bound is useless
        return np.full_like(decay, np.inf)
    return 2 * np.arctanh(2 * decay / (1 - decay))  # Σ_m x^(m²) ≤ Σ_m x^m


def _sum_over_shares(
    term: Callable[[NDArray[np.float64]], NDArray[np.float64]], local_stddev: float, shares: int
) -> float:
    if shares == 1:
        return 0.0
    k = np.arange(1, min(shares, _SHARES) + 0.0)
    total = float(term(np.exp(-2 * math.pi**2 * local_stddev**2 * k / (k + 1))).sum())
    # The terms fall with k, so each term that is left out is at most the mean of the counted ones.
    return total * (1 + _EPS) * max(1.0, (shares - 1) / (_SHARES - 1))
