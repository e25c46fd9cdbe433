"""Strength of noise: whether a sum of squares is too small for independent entries of a stated deviation.

Chernoff's bound: P[Σx² ≤ e] ≤ exp(λ·e)·E[exp(−λx²)]^n at any λ ≥ 0.  The moment is the largest among a
Gaussian, a discrete Gaussian, a rounded Gaussian and a Skellam variable of this deviation, so that the bound
holds for each of them, for any number of entries, and for stronger noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ive, ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Weakness"]

_SUMMED = 64.0
"""Up to this deviation, moments of integer laws are summed value by value."""
_LARGEST_TILT = 0.5
"""Beyond _SUMMED: tilted laws have at least this deviation, so that the grid has no effect."""
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Weakness:
    """Evidence from energies against noise of one deviation.

    Args:
        stddev: stated standard deviation, in grid units.
    """

    stddev: float

    def log_p_value(self, energy: float, entries: int) -> float:
        """Log of a bound on the probability of this little energy.

        Args:
            energy: Σx².
            entries: number of summed entries.
        """
        variance = self.stddev**2
        ratio = max(energy / (entries * variance), 1e-12)
        if ratio >= 1:
            return 0.0
        # The tilt that is best for a Gaussian; the bound holds at any tilt.
        tilt = (1 / ratio - 1) / (2 * variance)
        if self.stddev > _SUMMED:
            tilt = min(tilt, _LARGEST_TILT)
        return min(0.0, tilt * energy + entries * self._log_moment(tilt))

    def limit(self, entries: int, alarm: float) -> float:
        """The largest energy with a p-value of at most `alarm`; negative if even zero has none."""
        log_alarm = math.log(alarm)
        if self.log_p_value(0.0, entries) > log_alarm:
            return -1.0
        low, high = 0.0, entries * self.stddev**2
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            rare = self.log_p_value(middle, entries) <= log_alarm
            low, high = (middle, high) if rare else (low, middle)
        return low

    def _log_moment(self, tilt: float) -> float:
        """The largest log E[exp(−tilt·x²)] of the laws."""
        variance = self.stddev**2
        gaussian = -0.5 * math.log1p(2 * tilt * variance)
        if self.stddev > _SUMMED:
            # Skellam's by Edgeworth's expansion: 1 + E[He₄]/24v, He₄ under the tilted law
            spread = 1 - 1 / (1 + 2 * tilt * variance)
            return gaussian + (spread**2 / 8 + 1e-3) / variance
        values, laws = _laws(self.stddev)
        moments = laws @ np.exp(-tilt * values**2)
        return max(gaussian, math.log(min(float(moments.max()), 1.0)))


@lru_cache(maxsize=16)
def _laws(stddev: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitudes, and their probabilities under each integer law of this deviation, one row a law."""
    values = np.arange(math.ceil(12 * stddev) + 20, dtype=np.float64)
    discrete = np.exp(-(values**2) / (2 * stddev**2))
    rounded = ndtr((0.5 - values) / stddev) - ndtr((-0.5 - values) / stddev)
    skellam = ive(values, stddev**2)
    laws = np.array([discrete / (2 * float(discrete.sum()) - 1), rounded, skellam], np.float64)
    laws[:, 1:] *= 2  # for both signs
    return values, laws
