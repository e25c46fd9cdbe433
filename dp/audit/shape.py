"""Shape of noise: whether entries fall on both sides of zero, in body and tails, as often as a Gaussian's.

Entries are counted below a few levels.  Each count is binomial. Its probability is that of a Gaussian, up to
the effects of the grid and of Skellam's tails, for a deviation within limits that follow from the number of
entries below the median's magnitude.  The stated deviation fixes the levels, so that every p-value is exact
except for that allowance (docs/privacy.md §11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv, ndtr, ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Misfit", "misfits"]

_LEVELS = (*(float(ndtri(k / 16)) for k in range(1, 16)), -3.25, -2.5, 2.5, 3.25)
_MEDIAN = float(ndtri(0.75))
_ALLOWANCE = 0.05
"""Times 1/variance: distance of an integer law's distribution function from a Gaussian's."""
_GRID = 1e-6
_FAR = 1e9
"""Used instead of an infinite ratio, so that a level of 0 stays in the middle."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A level with too many or too few entries below it.

    Args:
        level: the level, in grid units.
        share: share of the entries at or below it.
        low, high: limits of a Gaussian's share.
    """

    level: float
    share: float
    low: float
    high: float


def misfits(
    rows: NDArray[np.float64], stddev: float, alarm: float
) -> tuple[Misfit | None, dict[int, Misfit]]:
    """The worst level of all entries together, and of each round by itself, where it refutes the shape.

    Args:
        rows: float64[T, d].
        stddev: stated standard deviation; the noise may be stronger.
        alarm: probability with which correct noise has any misfit.

    Returns:
        The misfit of all entries, or None, and those of rounds, by the round's index.
    """
    levels, median, allowance = _levels(rows, stddev)
    small = np.count_nonzero(np.abs(rows) <= median, axis=1)
    below = np.stack([np.count_nonzero(rows <= level, axis=1) for level in levels], axis=1)

    def worst(
        small: NDArray[np.int64], below: NDArray[np.int64], entries: int
    ) -> dict[int, Misfit]:
        # Of the alarm, each of the two calls below spends an eighth here and three eighths on the levels.
        narrow, wide = _spreads(small, entries, median, allowance, alarm / (8 * len(small)))
        shares = np.stack([ndtr(levels / narrow[:, None]), ndtr(levels / wide[:, None])])
        low = np.maximum(shares.min(axis=0) - allowance, 0.0)
        high = np.minimum(shares.max(axis=0) + allowance, 1.0)
        places = _rarest(below, entries, low, high, 3 / 8 * alarm)
        return {
            row: Misfit(
                float(levels[k]), below[row, k] / entries, float(low[row, k]), float(high[row, k])
            )
            for row, k in places.items()
        }

    whole = worst(small.sum(keepdims=True), below.sum(axis=0, keepdims=True), rows.size)
    return whole.get(0), worst(small, below, rows.shape[1])


def _levels(rows: NDArray[np.float64], stddev: float) -> tuple[NDArray[np.float64], float, float]:
    """Levels, the magnitude of the median, and the allowance; on the grid, half way between its points."""
    levels, median = np.array(_LEVELS) * stddev, _MEDIAN * stddev
    if bool((np.abs(rows - np.rint(rows)) <= _GRID).all()):
        allowance = min(0.5, _ALLOWANCE / stddev**2)
        return np.unique(np.floor(levels) + 0.5), math.floor(median) + 0.5, allowance
    return levels, median, 0.0


def _spreads(
    small: NDArray[np.int64], entries: int, median: float, allowance: float, alarm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of deviations, from the number of entries of at most `median` (Clopper and Pearson)."""
    rest = entries - small
    least = np.where(small > 0, betaincinv(np.maximum(small, 1), rest + 1, alarm / 2), 0.0)
    most = np.where(rest > 0, betaincinv(small + 1, np.maximum(rest, 1), 1 - alarm / 2), 1.0)
    far = np.minimum(ndtri(np.minimum((1 + most) / 2 + allowance, 1.0)), _FAR)
    near = np.maximum(ndtri(np.maximum((1 + least) / 2 - allowance, 0.5)), 1 / _FAR)
    return median / far, median / near


def _rarest(
    counts: NDArray[np.int64],
    entries: int,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    alarm: float,
) -> dict[int, int]:
    """Each row's rarest count, if it is too rare."""
    few = np.where(counts < entries * low, bdtr(counts, entries, low), 1.0)
    many = np.where(counts > entries * high, bdtrc(np.maximum(counts, 1) - 1, entries, high), 1.0)
    rarity = np.minimum(few, many)
    places = np.argmin(rarity, axis=1)
    limit = alarm / (2 * counts.size)
    return {row: int(k) for row, k in enumerate(places) if rarity[row, k] <= limit}
