"""Gridded laws below a pair's: corners of the tangents of its curve, on the points of a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_below"]

_AROUND = 64
"""Number of points on either side of a non-convex place that are corrected together with it."""
_LONGEST = 600.0
"""Range of losses of a stretch, within which widths do not overflow."""
_SHORTEST = 1e-300
"""Largest step whose widths do not overflow."""
_FAINT = 1e-300
"""Masses of the second distribution up to this are not known to a small relative error."""
_PIECES = 8
"""How often a law may be taken apart where no tangents fit."""
_SLIGHT = 1e-15
"""Relative error of the logarithm of a ratio of masses, which are themselves taken for exact here."""


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
    mass, bad = _tangents(p, r, losses, gaps)
    for _ in range(_PIECES):
        if not bad.size:
            break
        # curves of measures add up: what no tangent fits is rounded down, and the rest is in pieces
        torn = np.zeros(len(p), dtype=np.bool_)
        torn[np.clip(bad[:, None] + np.arange(-1, 2), 0, len(p) - 1)] = True
        lowered += _rounded_down(np.where(torn, p, 0.0), r, losses)
        p, r = np.where(torn, 0.0, p), np.where(torn, 0.0, r)
        mass, bad = _pieces(p, r, losses, gaps)
    return mass + lowered if not bad.size else _rounded_down(p, r, losses) + lowered


def _rounded_down(
    p: NDArray[np.float64], r: NDArray[np.float64], losses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Move the mass of each cell to the last point that is not above the cell's mean loss."""
    held = np.flatnonzero((p > 0) & (r > 0))
    mean = np.log(p[held]) - np.log(r[held])
    at = np.searchsorted(losses, mean - _SLIGHT * (1 + np.abs(mean)), side="right") - 1
    moved = np.bincount(at[at >= 0], weights=p[held][at >= 0], minlength=len(p))
    return moved.astype(np.float64)


def _pieces(
    p: NDArray[np.float64],
    r: NDArray[np.float64],
    losses: NDArray[np.float64],
    gaps: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """`_tangents` of each run of cells that are not empty."""
    mass, bad = np.zeros(len(p)), [np.zeros(0, dtype=np.int64)]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], r > 0, [False]])))
    for first, last in edges.reshape(-1, 2).tolist():
        run = slice(first, last)
        mass[run], found = _tangents(p[run], r[run], losses[run], gaps[first : last - 1])
        bad.append(found + first)
    return mass, np.concatenate(bad)


def _tangents(
    p: NDArray[np.float64],
    r: NDArray[np.float64],
    losses: NDArray[np.float64],
    gaps: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The masses of `from_below`, and the cells about which no tangents make a convex curve."""
    mass, none = np.zeros(len(p)), np.zeros(0, dtype=np.int64)
    if not p.any():
        return mass, none
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
    if last <= first:  # no two points: what is left is all at its mean loss
        mean = math.log(float(p.sum()) / float(r.sum())) if r.any() else -math.inf
        slight = _SLIGHT * (1 + abs(mean)) if math.isfinite(mean) else 0.0
        at = int(np.searchsorted(losses, mean - slight, side="right")) - 1
        if at >= 0:
            mass[at] = p.sum()
        return mass, none
    residue = p - level
    level[first], residue[first] = up_to[first], bottom[first]
    level[last], residue[last] = from_on[last], top[last]
    used = slice(first, last + 1)
    mass[used], bad = _settled(level[used], residue[used], losses[used], gaps[first:last])
    return mass, bad + first


def _ends(r: NDArray[np.float64]) -> tuple[tuple[NDArray[np.float64], int], ...]:
    """The masses to sum from either end, and the stride that restores their order."""
    return (r, 1), (r[::-1], -1)


def _settled(
    level: NDArray[np.float64],
    residue: NDArray[np.float64],
    losses: NDArray[np.float64],
    gaps: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    high, low = np.maximum(residue, 0.0), np.maximum(-residue, 0.0)
    # the distances to the next point and to the last one
    after, before = np.append(gaps, gaps[-1]), np.append(gaps[0], gaps)
    up, down = np.expm1(after), -np.expm1(-before)  # (x_{j+1} − x_j)/x_j and (x_j − x_{j−1})/x_j
    # Point j's mass by the formula of docs/privacy.md §2.3, in units of P-mass.
    own = level + low / up + high / down
    own[:-1] -= high[1:] / up[:-1]
    own[1:] -= low[:-1] / down[1:]
    around, wrong = _AROUND, np.flatnonzero(own < 0)
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
                return np.zeros(own.size), wrong
            own[near] = own[near] if fixed is None else fixed
        around *= 8
    return own, bad


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
