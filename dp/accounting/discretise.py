"""The loss of one release on an evenly spaced grid, from above and from below.

Above: connect the dots (Doroshenko et al. 2022). Each cell's mass moves to the cell's two ends, in the one
way that keeps both its P-mass and its Q-mass; the true pair is a garbling of the result. Below: the cells
around each grid point are merged. The difference between a merged loss and its point is balanced with a
neighbour, so that the gridded curve is below tangents of the true one (docs/privacy.md §2.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.losses import Pair

__all__ = ["GridLaw", "from_above", "from_below", "on_grid"]

_AROUND = 64
"""Number of points on either side of a non-convex place that are corrected together with it."""
_LONGEST = 600.0
"""Range of losses of a stretch, within which widths do not overflow."""
_SHORTEST = 1e-300
"""Largest step whose widths do not overflow."""
_FAINT = 1e-300
"""Masses of the second distribution up to this size have no small relative error."""


@dataclass(frozen=True, slots=True)
class GridLaw:
    """Masses of the first distribution at losses offset + (first + k)·step.

    Args:
        step: mesh.
        offset: offset of the grid, in [0, step).
        first: grid index of the first mass.
        mass: float64[n], ≥ 0.
        beyond: mass with an infinite loss.
        rounding: relative error of each mass that users of the law must allow for.
    """

    step: float
    offset: float
    first: int
    mass: NDArray[np.float64]
    beyond: float
    rounding: float

    @property
    def index(self) -> NDArray[np.int64]:
        """Grid index of each mass."""
        return self.first + np.arange(len(self.mass), dtype=np.int64)

    @property
    def losses(self) -> NDArray[np.float64]:
        """The loss of each mass, without the offset."""
        return self.step * self.index.astype(np.float64)


def on_grid(pair: Pair, step: float, tail: float, *, removing: bool) -> tuple[GridLaw, GridLaw]:
    """The loss of one release from above and from below.

    Args:
        pair: the pair of the release.
        step: mesh of both grids.
        tail: mass cut off on each side; above, it counts as an infinite loss.
        removing: which order of the pair.

    Returns:
        A law above the pair's, and one below that of some data; without mass where no such data is known.
    """
    above, below = _both(pair, step, tail, removing=removing)
    if pair.attained is None:
        below = GridLaw(step, above.offset, above.first, np.zeros_like(above.mass), 0.0, 0.0)
    elif pair.attained is not pair:
        below = _both(pair.attained, step, tail, removing=removing)[1]
    return above, below


def _both(pair: Pair, step: float, tail: float, *, removing: bool) -> tuple[GridLaw, GridLaw]:
    offset = pair.offset(step, removing=removing)
    low, high = pair.range(tail, removing=removing)
    first, last = math.floor((low - offset) / step) - 1, math.ceil((high - offset) / step) + 1
    # half cells [l, l + h/2], [l + h/2, l + h], …: whole cells for above, shifted ones for below
    fine = offset + step / 2 * np.arange(2 * first, 2 * last + 1, dtype=np.float64)
    p, r = pair.cells(fine, removing=removing)
    rounding = pair.rounding(tail)
    grid = fine[::2]
    above = from_above(p[::2] + p[1::2], r[::2] + r[1::2], grid, step, rounding)
    above[0] += tail
    # The cell about the lowest point begins at −∞; losses above the grid are left out.
    bottom = pair.cells(np.array([-np.inf, fine[0]]), removing=removing)
    merged: list[NDArray[np.float64]] = []
    for half, start in zip((p, r), bottom, strict=True):
        cells = np.concatenate([start + half[:1], half[1:-1:2] + half[2::2]])
        cells[-1] += half[-1]
        merged.append(cells)
    below = from_below(merged[0], merged[1], grid[:-1], step)
    return (
        GridLaw(step, offset, first, above, tail, rounding),
        GridLaw(step, offset, first, below, 0.0, rounding),
    )


def from_above(
    p: NDArray[np.float64],
    r: NDArray[np.float64],
    grid: NDArray[np.float64],
    step: float,
    rounding: float,
) -> NDArray[np.float64]:
    """Connect the dots.

    Args:
        p: float64[n], mass of the first distribution in each cell.
        r: float64[n], mass of the second.
        grid: float64[n + 1], losses at the cells' ends.
        step: the cells' width.
        rounding: relative error of p and r; a correction larger than its effect moves mass up.

    Returns:
        float64[n + 1], masses at the grid's points.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kept = np.where(r > 0, np.exp(np.log(r) + grid[:-1] - np.log(p)), 0.0)
    upward = (np.where(p > 0, 1 - kept, 0.0) + 3 * rounding) / -math.expm1(-step)
    top = p * np.clip(upward, 0.0, 1.0)
    mass = np.zeros(len(grid))
    mass[:-1] += p - top
    mass[1:] += top
    return mass


def from_below(
    p: NDArray[np.float64], r: NDArray[np.float64], losses: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Merge each cell about a grid point into the point, and balance residues with the neighbours.

    Args:
        p: float64[n], mass of the first distribution in the cell about each point.
        r: float64[n], mass of the second.
        losses: float64[n], the points.
        step: distance between points.

    Returns:
        float64[n], masses of the first distribution at the points.  With H the true curve in
        x = e^ε, their curve is convex, has its corners at the points, and lies below H.  Cells whose mass of
        the second distribution is too small for a float count at the point below, with a loss that is too
        small: they are a measure of their own, and curves of measures add up.
    """
    if step > _LONGEST:
        return np.zeros(len(p))
    faint = r <= _FAINT
    lowered = np.append(np.where(faint, p, 0.0)[1:], 0.0)
    p, r = np.where(faint, 0.0, p), np.where(faint, 0.0, r)
    if not p.any():
        return lowered
    # in units of P-mass: residue e = p − x·r, and the second differences of min(left, right tangent)
    with np.errstate(divide="ignore", over="ignore"):
        level = np.exp(losses + np.log(r))
        up_to, from_on = (np.exp(losses + np.log(np.cumsum(a)[::i])) for a, i in _ends(r))
    # The lowest point takes all mass below and the highest all above, where a tangent would otherwise pass
    # under 1 − x or under 0 before it meets the next.
    bottom = np.cumsum(p) - up_to
    top = np.cumsum(p[::-1])[::-1] - from_on
    first = len(p) - int(np.argmax(bottom[::-1] > 0)) if bottom.max() > 0 else 0
    last = int(np.argmax(top < 0)) - 1 if top.min() < 0 else len(p) - 1
    mass = np.zeros(len(p))
    if last <= first:
        return lowered
    residue = p - level
    level[first], residue[first] = up_to[first], bottom[first]
    level[last], residue[last] = from_on[last], top[last]
    used = slice(first, last + 1)
    mass[used] = _settled(level[used], residue[used], losses[used], step)
    return mass + lowered


def _ends(r: NDArray[np.float64]) -> tuple[tuple[NDArray[np.float64], int], ...]:
    """The masses to sum from either end, and the stride that restores their order."""
    return (r, 1), (r[::-1], -1)


def _settled(
    level: NDArray[np.float64],
    residue: NDArray[np.float64],
    losses: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    high, low = np.maximum(residue, 0.0), np.maximum(-residue, 0.0)
    up, down = math.expm1(step), -math.expm1(-step)  # (x_{j+1} − x_j)/x_j and (x_j − x_{j−1})/x_j
    own = level + low / up + high / down
    own[:-1] -= high[1:] / up
    own[1:] -= low[:-1] / down
    around = _AROUND
    while (bad := np.flatnonzero(own < 0)).size:
        starts = np.flatnonzero(np.diff(bad, prepend=-np.inf) > 2 * around)
        ends = np.append(starts[1:], bad.size) - 1
        for first, last in zip(bad[starts], bad[ends], strict=True):
            near = slice(max(int(first) - around, 0), min(int(last) + around + 1, own.size))
            stretch = losses[near]
            whole = (near.start == 0, near.stop == own.size)
            fixed = _convex(own[near], stretch, step, whole)
            if fixed is None and (stretch[-1] - stretch[0] > _LONGEST or all(whole)):
                return np.zeros(own.size)  # no lower bound can be given
            own[near] = own[near] if fixed is None else fixed
        around *= 8
    return own


def _convex(
    mass: NDArray[np.float64],
    losses: NDArray[np.float64],
    step: float,
    whole: tuple[bool, bool],
) -> NDArray[np.float64] | None:
    """Replace a stretch of a curve that is not convex by its greatest convex minorant.

    Its corners are corners of the curve.  Its slopes are the isotonic regression of the curve's, weighted by
    the cells' widths.  If the slopes at both ends of the stretch do not change, the rest of the curve does
    not change either.  Slopes count from the stretch's last cell, where they are smallest, and x from its
    middle, so that no loss overflows.

    Args:
        mass: float64[n], second differences of the curve times x, some of them negative.
        losses: float64[n], log x at the points.
        step: distance between points.
        whole: whether the stretch begins where the grid begins, and ends where it ends.

    Returns:
        float64[n], masses ≥ 0; None if the stretch is too short or too long.
    """
    if losses[-1] - losses[0] > _LONGEST or step < _SHORTEST:
        return None
    lowest, highest = whole
    x = np.exp(losses - (losses[0] + losses[-1]) / 2)
    slopes = np.append(-np.cumsum((mass / x)[::-1])[::-1], 0.0)
    width = np.concatenate([x[:1] if lowest else x[:1] * -math.expm1(-step), x * math.expm1(step)])
    end = slopes[-1]
    if highest:  # the last slope is 0 for any length
        slopes, width = slopes[:-1], width[:-1]
    fit = isotonic_regression(slopes, weights=width)
    starts, sizes = fit.blocks[:-1], np.diff(fit.blocks)
    level = np.maximum.reduceat(slopes, starts) == np.minimum.reduceat(slopes, starts)
    same = np.repeat(level, sizes)
    if not (lowest or same[0]) or not (highest or same[-1]):
        return None  # the curve beyond the stretch would change as well
    fitted = np.where(same, slopes, fit.x)
    if highest:
        fitted, same = np.append(fitted, end), np.append(same, [True])
    # Points between two unchanged cells keep their masses, which are known to more digits.
    kept = np.where(same[:-1] & same[1:], mass, x * np.diff(fitted))
    return None if (kept < 0).any() else kept
