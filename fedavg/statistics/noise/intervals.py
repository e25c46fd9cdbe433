"""Estimates and intervals out of noisy sums: means, variances, quantiles and correlations.

Intervals cover the noise and the rounding, not the sampling of the people: they are about the statistic that
exact sums over the same rows would give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.statistics.summary import Figure, Quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.statistics.noise.consistent import Estimates

__all__ = ["Moments", "correlation_of", "count_figure", "quantiles_of"]

_CLEAR = 5.0  # standard deviations of its noise that a divisor must be away from zero
_DROWNED = "the noise drowns it"


def count_figure(value: float, variance: float, width: float) -> Figure:
    """A count; its interval ends at zero, while the estimate itself is unbiased and may be below.

    Args:
        value: the estimate.
        variance: of its noise.
        width: half the interval in standard deviations.
    """
    half = width * math.sqrt(max(variance, 0.0))
    return Figure(value, max(0.0, value - half), max(0.0, value + half))


@dataclass(frozen=True, slots=True)
class Moments:
    """Σu and Σu² of a number u at its public scale, with what the noise did to them.

    Args:
        first, second: the noisy sums.
        variance: of the noise of each.
        present: the estimated number of rows.
        present_variance: of its noise.
        rounding: largest rounding of one row's number, at the scale of u.
        bounds: the public range.
        least: the fewest rows.
    """

    first: float
    second: float
    variance: float
    present: float
    present_variance: float
    rounding: float
    bounds: tuple[float, float]
    least: int

    @property
    def clear(self) -> bool:
        """Whether there are enough rows to divide by."""
        floor = max(self.least, _CLEAR * math.sqrt(self.present_variance))
        return self.present >= floor

    def figures(self, width: float) -> tuple[Figure, Figure, Figure]:
        """Mean, variance and deviation.

        Args:
            width: half an interval in standard deviations.
        """
        if not self.clear:
            gone = Figure(None, withheld=_DROWNED)
            return gone, gone, gone
        low, high = self.bounds
        half, n = (high - low) / 2, self.present
        mean, square = self.first / n, self.second / n
        error = math.sqrt(self.variance + mean**2 * self.present_variance) / n
        error = width * error + self.rounding
        middle = (low + high) / 2 + half * mean
        ends = (max(low, middle - half * error), min(high, middle + half * error))
        mean_figure = Figure(min(max(middle, low), high), *ends)
        spread = square - mean**2
        slope = square - 2 * mean**2
        noise = (1 + 4 * mean**2) * self.variance + slope**2 * self.present_variance
        error = width * math.sqrt(noise) / n + self.rounding * (1 + 2 * abs(mean))
        # Of a sample: the divisor is n − 1.
        unit = half**2 * n / (n - 1)
        if spread <= 0 or spread + error <= 0:
            return mean_figure, Figure(None, withheld=_DROWNED), Figure(None, withheld=_DROWNED)
        value, least, most = (
            unit * max(0.0, end) for end in (spread, spread - error, spread + error)
        )
        roots = math.sqrt(value), math.sqrt(least), math.sqrt(most)
        return mean_figure, Figure(value, least, most), Figure(*roots)


def quantiles_of(
    leaves: Estimates, edges: NDArray[np.float64], levels: Sequence[float], width: float, least: int
) -> tuple[Quantile, ...]:
    """Quantiles of the present cells, out of the counts of equal bins.

    The interval of a quantile reaches from the last edge that is surely below it to the first one that is
    surely above it, so it covers the place within the bin, too.

    Args:
        leaves: counts of the bins.
        edges: float64[bins + 1].
        levels: in (0, 1).
        width: half an interval in standard deviations.
        least: the fewest rows.
    """
    size = len(leaves.values)
    present = float(leaves.values.sum())
    spread = math.sqrt(max(float(leaves.covariance.sum()), 0.0))
    if present < max(least, _CLEAR * spread):
        return tuple(Quantile(level, Figure(None, withheld=_DROWNED)) for level in levels)
    below = np.tri(size + 1, size, -1)  # row j counts the bins below edge j
    found: list[Quantile] = []
    for level in levels:
        weights = below - level
        excess = weights @ leaves.values
        noise = np.sqrt(
            np.maximum(np.einsum("ij,jk,ik->i", weights, leaves.covariance, weights), 0.0)
        )
        # The ends are known without noise: nothing is below the first edge, everything below the last.
        rising = np.r_[-1.0, excess[1:-1], 1.0]
        doubt = np.r_[0.0, width * noise[1:-1], 0.0]
        first = int(np.argmax(rising >= -doubt))
        last = size - int(np.argmax(rising[::-1] <= doubt[::-1]))
        value = _crossing(excess, edges)
        ends = float(edges[max(first - 1, 0)]), float(edges[min(last + 1, size)])
        found.append(Quantile(level, Figure(min(max(value, ends[0]), ends[1]), *ends)))
    return tuple(found)


def _crossing(excess: NDArray[np.float64], edges: NDArray[np.float64]) -> float:
    """Where a nearly rising line crosses zero, between two edges."""
    # The mean of the least line above and the largest line below that rise.
    rising = (np.maximum.accumulate(excess) + np.minimum.accumulate(excess[::-1])[::-1]) / 2
    after = int(np.clip(np.searchsorted(rising, 0.0), 1, len(edges) - 1))
    low, high = rising[after - 1], rising[after]
    part = 0.5 if high <= low else float(np.clip(-low / (high - low), 0.0, 1.0))
    return float(edges[after - 1] + part * (edges[after] - edges[after - 1]))


def correlation_of(sums: NDArray[np.float64], variance: float, width: float, least: int) -> Figure:
    """Pearson's correlation out of n, Σx, Σy, Σx², Σy² and Σxy.

    Args:
        sums: float64[6], with independent noise.
        variance: of the noise of each.
        width: half an interval in standard deviations, on Fisher's scale.
        least: the fewest rows.
    """
    n, x, y, xx, yy, xy = map(float, sums)
    spread_x, spread_y, joint = n * xx - x * x, n * yy - y * y, n * xy - x * y
    slope_x = np.array([xx, -2 * x, 0, n, 0, 0])
    slope_y = np.array([yy, 0, -2 * y, 0, n, 0])
    slope = np.array([xy, -y, -x, 0, 0, n])
    noise = math.sqrt(variance)
    clear = n >= max(least, _CLEAR * noise) and all(
        own > _CLEAR * noise * float(np.linalg.norm(by))
        for own, by in ((spread_x, slope_x), (spread_y, slope_y))
    )
    if not clear:
        return Figure(None, withheld=_DROWNED)
    scale = math.sqrt(spread_x * spread_y)
    found = joint / scale
    gradient = slope / scale - found / 2 * (slope_x / spread_x + slope_y / spread_y)
    value = min(max(found, -0.999), 0.999)
    error = width * noise * float(np.linalg.norm(gradient)) / (1 - value**2)
    middle = math.atanh(value)
    return Figure(value, math.tanh(middle - error), math.tanh(middle + error))
