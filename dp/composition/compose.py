"""Composition of gridded losses: an exponential tilt, one circular FFT, and bounds on the errors of both.

The laws of all releases are tilted by e^(tL), so that the part that decides δ is at the centre, and
convolved.  The mass that wraps around (Chernoff's bound on the same masses) and the errors of floating point
(a forward error bound) are added to an upper bound and subtracted from a lower one (docs/privacy.md §2.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.composition.discretise import GridLaw
    from dp.composition.tilting import Tilted, Window

    Laws = tuple[tuple[GridLaw, int], ...]

__all__ = ["Composed", "compose", "log1p", "transform_rounding"]

_EPS = float(np.finfo(np.float64).eps)
_REACH = 300.0
_LARGE = 700.0
_FAR = 500.0
_UNDERFLOW = 1e-300
"""What weights that are too small for a float may add up to."""


@dataclass(frozen=True, slots=True)
class Composed:
    """Suffix sums of the composed, tilted loss, from which δ̃(ε) is read in constant time.

    Args:
        step: mesh.
        offset: offset of the composed grid.
        first: grid index of the first sum.
        relative: losses less the centre.
        weights: the tilted masses times e^(−t(L_j − centre)), w.
        plain: Σ_{j ≥ k} w_j.
        fallen: Σ_{j ≥ k} w_j·e^(−(L_j − centre)).
        risen: Σ_{j ≥ k} w_j·(1 − e^(−(L_j − centre))).
        sizes: like `risen`, with the absolute values of its terms.
        centre: mean of the tilted loss.
        tilt: t.
        log_scale: log of the factor of the sums.
        log_rounding: relative error of that factor, and of the masses.
        stray: bound on tilted mass that is at a wrong place, or missing.
        error: root sum square of what rounding can have changed the tilted masses by.
        beyond: mass with infinite loss.
        shift: bound on the change of the loss by rounding.
    """

    step: float
    offset: float
    first: int
    relative: NDArray[np.float64]
    weights: NDArray[np.float64]
    plain: NDArray[np.float64]
    fallen: NDArray[np.float64]
    risen: NDArray[np.float64]
    sizes: NDArray[np.float64]
    centre: float
    tilt: float
    log_scale: float
    log_rounding: float
    stray: float
    error: float
    beyond: float
    shift: float

    @property
    def end(self) -> float:
        """A loss above all of the window."""
        return self.centre + self.step * (len(self.plain) + 2)

    @property
    def reach(self) -> float:
        """A distance of losses over which δ changes little."""
        return max(16 * self.step, 0.1 / self.tilt)

    def _value(self, epsilon: float) -> tuple[float, float]:
        """Σ_{L > ε} w·(1 − e^(ε − L)), and a bound on its error."""
        place = math.floor((epsilon - self.offset) / self.step) + 1 - self.first
        k = min(max(place, 0), len(self.plain) - 1)
        away = epsilon - self.centre
        plain = float(self.plain[k])
        grown = math.exp(min(away, _LARGE))
        # far above, e^(ε − centre) overflows and `fallen` underflows: the terms one by one
        if away * (self.tilt + 1) > _FAR:
            terms = -self.weights[k:] * np.expm1(np.minimum(away - self.relative[k:], 0.0))
            value = size = float(terms.sum())
        elif abs(away) > 1:
            fallen = grown * float(self.fallen[k])
            value, size = plain - fallen, plain + fallen
        else:  # the same without cancellation where all losses are small
            more = math.expm1(away)
            value = grown * float(self.risen[k]) - more * plain
            size = grown * float(self.sizes[k]) + abs(more) * plain
        # largest value and root sum square of e^(−t(l − centre))·(1 − e^(ε − l)) over the grid's l > ε
        t = self.tilt
        log_sup = -t * math.log1p(1 / t) - math.log1p(t)
        squares = 1 / (t * (2 * t + 1) * (2 * t + 2)) / self.step + math.exp(2 * log_sup)
        wrong = self.stray * math.exp(log_sup) + self.error * math.sqrt(squares)
        return value, wrong * math.exp(min(_LARGE, -t * away)) + (len(self.plain) + 8) * _EPS * size

    def log_delta_high(self, epsilon: float) -> float:
        """Upper bound on log δ(ε) of every pair that the laws bound from above."""
        moved = epsilon - self.shift - 2 * _EPS * abs(epsilon)
        if math.floor((moved - self.offset) / self.step) + 1 < self.first:
            return 0.0  # below the window only δ ≤ 1 is known
        value, slack = self._value(moved)
        logs = math.log(max(value, 0.0) + slack + _UNDERFLOW) + self.log_scale + self.log_rounding
        beyond = math.log(self.beyond) if self.beyond > 0 else -math.inf
        return min(0.0, float(np.logaddexp(logs, beyond)))

    def log_delta_low(self, epsilon: float) -> float:
        """Lower bound on log δ(ε) of every pair that the laws bound from below; −inf if there is none."""
        value, slack = self._value(epsilon + self.shift + 2 * _EPS * abs(epsilon))
        if value <= slack + _UNDERFLOW:
            return -math.inf  # all of it may be rounding
        return math.log(value - slack - _UNDERFLOW) + self.log_scale - self.log_rounding


def compose(parts: list[Tilted], laws: Laws, t: float, span: Window) -> Composed:
    """Convolve tilted laws on one step.

    Args:
        parts: the tilted laws.
        laws: the laws before the tilt, with the same counts.
        t: the tilt.
        span: a window for their sum.
    """
    step = laws[0][0].step
    size = next_fast_len(math.ceil(span.width / step) + 8, real=True)
    exponent = np.zeros(size // 2 + 1, dtype=np.complex128)
    lost = np.zeros(size // 2 + 1)
    base = 0
    for x in parts:
        origin, away, logs, wrong = _transform(x, size)
        base += x.count * origin
        exponent += x.count * logs
        lost += x.count * wrong / np.maximum(np.abs(1 + away), 1e-300)
    product = np.exp(exponent)
    centre = sum(x.count * x.mean for x in parts)
    first = math.floor((centre - span.below) / step)
    # A mass below 0 is rounding, which `error` covers.
    masses = np.maximum(np.roll(irfft(product, size), base - first), 0.0)
    # Errors by frequency, and by Parseval their size in the masses (docs/privacy.md §2.4, item 2).
    errors = np.abs(product) * (transform_rounding(size) + 8 * _EPS * np.abs(exponent) + lost)
    error = math.sqrt(2 * float(errors @ errors) / size)  # Parseval
    losses = (first + np.arange(size)) * step
    # Further below the centre the weights would overflow.
    start = int(np.searchsorted(losses, centre - _REACH / (t + 1)))
    relative = (losses[start:] - centre).astype(np.float64)
    weights = masses[start:] * np.exp(-t * relative)
    terms = -weights * np.expm1(-relative)
    offset = sum(law.offset * count for law, count in laws)
    return Composed(
        step=step,
        offset=offset,
        first=first + start,
        relative=relative,
        weights=weights,
        plain=_suffix_sums(weights),
        fallen=_suffix_sums(weights * np.exp(-relative)),
        risen=_suffix_sums(terms),
        sizes=_suffix_sums(np.abs(terms)),
        centre=centre + offset,
        tilt=t,
        log_scale=sum(x.count * x.log_moment for x in parts) - t * (centre + offset),
        log_rounding=sum(x.count * x.rounding for x in parts),
        stray=span.outside,
        error=error,
        beyond=sum(law.beyond * count for law, count in laws),
        shift=sum(law.shift * count for law, count in laws) + 8 * _EPS * (abs(centre) + offset),
    )


def transform_rounding(size: int) -> float:
    """Error of a transform's entries, for each unit of the sum of what is transformed."""
    return 8 * _EPS * math.log2(size)


def _transform(
    x: Tilted, size: int
) -> tuple[int, NDArray[np.complex128], NDArray[np.complex128], NDArray[np.float64]]:
    """The transform of one law about its heaviest point, less 1, and what rounding may have added.

    A power of the transform multiplies its error by the count.  So no error may be left at the frequencies
    that decide, which are low: what is near the heaviest point is transformed as a second difference.

    Returns:
        The heaviest point's grid index, complex128[size // 2 + 1], the logarithm of 1 plus that, and the
        entries' errors.
    """
    heaviest = int(np.argmax(x.weight))
    origin = int(x.index[heaviest])
    place, weight = x.index - origin, x.weight.copy()
    weight[heaviest] = 0.0
    reach = _nearness(place, weight, x.count, size)
    away, error = _split_transform(place, weight, reach, size)
    # a lattice of few points has high frequencies that do not vanish: there the plain transform is better
    logs = log1p(away)
    power = np.exp(x.count * logs.real)
    plain = transform_rounding(size) * 2 * float(weight.sum())
    if np.sum((power * error) ** 2) > np.sum((power * plain) ** 2):
        away, error = _split_transform(place, weight, 0, size)
        logs = log1p(away)
    return origin, away, logs, error


def _split_transform(
    place: NDArray[np.int64], weight: NDArray[np.float64], reach: int, size: int
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Σ_j w_j·(x^j − 1), as a second difference up to `reach`, and the entries' errors."""
    near = np.abs(place) <= reach
    far = np.where(near, 0.0, weight)
    jumps = float(far.sum())
    moved = np.bincount(place % size, weights=far, minlength=size)
    moved[0] -= jumps
    away = rfft(moved)
    error = np.full(len(away), transform_rounding(size) * 2 * jumps)
    if near.sum() > 1:
        slow, wrong = _second_difference(place[near], weight[near], size)
        away += slow
        error += wrong
    return away, error


def _nearness(place: NDArray[np.int64], weight: NDArray[np.float64], count: int, size: int) -> int:
    """How far from the heaviest point a mass is near it; any answer is sound, this one is sharp.

    Where the steps up to J have a variance of 6J² together, no frequency above π/J matters.
    """
    reach = np.abs(place)
    best, j = 0, 1
    while j < size // 4:
        within = reach <= j
        if count * float(weight[within] @ reach[within].astype(np.float64) ** 2) >= 6.0 * j * j:
            best = j
        j *= 2
    return best


def _second_difference(
    place: NDArray[np.int64], weight: NDArray[np.float64], size: int
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Σ_j w_j·(x^j − 1) for x = e^(−iω), with an error that falls with ω².

    For j > 0, x^j − 1 = j·(x − 1) + (x − 1)²·Σ_{k < j−1} (j − 1 − k)·x^k, and for j < 0 the same with 1/x.
    """
    reach = int(np.abs(place).max())
    angle = math.pi / size * np.arange(size // 2 + 1)
    step = -2j * np.sin(angle) * np.exp(-1j * angle)
    coefficients = np.zeros(size)
    total = np.zeros_like(step)
    means = 0.0
    for side, turned in ((1, step), (-1, np.conj(step))):
        on = place * side > 0
        mass = np.bincount(place[on] * side, weights=weight[on], minlength=reach + 1)
        mean = math.fsum((mass * np.arange(reach + 1)).tolist())
        means += mean
        total += mean * turned
        beyond = np.cumsum(np.cumsum(mass[:1:-1]))[::-1]
        where = np.arange(len(beyond)) if side > 0 else -np.arange(2, len(beyond) + 2)
        coefficients[where] += beyond
    length = np.abs(step)
    curvature = float(coefficients.sum())
    total += step**2 * rfft(coefficients)
    error = (
        transform_rounding(size) + 4 * _EPS * reach
    ) * curvature * length**2 + 16 * _EPS * means * length
    return total, error


def log1p(z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Log(1 + z), with a small relative error where z is small."""
    square = np.maximum(z.real * (2 + z.real) + z.imag**2, -0.5)
    length = np.maximum(np.abs(1 + z), 1e-300)
    logs = np.where(square > -0.5, 0.5 * np.log1p(square), np.log(length))
    return logs + 1j * np.arctan2(z.imag, 1 + z.real)


def _suffix_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums from each index to the end, with a zero for the index after the last."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)
