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
"""Masses of the second distribution up to this are not known to a small relative error."""
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
        below = GridLaw(step, above.offset, above.index, np.zeros_like(above.mass), 0.0, 0.0)
    elif pair.attained is not pair:
        below = _both(pair.attained, step, tail, removing=removing)[1]
    return above, below


def _both(pair: Pair, step: float, tail: float, *, removing: bool) -> tuple[GridLaw, GridLaw]:
    offset = pair.offset(step, removing=removing)
    index = _points(pair, step, tail, offset, removing=removing)
    grid = offset + step * index.astype(np.float64)
    # half cells: whole cells for above, those about the points for below
    p, r = pair.cells(_halved(index, step, offset), removing=removing)
    rounding = pair.rounding(tail)
    # The errors of losses and of the ends of their cells (docs/privacy.md §2.4, item 3).
    wrong = 3 * pair.loss_rounding(np.maximum(np.abs(grid[:-1]), np.abs(grid[1:])), tail)
    gaps = step * np.diff(index).astype(np.float64)
    above = from_above(p[::2] + p[1::2], r[::2] + r[1::2], grid, gaps)
    above, shift = _raised(above, np.maximum(np.append(wrong, 0), np.append(0, wrong)), gaps)
    further = 2 * index[-1] - index[-2]
    # Mass below the grid moves up to the first point, mass above it counts as infinite (§2.3).
    above[0] += tail
    # the cell about the lowest point begins at −∞; what lies above the grid is left out
    bottom = pair.cells(np.array([-np.inf, grid[0]]), removing=removing)
    merged: list[NDArray[np.float64]] = []
    for half, start in zip((p, r), bottom, strict=True):
        cells = np.concatenate([start + half[:1], half[1:-1:2] + half[2::2]])
        cells[-1] += half[-1]
        merged.append(cells)
    # a loss that is too small by what rounding can have made it too large
    below = from_below(merged[0], merged[1] * (1 + wrong), grid[:-1], gaps[:-1])
    return (
        GridLaw(step, offset, np.append(index, further), above, tail, rounding, shift),
        GridLaw(step, offset, index[:-1], below, 0.0, rounding),
    )


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
    # A share of (p − r·e^l)/(1 − e^(−h)) of a cell's mass goes up (docs/privacy.md §2.3).
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kept = np.where(r > 0, np.exp(np.log(r) + grid[:-1] - np.log(p)), 0.0)
    upward = np.where(p > 0, 1 - kept, 0.0) / -np.expm1(-np.asarray(gaps))
    top = p * np.clip(upward, 0.0, 1.0)
    mass = np.zeros(len(grid))
    mass[:-1] += p - top
    mass[1:] += top
    return mass


def from_below(
    p: NDArray[np.float64],
    r: NDArray[np.float64],
    losses: NDArray[np.float64],
    gaps: NDArray[np.float64] | float,
) -> NDArray[np.float64]:
    """Merge each cell about a grid point into the point, and balance residues with the neighbours.

    Args:
        p: float64[n], mass of the first distribution in the cell about each point.
        r: float64[n], mass of the second.
        losses: float64[n], the points.
        gaps: float64[n − 1], their distances, or one for all.

    Returns:
        float64[n], masses of the first distribution at the points.  With H the true curve in
        x = e^ε, their curve is convex, has its corners at the points, and lies below H.  Cells whose mass of
        the second distribution is too small for a float count at the point below, with a loss that is too
        small: they are a measure of their own, and curves of measures add up.
    """
    gaps = np.broadcast_to(gaps, len(p) - 1)
    if gaps.max(initial=0.0) > _LONGEST:
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
    if last <= first:  # no two points: what is left is all at its mean loss
        mean = math.log(float(p.sum()) / float(r.sum())) if r.any() else -math.inf
        at = int(np.searchsorted(losses, mean, side="right")) - 1
        if at >= 0:
            mass[at] = p.sum()
        return mass + lowered
    residue = p - level
    level[first], residue[first] = up_to[first], bottom[first]
    level[last], residue[last] = from_on[last], top[last]
    used = slice(first, last + 1)
    mass[used] = _settled(level[used], residue[used], losses[used], gaps[first:last])
    return mass + lowered


def _ends(r: NDArray[np.float64]) -> tuple[tuple[NDArray[np.float64], int], ...]:
    """The masses to sum from either end, and the stride that restores their order."""
    return (r, 1), (r[::-1], -1)


def _settled(
    level: NDArray[np.float64],
    residue: NDArray[np.float64],
    losses: NDArray[np.float64],
    gaps: NDArray[np.float64],
) -> NDArray[np.float64]:
    high, low = np.maximum(residue, 0.0), np.maximum(-residue, 0.0)
    # the distances to the next point and to the last one
    after, before = np.append(gaps, gaps[-1]), np.append(gaps[0], gaps)
    up, down = np.expm1(after), -np.expm1(-before)  # (x_{j+1} − x_j)/x_j and (x_j − x_{j−1})/x_j
    # Point j's mass by the formula of docs/privacy.md §2.3, in units of P-mass.
    own = level + low / up + high / down
    own[:-1] -= high[1:] / up[:-1]
    own[1:] -= low[:-1] / down[1:]
    around = _AROUND
    while (bad := np.flatnonzero(own < 0)).size:
        starts = np.flatnonzero(np.diff(bad, prepend=-np.inf) > 2 * around)
        ends = np.append(starts[1:], bad.size) - 1
        for first, last in zip(bad[starts], bad[ends], strict=True):
            near = slice(max(int(first) - around, 0), min(int(last) + around + 1, own.size))
            stretch = losses[near]
            whole = (near.start == 0, near.stop == own.size)
            fixed = _convex(own[near], stretch, (before[near], after[near]), whole)
            reach = stretch[-1] - stretch[0] + after[near][-1]
            if fixed is None and (reach > _LONGEST or all(whole)):
                return np.zeros(own.size)  # no claim
            own[near] = own[near] if fixed is None else fixed
        around *= 8
    return own


def _convex(
    mass: NDArray[np.float64],
    losses: NDArray[np.float64],
    gaps: tuple[NDArray[np.float64], NDArray[np.float64]],
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
        gaps: float64[n] each, their distances to the last point and to the next one.
        whole: whether the stretch begins where the grid begins, and ends where it ends.

    Returns:
        float64[n], masses ≥ 0; None if the stretch is too short or too long.
    """
    before, after = gaps
    if losses[-1] - losses[0] + after[-1] > _LONGEST or min(before.min(), after.min()) < _SHORTEST:
        return None
    lowest, highest = whole
    x = np.exp(losses - (losses[0] + losses[-1]) / 2)
    slopes = np.append(-np.cumsum((mass / x)[::-1])[::-1], 0.0)
    lead = x[:1] if lowest else x[:1] * -np.expm1(-before[:1])
    width = np.concatenate([lead, x * np.expm1(after)])
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
