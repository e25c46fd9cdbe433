"""The privacy loss of one release, put on a grid from above: connect the dots (Doroshenko et al. 2022).

A pair is P = (1−q)·N(0,z²) + q·N(1,z²) against Q = N(0,z²), in either order.  Its loss is monotone in
the output, so that a cell of losses is an interval of outputs.  Each cell's mass moves to the cell's two
ends in the one way that keeps both its P- and its Q-mass: a pair that the true one is a garbling of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LOSS_SLACK", "GridLoss", "MixturePair", "on_grid"]

LOSS_SLACK = 1e-11
"""Added to the mean loss of each release: more than what rounding can take from it."""
_SERIES_WIDTH = 0.1


@dataclass(frozen=True, slots=True)
class MixturePair:
    """(1−rate)·N(0,z²) + rate·N(1,z²) against N(0,z²); rate 1 is a plain Gaussian."""

    rate: float
    stddev: float

    @property
    def spread(self) -> float:
        """About the standard deviation of the loss; sets the mesh, so need not be exact."""
        inverse = 1 / self.stddev
        if self.rate == 1:
            return inverse
        return min(self.rate * math.sqrt(math.expm1(min(inverse**2, 30.0))), inverse)

    def loss(self, x: float) -> float:
        """Log P/Q at this output."""
        stay = math.log1p(-self.rate) if self.rate < 1 else -math.inf
        return float(np.logaddexp(stay, math.log(self.rate) + (x - 0.5) / self.stddev**2))

    def outputs(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs at which log P/Q takes these increasing values; −inf where none does."""
        small = np.minimum(losses, 30.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(
                losses > 30.0,
                losses + np.log1p(-(1 - self.rate) * np.exp(-np.maximum(losses, 30.0))),
                np.log(np.maximum(np.expm1(small) + self.rate, 0.0)),
            )
        x = self.stddev**2 * (logs - math.log(self.rate)) + 0.5
        return np.maximum.accumulate(x)

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:
        """Losses beyond which each side holds at most `tail` of the first distribution's mass."""
        reach = -float(ndtri(tail)) * self.stddev
        low, high = self.loss(-reach), self.loss(1 + reach)
        return (low, high) if removing else (-high, -low)


@dataclass(frozen=True, slots=True)
class GridLoss:
    """Masses of the first distribution at losses (first + k)·step, and what lies above all of them."""

    first: int
    mass: NDArray[np.float64]
    beyond: float

    def losses(self, step: float) -> NDArray[np.float64]:
        """The loss of each mass."""
        return step * self.index.astype(np.float64)

    @property
    def index(self) -> NDArray[np.int64]:
        """Grid index of each mass."""
        return self.first + np.arange(len(self.mass), dtype=np.int64)


def on_grid(pair: MixturePair, step: float, tail: float, *, removing: bool) -> GridLoss:
    """Connect the dots on the grid of this step.

    Args:
        pair: one release.
        step: mesh of the grid.
        tail: mass cut off on each side; above, it counts as an infinite loss, below it moves up.
        removing: the mixture comes first; otherwise the plain Gaussian does.
    """
    low, high = pair.range(tail, removing=removing)
    first, last = math.floor(low / step) - 1, math.ceil(high / step) + 1
    grid = step * np.arange(first, last + 1, dtype=np.float64)
    p, r = _cell_masses(pair, grid, removing=removing)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kept = np.where(
            r > 0, np.exp(np.log(r) + grid[:-1] - np.log(p)), 0.0
        )  # Q-mass·e^l ÷ P-mass
    upward = np.where(p > 0, (1 - kept) / -math.expm1(-step), 0.0) + LOSS_SLACK / step
    top = p * np.clip(upward, 0.0, 1.0)
    mass = np.zeros(len(grid))
    mass[:-1] += p - top
    mass[1:] += top
    mass[0] += tail
    return GridLoss(first, mass, tail)


def _cell_masses(
    pair: MixturePair, grid: NDArray[np.float64], *, removing: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = pair.outputs(grid if removing else -grid[::-1])
    n0, n1 = _gaussian_masses(x, 0.0, pair.stddev), _gaussian_masses(x, 1.0, pair.stddev)
    mixture = (1 - pair.rate) * n0 + pair.rate * n1
    return (mixture, n0) if removing else (n0[::-1], mixture[::-1])


def _gaussian_masses(x: NDArray[np.float64], mean: float, stddev: float) -> NDArray[np.float64]:
    """N(mean, stddev²) between successive points, with small relative error in cells of any width.

    Narrow cells by the midpoint series, whose next term is below 1e-11 of the first; the width is an
    exact difference and shared by both Gaussians, so that it cancels from their ratio.
    """
    z = (x - mean) / stddev
    tails = ndtr(-np.abs(z))
    near, far = tails[:-1], tails[1:]
    wide = np.where(z[1:] <= 0, far - near, np.where(z[:-1] >= 0, near - far, 1.0 - near - far))
    with np.errstate(invalid="ignore", over="ignore"):
        width = (x[1:] - x[:-1]) / stddev
        mid = ((x[1:] + x[:-1]) / 2 - mean) / stddev
        narrow = width * (1 + np.abs(mid)) < _SERIES_WIDTH
    width, mid = np.where(narrow, width, 0.0), np.where(narrow, mid, 0.0)
    m2, w2 = mid * mid, width * width
    series = 1 + w2 / 24 * (m2 - 1) + w2 * w2 / 1920 * (m2 * m2 - 6 * m2 + 3)
    density = np.exp(-m2 / 2) / math.sqrt(2 * math.pi)
    return np.where(narrow, density * width * series, np.maximum(wide, 0.0))
