"""Certified composition of mixture pairs: both sides of ε and δ from one exponentially tilted FFT.

The losses of all releases are put on one grid from above, tilted by e^(tL) so that the part that decides
δ sits at the centre, and convolved by one circular FFT.  Three things are bounded and charged on the
safe side: what wraps around (Chernoff, on the same masses), what floating point adds (a forward error
bound), and, for the lower side, what the grid adds (Hoeffding).  docs/privacy.md §2 has the proofs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from dp.accounting.bracket import Bracket
from dp.accounting.loss import LOSS_SLACK, GridLoss, MixturePair, on_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["pld_delta", "pld_epsilon"]

Pairs = tuple[tuple[MixturePair, int], ...]

_EPS = float(np.finfo(np.float64).eps)
_MAX_POINTS = 1 << 20
_WRAPPED = 1e-11
"""Tilted mass that may lie outside the window."""
_COARSE = 2000
_RELATIVE_WIDTH = 1e-3
"""Aim for the bracket's width, relative to ε."""
_FORFEIT = 7.0
"""The lower side gives up e^−7 of δ to Hoeffding's inequality."""


def pld_epsilon(pairs: Pairs, delta: float, guess: float) -> Bracket:
    """Bracket ε at this δ.

    Args:
        pairs: what was released, and how often.
        delta: in (0, 1).
        guess: any upper bound on ε; sets the mesh.
    """
    log_delta = math.log(delta)
    low, high = 0.0, 0.0
    for removing in (True, False):
        composed = _compose(pairs, guess, log_delta, removing=removing)
        if composed is None:
            return Bracket(0.0, math.inf)
        high = max(high, _smallest(lambda e, c=composed: c.log_delta_high(e) <= log_delta, guess))
        drop, forfeit = composed.lower_shift(log_delta)
        edge = _lower_edge(composed, math.log(delta + forfeit), guess)
        low = max(low, edge - drop)
    return Bracket(min(low, high), high)


def pld_delta(pairs: Pairs, epsilon: float, log_guess: float) -> Bracket:
    """Bracket δ at this ε, given the log of any upper bound on δ."""
    low, high = 0.0, 0.0
    for removing in (True, False):
        composed = _compose(pairs, max(epsilon, 1e-3), log_guess, removing=removing)
        if composed is None:
            return Bracket(0.0, 1.0)
        high = max(high, math.exp(min(0.0, composed.log_delta_high(epsilon))))
        drop, forfeit = composed.lower_shift(log_guess)
        low = max(low, math.exp(min(0.0, composed.log_delta_low(epsilon + drop))) - forfeit)
    return Bracket(min(max(low, 0.0), high), high)


def _smallest(holds: Callable[[float], bool], guess: float) -> float:
    """Smallest ε, to rounding, at which a monotone condition holds; the value returned satisfies it."""
    if holds(0.0):
        return 0.0
    low, high = 0.0, max(guess, 1e-6) * (1 + 1e-6)
    if not holds(high):
        return math.inf
    while high - low > 1e-12 + 1e-11 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _lower_edge(composed: _Composed, log_delta: float, guess: float) -> float:
    """An ε at which δ̃ is still above the target, close to the last one; −inf where none is found.

    Far below the window's centre the tilt's slack swamps the value, so several starts are tried.
    """
    near = (max(0.0, composed.centre - reach / composed.tilt) for reach in (12, 6, 3, 1, 0))
    starts = [*near, *(guess * k / 32 for k in range(32))]
    low = max((e for e in starts if composed.log_delta_low(e) > log_delta), default=-math.inf)
    if low < 0:
        return low
    high = max(guess * (1 + 1e-6), low)
    while high - low > 1e-12 + 1e-11 * high:
        middle = (low + high) / 2
        above = composed.log_delta_low(middle) > log_delta
        low, high = (middle, high) if above else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class _Composed:
    """Suffix sums of the composed, tilted loss, from which δ̃(ε) is read in constant time."""

    step: float
    first: int
    plain: NDArray[np.float64]
    """Σ_{j ≥ k} of the tilted mass · e^(−t(L_j − centre))."""
    scaled: NDArray[np.float64]
    """The same times e^(−(L_j − centre))."""
    centre: float
    tilt: float
    log_scale: float
    """Log of what the sums must be multiplied with."""
    log_rounding: float
    stray: float
    """Bound on tilted mass that is at a wrong place, or missing."""
    beyond: float
    releases: int

    def _parts(self, epsilon: float) -> tuple[float, float, float]:
        k = min(max(math.floor(epsilon / self.step) + 1 - self.first, 0), len(self.plain) - 1)
        factor = math.exp(min(epsilon - self.centre, 700.0))
        a, b = float(self.plain[k]), factor * float(self.scaled[k])
        # sup over l > ε of e^(−t(l−centre))·(1 − e^(ε−l))
        log_sup = self.tilt * math.log(self.tilt / (1 + self.tilt)) - math.log1p(self.tilt)
        worst = math.exp(min(700.0, log_sup - self.tilt * (epsilon - self.centre)))
        slack = self.stray * worst + len(self.plain) * _EPS * (a + b)
        return a - b, slack, k + self.first

    def log_delta_high(self, epsilon: float) -> float:
        """Upper bound on log δ(ε); 0 below the window."""
        value, slack, index = self._parts(epsilon)
        if index > math.floor(epsilon / self.step) + 1:
            return 0.0
        log_value = math.log(max(value, 0.0) + slack + 1e-300) + self.log_scale + self.log_rounding
        return float(np.logaddexp(log_value, math.log(self.beyond)))

    def log_delta_low(self, epsilon: float) -> float:
        """Lower bound on log δ̃(ε) of the gridded losses."""
        value, slack, _ = self._parts(epsilon)
        return (
            math.log(value - slack) + self.log_scale - self.log_rounding
            if value > slack
            else -math.inf
        )

    def lower_shift(self, log_delta: float) -> tuple[float, float]:
        """How much ε, and how much δ, the grid can have added (docs/privacy.md §2.3)."""
        hoeffding = math.sqrt(self.releases * (_FORFEIT - log_delta) / 2)
        bias = self.step * math.exp(self.step) / 8 + LOSS_SLACK / self.step
        shift = self.step * (hoeffding + self.releases * bias)
        return shift, math.exp(log_delta - _FORFEIT) + 2 * self.beyond


def _compose(pairs: Pairs, guess: float, log_delta: float, *, removing: bool) -> _Composed | None:
    """Compose for ε near the guess and δ near its own; nearby questions share one answer."""
    nearby = 2 ** (math.ceil(4 * math.log2(max(guess, 1e-6))) / 4)
    return _composed(pairs, nearby, math.floor(4 * log_delta) / 4, removing)


@lru_cache(maxsize=8)
def _composed(
    pairs: Pairs,
    guess: float,
    log_delta: float,
    removing: bool,  # noqa: FBT001 - a cache key
) -> _Composed | None:
    releases = sum(count for _, count in pairs)
    log_tail = max(min(log_delta - math.log(1e6 * releases), math.log(1e-13)), -660.0)
    tail = math.exp(log_tail)
    step = _mesh(pairs, guess, log_delta, releases)
    for pair, _ in pairs:
        low, high = pair.range(tail, removing=removing)
        step = max(step, (high - low) / _MAX_POINTS)
    for _ in range(4):
        parts = [(on_grid(pair, step, tail, removing=removing), n) for pair, n in pairs]
        tilt = _tilt(parts, step, log_delta)
        tilted = [_tilted(part, step, tilt, count) for part, count in parts]
        radius, outside = _window(tilted, step)
        if radius <= step * _MAX_POINTS:
            beyond = sum(part.beyond * count for part, count in parts)
            return _convolve(tilted, step, tilt, _Window(radius, outside), beyond)
        step = 1.05 * radius / _MAX_POINTS
    return None


def _mesh(pairs: Pairs, guess: float, log_delta: float, releases: int) -> float:
    """Fine enough for the lower side's Hoeffding term, and never coarse against the loss's own spread."""
    variance = sum(count * pair.spread**2 for pair, count in pairs)
    aim = _RELATIVE_WIDTH * guess / math.sqrt(releases * (_FORFEIT - log_delta) / 2)
    return max(
        min(aim, 0.1 * math.sqrt(variance / releases)), 16 * math.sqrt(variance) / _MAX_POINTS
    )


def _coarsen(
    values: NDArray[np.float64], mass: NDArray[np.float64], *, upper: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merge neighbours onto the largest (or smallest) value of each block."""
    block = -(-len(values) // _COARSE)
    starts = np.arange(0, len(values), block)
    merge = np.maximum if upper else np.minimum
    return merge.reduceat(values, starts), np.add.reduceat(mass, starts)


def _log_moment(values: NDArray[np.float64], mass: NDArray[np.float64], t: float) -> float:
    exponent = t * values
    top = float(exponent.max())
    return top + math.log(max(float(mass @ np.exp(exponent - top)), 1e-300))


def _tilt(parts: list[tuple[GridLoss, int]], step: float, log_delta: float) -> float:
    """The t that makes the moment bound on ε smallest; any t is sound, this one is sharp."""
    coarse = [(*_coarsen(part.losses(step), part.mass, upper=True), n) for part, n in parts]

    def bound(log_t: float) -> float:
        t = math.exp(log_t)
        moment = sum(n * _log_moment(values, mass, t) for values, mass, n in coarse)
        return (moment - log_delta + t * math.log(t) - (t + 1) * math.log1p(t)) / t

    grid = np.linspace(math.log(0.02), math.log(5000.0), 26)
    best = int(np.argmin([bound(float(u)) for u in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    for _ in range(10):
        left, right = low + 0.382 * (high - low), low + 0.618 * (high - low)
        low, high = (low, right) if bound(left) < bound(right) else (left, high)
    return math.exp((low + high) / 2)


@dataclass(frozen=True, slots=True)
class _Tilted:
    index: NDArray[np.int64]
    weight: NDArray[np.float64]
    log_moment: float
    mean: float
    variance: float
    rounding: float
    count: int


def _tilted(part: GridLoss, step: float, t: float, count: int) -> _Tilted:
    keep = part.mass > 0
    index, mass = part.index[keep], part.mass[keep]
    losses, logs = index * step, np.log(mass)
    exponent = logs + t * losses
    top = float(exponent.max())
    weight = np.exp(exponent - top)
    total = float(weight.sum())
    weight /= total
    mean = float(weight @ losses)
    variance = float(weight @ (losses - mean) ** 2)
    size = float(np.abs(logs).max()) + t * float(np.abs(losses).max()) + abs(top)
    return _Tilted(
        index, weight, top + math.log(total), mean, variance, 8 * _EPS * (size + 20), count
    )


@dataclass(frozen=True, slots=True)
class _Window:
    radius: float
    outside: float


def _convolve(
    tilted: list[_Tilted], step: float, t: float, window: _Window, beyond: float
) -> _Composed:
    size = next_fast_len(2 * math.ceil(window.radius / step) + 8, real=True)
    centre = sum(x.count * x.mean for x in tilted)
    product = np.ones(size // 2 + 1, dtype=np.complex128)
    sensitivity = np.zeros(size // 2 + 1)
    base = 0
    for x in tilted:
        origin = round(x.mean / step)
        base += x.count * origin
        transform = rfft(np.bincount((x.index - origin) % size, weights=x.weight, minlength=size))
        sensitivity += x.count / np.maximum(np.abs(transform), 1e-300)
        product *= transform**x.count
    middle = round(centre / step)
    masses = np.maximum(np.roll(irfft(product, size), size // 2 - (middle - base)), 0.0)
    # Each transform errs by a few ulps·log N; a power multiplies that by its count.  The inverse
    # turns a sum of errors over frequencies into a bound on each point, N points into the total.
    ulps = 8 * _EPS * math.log2(size)
    error = ulps * (2 * float((np.abs(product) * sensitivity).sum()) + math.sqrt(size))
    first = middle - size // 2
    losses = (first + np.arange(size)) * step
    start = int(np.searchsorted(losses, centre - 300.0 / (t + 1)))
    relative = losses[start:] - centre
    plain = masses[start:] * np.exp(-t * relative)
    scaled = plain * np.exp(-relative)
    log_moment = sum(x.count * x.log_moment for x in tilted)
    return _Composed(
        step=step,
        first=first + start,
        plain=_suffix_sums(plain),
        scaled=_suffix_sums(scaled),
        centre=centre,
        tilt=t,
        log_scale=log_moment - t * centre,
        log_rounding=sum(x.count * x.rounding for x in tilted),
        stray=window.outside + error,
        beyond=beyond,
        releases=sum(x.count for x in tilted),
    )


def _suffix_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums from each place to the end, with a zero for the place after the last."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _window(tilted: list[_Tilted], step: float) -> tuple[float, float]:
    """A radius about the tilted mean, and a bound on the tilted mass outside of it."""
    spread = math.sqrt(sum(x.count * x.variance for x in tilted))
    radius = 7.0 * spread + 4 * step
    outside = _chernoff(tilted, step, radius, spread)
    while outside > _WRAPPED and radius < 400 * spread:
        radius *= 1.15
        outside = _chernoff(tilted, step, radius, spread)
    return radius, outside


def _chernoff(tilted: list[_Tilted], step: float, radius: float, spread: float) -> float:
    """Mass further than radius − 2·step from the mean; blocks are merged outward, so it stays a bound."""
    reach = radius - 2 * step
    total = 0.0
    for sign in (1, -1):
        coarse = [
            (
                *_coarsen(
                    sign * (step * x.index.astype(np.float64) - x.mean), x.weight, upper=True
                ),
                x.count,
            )
            for x in tilted
        ]
        best = 0.0
        for factor in 2.0 ** -np.arange(0, 7, 0.5):
            u = float(factor) * reach / spread**2
            moment = sum(n * _log_moment(values, mass, u) for values, mass, n in coarse)
            best = min(best, moment - u * reach)
        total += math.exp(best)
    return total
