"""Composition on two scales: fine cells for one release, and a coarse window for the sum of all.

A sum of many releases is much smoother than one of them.  Its transform is small beyond some frequency, which
is proven from the law of one release, and δ(ε) is a sum over the lower frequencies alone.  The transform of
one release at these is computed from moments of its masses about the points of a coarse grid.  So the number
of frequencies does not depend on the mesh of one release (docs/privacy.md §2.4).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import next_fast_len, rfft

from dp.composition.compose import log1p, transform_rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.composition.discretise import GridLaw
    from dp.composition.tilting import Tilted, Window

    Laws = tuple[tuple[GridLaw, int], ...]

__all__ = ["Spectrum", "spectrum"]

_EPS = float(np.finfo(np.float64).eps)
_MAX_POINTS = 1 << 18
"""Points of the coarse window."""
_MOMENTS = 24
"""Moments about a coarse point; (π/2)^24/24! is 8e-20."""
_LEEWAY = math.log(1e4)
"""Log of how much more may be left out beyond the last frequency than outside the window."""
_RATIO = 1.25
"""Of the frequencies between which one bound on the transform is looked for."""
_LARGEST = 2**62
_BULK = 1 << 16
"""Number of masses, and of grid points on either side of the heaviest one, among which masses are paired."""
_BLOCK = 64
"""Number of masses that are added one after the other."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The tilted sum's transform at the frequencies 2πn/period, from which δ̃(ε) is read.

    Args:
        step: mesh of the sum's losses.
        points: number of them in a period.
        origin: loss about which the transform is taken.
        terms: complex128[n], the transform, times the part of the kernel that does not depend on ε.
        turned: complex128[n], e^(−(t + iu)·step) at each frequency u.
        error: bound on what rounding changes their sum by, for each unit of what multiplies them.
        cut: bound on the sum of the frequencies that are left out.
        centre: mean of the tilted loss.
        lowest: where the window begins.
        tilt: t.
        log_moment: log of the moment at t.
        log_rounding: relative error of its exponential, and of the masses.
        stray: bound on the tilted mass outside the window.
        beyond: mass with infinite loss.
        shift: bound on the change of the loss by rounding.
    """

    step: float
    points: int
    origin: float
    terms: NDArray[np.complex128]
    turned: NDArray[np.complex128]
    error: float
    cut: float
    centre: float
    lowest: float
    tilt: float
    log_moment: float
    log_rounding: float
    stray: float
    beyond: float
    shift: float

    @property
    def end(self) -> float:
        """A loss above all of the window."""
        return self.lowest + self.step * self.points

    @property
    def reach(self) -> float:
        """A distance of losses over which δ changes little."""
        return max(16 * self.step, 0.1 / self.tilt)

    def _value(self, epsilon: float) -> tuple[float, float]:
        """Mean of e^(−t(L − ε))·(1 − e^(ε − L)) over L > ε, repeated by the period; and a bound on its error.

        Over the losses first, first + step, … above ε the kernel's transform is a geometric series.
        """
        place = math.floor((epsilon - self.origin) / self.step) + 1
        first = min(max(self.origin + place * self.step - epsilon, 0.0), self.step)
        turns = np.arange(len(self.terms)) * (place % self.points) % self.points
        wave = np.exp(turns * (-2j * math.pi / self.points))
        start, more = -math.expm1(-first), -math.exp(-first) * math.expm1(first - self.step)
        # of one block of memory the sum is pairwise: what it loses hardly grows with the length
        value = float(np.copy((self.terms * wave * (start + more * self.turned)).real).sum())
        fall = math.exp(-self.tilt * first)
        return value * fall, (start + more) * self.error + self.cut

    def log_delta_high(self, epsilon: float) -> float:
        """Upper bound on log δ(ε) of every pair that the laws bound from above."""
        moved = epsilon - self.shift
        if moved <= self.lowest:
            return 0.0
        value, slack = self._value(moved)  # what is repeated is only added
        logs = math.log(max(value, 0.0) + slack + 1e-300) + self._log_scale(moved)
        beyond = math.log(self.beyond) if self.beyond > 0 else -math.inf
        return min(0.0, float(np.logaddexp(logs + self.log_rounding, beyond)))

    def log_delta_low(self, epsilon: float) -> float:
        """Lower bound on log δ(ε) of every pair that the laws bound from below; −inf if there is none."""
        moved = epsilon + self.shift
        room = self.end - moved
        if moved <= self.lowest or room <= 0:
            return -math.inf
        value, slack = self._value(moved)
        # k(y) = e^(−ty)·(1 − e^(−y)) a period further on, and all of it for what is outside the window
        t, period = self.tilt, self.step * self.points
        fall = -math.expm1(-t * period)
        value -= slack + math.exp(-t * room) / fall
        value -= self.stray * (math.exp(_log_most(t)) + math.exp(-t * period) / fall)
        return (
            math.log(value) + self._log_scale(moved) - self.log_rounding if value > 0 else -math.inf
        )

    def _log_scale(self, epsilon: float) -> float:
        return self.log_moment - self.tilt * epsilon


def _log_most(t: float) -> float:
    """Log of the largest value of e^(−ty)·(1 − e^(−y))."""
    return -t * math.log1p(1 / t) - math.log1p(t)


def spectrum(parts: list[Tilted], laws: Laws, t: float, span: Window) -> Spectrum | None:
    """Compose tilted laws on one step, by the low frequencies of their sum.

    Args:
        parts: the tilted laws.
        laws: the laws before the tilt, with the same counts.
        t: the tilt.
        span: a window for their sum.

    Returns:
        The composition; None if it would take more frequencies than are worth it.
    """
    step = laws[0][0].step
    if span.outside <= 0:  # no mass is outside, so that nothing may be left out
        return None
    allowed = math.log(span.outside) + _log_most(t)
    least = span.width - allowed / t
    end = _end(parts, step, allowed + _LEEWAY, math.pi * _MAX_POINTS / least)
    if end is None:
        return None
    frequency, left = end
    merged = math.floor(math.log2(math.pi / frequency / step))
    coarse = step * 2.0**merged
    size = 2 * next_fast_len(math.ceil(least / coarse / 2) + 4, real=True)
    if merged < 1 or size > _MAX_POINTS:
        return None
    half = size // 2
    exponent = np.zeros(half + 1, dtype=np.complex128)
    lost = np.zeros(half + 1)
    base = 0
    for x in parts:
        place, away, wrong = _transform(x, merged, size)
        base += x.count * place
        exponent += x.count * log1p(away)
        lost += x.count * wrong / np.maximum(np.abs(1 + away), 1e-300)
    points = size << merged
    if points * half > _LARGEST:  # places of phases would be beyond integers
        return None
    u = 2 * math.pi / points / step * np.arange(half + 1)
    falls = [np.expm1(-(s + 1j * u) * step) for s in (t, t + 1)]
    twice = np.append(1.0, np.full(half, 2.0)) / points
    product: NDArray[np.complex128] = np.exp(exponent)
    terms = product * twice / (falls[0] * falls[1])
    errors = np.abs(terms) * (128 * _EPS + 8 * _EPS * np.abs(exponent) + lost)
    offset = sum(law.offset * count for law, count in laws)
    origin = base * step + offset
    centre = sum(x.count * x.mean for x in parts) + offset
    log_moment = sum(x.count * x.log_moment for x in parts)
    reach = abs(centre) + span.width
    rounding = 8 * _EPS * (abs(log_moment) + t * reach)
    return Spectrum(
        step=step,
        points=points,
        origin=origin,
        terms=terms,
        turned=1 + falls[0],
        error=float(errors.sum()),
        cut=math.exp(-left) * coarse,  # of u at least π/coarse, where the kernel is at most π²/u²
        centre=centre,
        lowest=centre - span.below,
        tilt=t,
        log_moment=log_moment,
        log_rounding=sum(x.count * x.rounding for x in parts) + rounding,
        stray=span.outside,
        beyond=sum(law.beyond * count for law, count in laws),
        shift=sum(law.shift * count for law, count in laws) + 8 * _EPS * (reach + abs(origin)),
    )


def _transform(
    x: Tilted, merged: int, size: int
) -> tuple[int, NDArray[np.complex128], NDArray[np.float64]]:
    """The transform of one law about its heaviest point, less 1, and what rounding may have added.

    With d the distance of a mass from the nearest coarse point b, e^(iu(b + d)) = Σ_k e^(iub)·(iud)^k/k!:
    one transform of the coarse points for each power.  At the frequencies in use |ud| is at most π/2.  Masses
    about the heaviest point add nothing to the zeroth power, and little that is not proportional to u.

    Args:
        x: the tilted law.
        merged: log2 of how many steps the coarse points are apart.
        size: number of coarse points in the window.

    Returns:
        The heaviest point's grid index, complex128[size // 2 + 1], and the entries' errors.
    """
    origin = int(x.index[int(np.argmax(x.weight))])
    place = x.index - origin
    middle = 1 << (merged - 1)
    points = (place + middle) >> merged
    away = (place - (points << merged)).astype(np.float64) / middle
    # sums of few masses each, so that little is lost
    cuts = np.flatnonzero(np.diff(points, prepend=points[0] - 1))
    starts = np.union1d(cuts, np.arange(0, len(points), _BLOCK))
    where = points[starts] % size
    sums = _BLOCK + int(np.bincount(where - where.min()).max()) + _MOMENTS
    rounding = transform_rounding(size) + sums * _EPS
    theta = math.pi / size * np.arange(size // 2 + 1)
    moment = np.where(points == 0, 0.0, x.weight)
    jumps = float(moment.sum())
    total = _sums(moment, starts, where, size)
    total[0] -= jumps
    found: NDArray[np.complex128] = rfft(total)
    error = np.full(len(found), 2 * rounding * jumps)
    moment, power = x.weight, np.ones_like(found)
    for k in range(1, _MOMENTS):
        moment = moment * away
        power = power * (-1j * theta / k)
        found += power * rfft(_sums(moment, starts, where, size))
        error += np.abs(power) * (rounding * float(np.abs(moment).sum()))
    rest = float(np.abs(moment).sum()) * np.abs(power) * theta / _MOMENTS
    return origin, np.conj(found), error + 2 * rest


def _sums(
    values: NDArray[np.float64], starts: NDArray[np.int64], where: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    blocks: NDArray[np.float64] = np.add.reduceat(values, starts)
    return np.bincount(where, weights=blocks, minlength=size).astype(np.float64)


def _end(
    parts: list[Tilted], step: float, allowed: float, most: float
) -> tuple[float, float] | None:
    """A frequency from which to π/step the transform of the sum is small.

    Args:
        parts: the tilted laws.
        step: their mesh.
        allowed: log of what may be left beyond the frequency.
        most: the largest frequency that is worth it.

    Returns:
        The frequency, and −log of a bound on the transform from there on; None if there is none up to `most`.
    """
    variance = sum(x.count * x.variance for x in parts)
    lowest = math.sqrt(2 / variance)
    if not lowest < min(most, math.pi / step) or _stands(parts) < -allowed - math.log(1 / step):
        return None
    number = math.ceil(math.log(math.pi / step / lowest) / math.log(_RATIO)) + 1
    edges = np.geomspace(lowest, math.pi / step, number)
    left = np.zeros(number - 1)
    for x in parts:
        left -= x.count * np.log1p(-_missing(x, step, edges))
    left = np.minimum.accumulate(left[::-1])[::-1]
    enough = (left >= math.log(math.pi) - allowed - np.log(edges[:-1])) & (edges[:-1] <= most)
    if not enough.any():
        return None
    first = int(np.argmax(enough))
    return float(edges[first]), float(left[first])


def _stands(parts: list[Tilted]) -> float:
    """A bound on −log of the sum's transform at every frequency: a mass w leaves at least 2w − 1 of one law.

    Where releases seldom take part it is so small that no frequency needs to be looked at.
    """
    left = 0.0
    for x in parts:
        kept = 2 * float(x.weight.max()) - 1
        left += -x.count * math.log(kept) if kept > 0 else math.inf
    return left


def _missing(x: Tilted, step: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower bounds on 1 − |E e^(iuL)| for u between successive edges.

    Two ways (docs/privacy.md §2.4).  For two independent draws L, L' of what lies within some distance of the
    heaviest point, |E e^(iuL)|² ≤ 1 − E(u(L−L'))²/2 + E(u(L−L'))⁴/24.  And two masses of at least m at a
    distance D add 2m·|cos(uD/2)| at most.

    Args:
        x: the tilted law.
        step: its mesh.
        edges: float64[n + 1], increasing, up to π/step.
    """
    place = (x.index - x.index[int(np.argmax(x.weight))]).astype(np.float64) * step
    size = np.abs(place)
    low, high = edges[:-1], edges[1:]
    best = np.zeros(len(low))
    reach = step
    while True:
        near = size <= reach
        mass, at = x.weight[near], place[near]
        total = float(mass.sum())
        away = at - float(mass @ at) / total
        second = float(mass @ away**2) / total
        fourth = 2 * float(mass @ away**4) / total + 6 * second**2
        fall = low**2 * second - low**4 * fourth / 24
        # it rises up to u² = 12·second/fourth
        sound = (fall > 0) & (high**2 * fourth <= 12 * second)
        gain = total * -np.expm1(
            0.5 * np.log1p(-np.where(sound, np.minimum(fall, 1.0 - _EPS), 0.0))
        )
        best = np.maximum(best, np.where(sound, gain, 0.0))
        if near.all():
            break
        reach *= 2
    return np.maximum(best, _paired(x, step, edges)) * (1 - 1e-6)


def _paired(x: Tilted, step: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The second way of `_missing`."""
    place = x.index - x.index[int(np.argmax(x.weight))]
    order = np.abs(place)
    reach = int(order[np.argsort(order, kind="stable")][:_BULK][-1])
    reach = min(reach, _BULK)
    near = order <= reach
    dense = np.bincount(place[near] + reach, weights=x.weight[near], minlength=2 * reach + 1)
    found = np.zeros(len(edges) - 1)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        distance = round(2 * math.pi / (low + high) / step)
        if not 1 <= distance <= reach:
            continue
        angles = abs(math.pi - low * distance * step) / 2, abs(math.pi - high * distance * step) / 2
        if max(angles) >= math.pi / 2:
            continue
        blocks = -(-len(dense) // (2 * distance))
        padded = np.zeros(blocks * 2 * distance)
        padded[: len(dense)] = dense
        two = padded.reshape(blocks, 2, distance)
        shared = 2 * float(np.minimum(two[:, 0], two[:, 1]).sum())
        found[i] = shared * (1 - math.sin(max(angles)))
    return found
