"""The loss of one release on an evenly spaced grid, from above and from below.

Above: connect the dots (Doroshenko et al. 2022).  Each cell's mass moves to the cell's two ends, in the
one way that keeps both its P- and its Q-mass; the true pair is a garbling of the result.  Below: the
cells around each grid point are merged, and what keeps a merged loss off its point is settled with a
neighbour, so that the gridded curve lies under tangents of the true one (docs/privacy.md §2.3).

Cells are one step wide where most of the mass is, and wider, by whole steps, where losses are large and
rare: a small rate needs a step of a millionth below losses of several units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dp.composition.tangents import from_below
from dp.losses.renyi import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.losses import Pair
    from dp.losses.pairs import Masses

__all__ = ["Cells", "GridLaw", "cells_of", "from_above", "on_grid"]

_NARROWEST, _WIDEST = 4e-4, 2e-3
"""Width ÷ loss of cells at large losses; it follows the step in between."""
_EVEN = 1 << 18
"""So many cells may all be one step wide."""
_LONGEST_CELL = 0.05
"""A width up to which neighbouring cells may be of different widths: e to its power is nearly linear."""
_SHARE = 1e-3
"""What one wide cell may add to the variance, in units of what a cell of one step with all mass adds."""
_FINE_ENOUGH = 1e-3
"""Steps ÷ the loss's own spread below which wide cells are not split for a step that another loss needs."""
_MAX_CELLS = 1 << 18

_FAINT = 1e-300  # a mass of the second distribution below this is left out


@dataclass(frozen=True, slots=True)
class GridLaw:
    """Masses of the first distribution at losses offset + index·step.

    Args:
        step: mesh.
        offset: of the grid, in [0, step).
        index: int64[n], increasing grid indices.
        mass: float64[n], ≥ 0.
        beyond: mass that counts as an infinite loss.
        rounding: relative error of each mass that a reader must allow for.
        shift: error of each loss that a reader must allow for.
    """

    step: float
    offset: float
    index: NDArray[np.int64]
    mass: NDArray[np.float64]
    beyond: float
    rounding: float
    shift: float = 0.0

    @property
    def losses(self) -> NDArray[np.float64]:
        """The loss of each mass, without the offset."""
        return self.step * self.index.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """One release's masses in half cells of a grid, from which both laws are made.

    Args:
        step: mesh.
        offset: of the grid, in [0, step).
        index: int64[n + 1], increasing grid indices of the cells' ends.
        halves: float64[2n] each, masses of both distributions in the halves of the cells.
        bottom: masses of both distributions below the first end.
        wrong: float64[n], errors of losses and of the ends of their cells.
        tail: mass that was cut off on each side.
        rounding: relative error of each mass.
    """

    step: float
    offset: float
    index: NDArray[np.int64]
    halves: Masses
    bottom: tuple[float, float]
    wrong: NDArray[np.float64]
    tail: float
    rounding: float

    @property
    def _grid(self) -> NDArray[np.float64]:
        return self.offset + self.step * self.index.astype(np.float64)

    @property
    def _gaps(self) -> NDArray[np.float64]:
        return self.step * np.diff(self.index).astype(np.float64)

    def above(self) -> GridLaw:
        """A law above the pair's; what was cut off above counts as an infinite loss."""
        gaps = self._gaps
        p, r = (half[::2] + half[1::2] for half in self.halves)
        mass = from_above(p, r, self._grid, gaps)
        wrong = np.maximum(np.append(self.wrong, 0), np.append(0, self.wrong))
        mass, shift = _raised(mass, wrong, gaps)
        further = 2 * self.index[-1] - self.index[-2]
        # Mass below the grid moves up to the first point, mass above it counts as infinite (§2.3).
        mass[0] += self.tail
        index = frozen(np.append(self.index, further))
        return GridLaw(self.step, self.offset, index, frozen(mass), self.tail, self.rounding, shift)

    def below(self) -> GridLaw:
        """A law below the pair's; what lies above the grid is left out."""
        merged: list[NDArray[np.float64]] = []
        for half, start in zip(self.halves, self.bottom, strict=True):
            # the cell about the lowest point begins at −∞
            cells = np.concatenate([start + half[:1], half[1:-1:2] + half[2::2]])
            cells[-1] += half[-1]
            merged.append(cells)
        # a loss that is too small by what rounding can have made it too large
        mass = from_below(merged[0], merged[1] * (1 + self.wrong), self._grid[:-1], self._gaps[:-1])
        index = frozen(self.index[:-1])
        return GridLaw(self.step, self.offset, index, frozen(mass), 0.0, self.rounding)


def cells_of(pair: Pair, step: float, tail: float, *, removing: bool) -> Cells:
    """The masses of one release in the cells of a grid.

    Args:
        pair: the pair of the release.
        step: mesh.
        tail: mass cut off on each side.
        removing: which order of the pair.
    """
    offset = pair.offset(step, removing=removing)
    index = _points(pair, step, tail, offset, removing=removing)
    grid = offset + step * index.astype(np.float64)
    # half cells: whole cells for above, those about the points for below
    halves = pair.cells(_halved(index, step, offset), removing=removing)
    p, r = pair.cells(np.array([-np.inf, grid[0]]), removing=removing)
    # docs/privacy.md §2.4, item 3
    wrong = 3 * pair.loss_rounding(np.maximum(np.abs(grid[:-1]), np.abs(grid[1:])), tail)
    bottom = float(p[0]), float(r[0])
    return Cells(step, offset, index, halves, bottom, wrong, tail, pair.rounding(tail))


def on_grid(pair: Pair, step: float, tail: float, *, removing: bool) -> tuple[GridLaw, GridLaw]:
    """The loss of one release from above and from below; arguments as for `cells_of`."""
    cells = cells_of(pair, step, tail, removing=removing)
    return cells.above(), cells.below()


def _points(
    pair: Pair, step: float, tail: float, offset: float, *, removing: bool
) -> NDArray[np.int64]:
    """The grid indices that bound cells: every one where it matters, fewer where losses are large."""
    low, high = pair.range(tail, removing=removing)
    first, last = math.floor((low - offset) / step) - 1, math.ceil((high - offset) / step) + 1
    ratio = min(max(0.05 * step / pair.spread, _NARROWEST), _WIDEST)
    most_steps = max(_LONGEST_CELL, (high - low) / _MAX_CELLS * 4) / step
    if last - first <= _EVEN:
        return np.arange(first, last + 1, dtype=np.int64)
    widths = np.array([1 << (last - first - 1).bit_length()], dtype=np.int64)
    starts = np.array([first], dtype=np.int64)
    while True:
        least = np.where(
            starts * (starts + widths) < 0, 0, np.minimum(np.abs(starts), np.abs(starts + widths))
        )
        wide = (widths > 1) & (widths > np.minimum(ratio * least, most_steps))
        if not wide.any() or len(starts) > _MAX_CELLS:
            break
        starts, widths = _split(starts, widths, wide.astype(np.int64), last)
    allowed = _SHARE * max(1.0, _FINE_ENOUGH * pair.spread / step) ** 2
    while True:
        edges = offset + step * np.append(starts, starts[-1] + widths[-1]).astype(np.float64)
        p, r = pair.cells(edges, removing=removing)
        most = np.maximum(p, r) * widths.astype(np.float64) ** 2 / allowed
        wide = (widths > 1) & (most > 1)
        if not wide.any() or len(starts) > _MAX_CELLS:
            return np.append(starts, starts[-1] + widths[-1])
        halvings = np.ceil(np.log2(np.maximum(most, 1.0)) / 2).astype(np.int64)
        starts, widths = _split(starts, widths, np.minimum(halvings, 4) * wide, last)


def _split(
    starts: NDArray[np.int64], widths: NDArray[np.int64], halvings: NDArray[np.int64], last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Halve each cell as often as said, but for its last step, and drop what lies above `last`."""
    pieces = np.minimum(1 << halvings, widths)
    order = np.repeat(np.arange(len(starts)), pieces)
    within = np.arange(len(order)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    widths = (widths // pieces)[order]
    starts = starts[order] + within * widths
    kept = starts < last
    return starts[kept], widths[kept]


def _halved(index: NDArray[np.int64], step: float, offset: float) -> NDArray[np.float64]:
    """The cells' ends and middles."""
    halves = np.empty(2 * len(index) - 1)
    halves[::2] = index
    halves[1::2] = (index[1:] + index[:-1]) / 2
    return offset + step * halves


def _raised(
    mass: NDArray[np.float64], wrong: NDArray[np.float64], gaps: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Make every loss larger by what it may be wrong by: some of each mass moves up to the next point.

    Returns:
        The masses at the points and at one more, a last gap further, and what is wrong even when all moves.
    """
    room = -np.expm1(-np.append(gaps, gaps[-1]))
    moved = mass * np.minimum(wrong / room, 1.0)
    raised = np.append(mass - moved, 0.0)
    raised[1:] += moved
    return raised, float(np.max(wrong - room, initial=0.0))


def from_above(
    p: NDArray[np.float64],
    r: NDArray[np.float64],
    grid: NDArray[np.float64],
    gaps: NDArray[np.float64] | float,
) -> NDArray[np.float64]:
    """Connect the dots.

    Args:
        p: float64[n], mass of the first distribution in each cell.
        r: float64[n], mass of the second.
        grid: float64[n + 1], losses at the cells' ends.
        gaps: float64[n], the cells' widths, or one for all.

    Returns:
        float64[n + 1], masses at the grid's points.
    """
    # A share of (p − r·e^l)/(1 − e^(−h)) of a cell's mass goes up (docs/privacy.md §2.3).  Of the smallest
    # floats r has few digits, and e^l would enlarge their error, so that all of such a mass goes up.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kept = np.where(r > _FAINT, np.exp(np.log(r) + grid[:-1] - np.log(p)), 0.0)
    upward = np.where(p > 0, 1 - kept, 0.0) / -np.expm1(-np.asarray(gaps))
    top = p * np.clip(upward, 0.0, 1.0)
    mass = np.zeros(len(grid))
    mass[:-1] += p - top
    mass[1:] += top
    return mass
