"""The whole privacy curve: δ at every ε, the trade-off of errors that follows, and groups of clients.

Both sides are known everywhere.  Between the points, convexity in e^ε gives the bounds: chords are above the
curve, and the extended chords of neighbouring cells are below it (docs/privacy.md §13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dp.checks import assign, at_least, fraction, real_array, whole
from dp.composition.bracket import Bracket
from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PrivacyCurve", "group_size"]

_LARGE = 700.0
_MOST_CLIENTS = 1000
_ROUNDING = 1e-13
"""Relative error of numbers that are computed from the points of a curve."""


@dataclass(frozen=True, slots=True, eq=False)
class PrivacyCurve:
    """A privacy curve between proven bounds: δ(ε) for ε ≥ 0, which determines the trade-off function.

    `Accountant.curve` makes them.

    Args:
        epsilons: float64[n], increasing from 0, n ≥ 2.
        low: float64[n], lower bounds of δ at each ε; 0 where nothing is known.
        high: float64[n], upper bounds of δ at each ε, each at most 1; the claim to publish.

    Raises:
        InvalidParameterError: shapes differ, values are out of range, or the epsilons do not increase from 0
            or are more than 700 apart.

    Example:
        >>> from dp import Accountant, GaussianEvent
        >>> curve = Accountant().compose(GaussianEvent(1.0)).curve()
        >>> round(curve.delta(1.0).high, 3), round(curve.epsilon(1e-5).high, 2)
        (0.127, 4.38)
        >>> low, high = curve.tradeoff(np.array([0.05]))  # least type II error of a test at level 0.05
        >>> round(float(low[0]), 3), round(float(high[0]), 3)
        (0.74, 0.741)
    """

    epsilons: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __post_init__(self) -> None:
        names = ("epsilons", "low", "high")
        arrays = {name: real_array(name, getattr(self, name)).copy() for name in names}
        epsilons, low, high = (arrays[name] for name in names)
        if epsilons.ndim != 1 or len(epsilons) < 2 or not epsilons.shape == low.shape == high.shape:
            raise InvalidParameterError("a curve needs as many bounds as epsilons, at least two")
        if epsilons[0] != 0 or not (np.diff(epsilons) > 0).all() or not np.isfinite(epsilons).all():
            raise InvalidParameterError("the epsilons of a curve increase from 0")
        if np.diff(epsilons).max() > _LARGE:
            raise InvalidParameterError(
                f"neighbouring epsilons of a curve are at most {_LARGE:g} apart: give more points"
            )
        if not ((low >= 0) & (low <= high) & (high <= 1)).all():
            raise InvalidParameterError("bounds of δ keep to 0 ≤ low ≤ high ≤ 1")
        # δ falls with ε, so each bound also holds on one side of its point
        arrays["high"] = np.minimum.accumulate(high)
        arrays["low"] = np.minimum(np.maximum.accumulate(low[::-1])[::-1], arrays["high"])
        for array in arrays.values():
            array.setflags(write=False)
        assign(self, **arrays)

    def delta(self, epsilon: float) -> Bracket:
        """Bracket δ at this ε ≥ 0."""
        epsilon = at_least("epsilon", epsilon, 0)
        i = int(np.searchsorted(self.epsilons, epsilon, side="right")) - 1
        if epsilon == self.epsilons[i]:
            return Bracket(float(self.low[i]), float(self.high[i]))
        if i == len(self.epsilons) - 1:
            return Bracket(0.0, float(self.high[i]))  # δ falls, and nothing bounds it from below
        away, gap = epsilon - self.epsilons[i], self.epsilons[i + 1] - self.epsilons[i]
        # δ is convex in e^ε, so the chord is above it (docs/privacy.md §13).
        part = math.expm1(away) / math.expm1(gap)
        chord = (1 - part) * self.high[i] + part * self.high[i + 1]
        high = min(float(chord) * (1 + _ROUNDING), 1.0)
        base, slope = self._below()
        low = float((base[:, i] + part * slope[:, i]).max()) * (1 - _ROUNDING)
        return Bracket(min(max(low, 0.0), high), high)

    def epsilon(self, delta: float) -> Bracket:
        """Bracket the smallest ε at this δ; infinite if the curve does not go down to it."""
        delta = fraction("delta", delta)
        ends: list[float] = []
        for upper in (False, True):
            bounds = self.high if upper else self.low
            over = np.flatnonzero(bounds > delta)
            if not over.size:
                ends.append(0.0)
                continue
            i = int(over[-1])
            if i == len(bounds) - 1:
                ends.append(math.inf if upper else float(self.epsilons[i]))
                continue
            ends.append(self._between(i, delta, upper=upper))
        return Bracket(min(ends), ends[1])

    def _between(self, i: int, delta: float, *, upper: bool) -> float:
        """The ε where a bound passes this δ between point i and the next, rounded to the safe side."""
        low, high = float(self.epsilons[i]), float(self.epsilons[i + 1])
        for _ in range(60):
            middle = (low + high) / 2
            bracket = self.delta(middle)
            over = (bracket.high if upper else bracket.low) > delta
            low, high = (middle, high) if over else (low, middle)
        return high if upper else low

    def tradeoff(
        self, type_1: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bracket the smallest type II error of any test that distinguishes two neighbours at these levels.

        This is the trade-off function of f-differential privacy (Dong, Roth and Su 2022), symmetrised: either
        neighbour may be the null hypothesis.

        Args:
            type_1: float64[m], levels in [0, 1].

        Returns:
            Two float64[m]. Every test errs at least as often as the first says: publish this one. Some test
            errs at most as often as the second says.

        Raises:
            InvalidParameterError: a level is out of range.
            InvalidParameterError: a level that is none.
        """
        alpha = np.atleast_1d(real_array("type_1", type_1))
        if not ((alpha >= 0) & (alpha <= 1)).all():
            raise InvalidParameterError("levels of a test are in [0, 1]")
        # Upper bounds of δ bound the errors from below, and lower bounds of δ from above.
        low = _best(self.epsilons, self.high, alpha) * (1 - _ROUNDING)
        some = _best(*self._corners(), alpha) * (1 + _ROUNDING) + math.exp(-_LARGE)
        high = np.where(alpha > math.exp(-_LARGE), np.minimum(some, 1 - alpha), 1 - alpha)
        return np.minimum(low, high), high

    def group(self, size: int) -> PrivacyCurve:
        """The curve of `size` clients at once, whose joint presence an adversary must not detect.

        The upper side follows from the curve of one client alone (Dong, Roth and Su 2022, theorem 2.14), at
        the same epsilons. The lower side is that of one client. `Accountant.curve(group=…)` is tighter where
        it has more information than this curve.

        Args:
            size: number of clients in the group, from 1 to 1,000.

        Raises:
            InvalidParameterError: the size is out of range.
        """
        size = group_size(size)
        high, power = None, self.high  # of as many clients as the bits of the size say so far
        while True:
            if size % 2:
                high = power if high is None else self._chained(high, power)
            size //= 2
            if size == 0:
                return PrivacyCurve(self.epsilons, self.low, self.high if high is None else high)
            power = self._chained(power, power)

    def _chained(
        self, some: NDArray[np.float64], others: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Upper bounds for two groups together: min over a of δ(a) + e^a·δ'(ε − a)."""
        bounds = np.empty(len(self.epsilons))
        for place, epsilon in enumerate(self.epsilons):
            rest = epsilon - self.epsilons
            sums = [
                first + _scaled(self.epsilons, _extended(self.epsilons, second, rest))
                for first, second in ((some, others), (others, some))
            ]
            bounds[place] = np.min(sums)
        return np.minimum(bounds * (1 + _ROUNDING), 1.0)

    def as_dict(self) -> dict[str, Any]:
        """The curve as JSON-ready lists of n numbers: `epsilon`, `delta_low` and `delta_high`."""
        return {
            "epsilon": self.epsilons.tolist(),
            "delta_low": self.low.tolist(),
            "delta_high": self.high.tolist(),
        }

    def _below(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lines below the curve in every cell, by the part λ of the cell's width in e^ε.

        Returns:
            float64[3, n − 1] each, values at λ = 0 and slopes: the extended chord of the cell before, the
            extended chord of the cell after, and the value at the cell's end, above which the curve stays.
        """
        gaps = np.diff(self.epsilons)
        # width of a cell ÷ width of the one before
        ratio = np.expm1(gaps[1:]) / -np.expm1(-gaps[:-1])
        low, high = self.low, self.high
        base, slope = np.zeros((3, len(gaps))), np.zeros((3, len(gaps)))
        base[2] = low[1:]
        # before the first cell lies its mirror image: δ(−ε) = 1 − e^(−ε) + e^(−ε)·δ(ε), of width 1 − e^(−ε)
        shrunk = math.exp(-gaps[0])
        before = np.append(1 - shrunk + shrunk * high[1], high[:-2])
        wider = np.append(math.expm1(gaps[0]) / -math.expm1(-gaps[0]), ratio)
        base[0], slope[0] = low[:-1], (low[:-1] - before) * wider
        back = (low[1:-1] - high[2:]) / ratio
        base[1, :-1], slope[1, :-1] = low[1:-1] + back, -back
        base[1, -1] = low[-1]
        return base, slope

    def _corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points (ε, δ) whose lower hull is below the curve: all corners of the lines below it."""
        base, slope = self._below()
        parts = [np.zeros(base.shape[1]), np.ones(base.shape[1])]
        with np.errstate(divide="ignore", invalid="ignore"):
            for one, other in ((0, 1), (0, 2), (1, 2)):
                crossing = (base[other] - base[one]) / (slope[one] - slope[other])
                parts.append(np.clip(np.nan_to_num(crossing, nan=0.0), 0.0, 1.0))
        part = np.array(parts)
        value = (base[:, None] + part * slope[:, None]).max(axis=0) * (1 - _ROUNDING)
        gaps = np.diff(self.epsilons)
        where = self.epsilons[:-1] + np.log1p(part * np.expm1(gaps))
        # beyond the last point it is only known that δ ≥ 0
        epsilons = np.append(where.ravel(), self.epsilons[-1])
        return epsilons, np.append(np.maximum(value, 0.0).ravel(), 0.0)


def group_size(size: object) -> int:
    """Check the number of clients in a group.

    Raises:
        InvalidParameterError: it is no whole number from 1 to 1,000.
    """
    known = whole("the size of a group", size)
    if known > _MOST_CLIENTS:
        raise InvalidParameterError(
            f"a group has at most {_MOST_CLIENTS:,} clients, not {known:,}: the bound of a group grows at "
            "least as fast as its size, and says nothing about larger ones"
        )
    return known


def _best(
    epsilons: NDArray[np.float64], deltas: NDArray[np.float64], alpha: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Max over points of 1 − δ − e^ε·α and of its mirror image e^(−ε)·(1 − δ − α), at each α."""
    kept = epsilons <= _LARGE
    x, rest = np.exp(epsilons[kept])[:, None], (1 - deltas[kept])[:, None]
    best = np.maximum(rest - x * alpha, (rest - alpha) / x).max(axis=0)
    return np.maximum(best, 0.0)


def _extended(
    epsilons: NDArray[np.float64], high: NDArray[np.float64], where: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Upper bounds of δ at any ε, also below 0, from those at the points: chords in e^ε."""
    size = np.abs(where)
    i = np.clip(np.searchsorted(epsilons, size, side="right") - 1, 0, len(epsilons) - 2)
    gap, away = epsilons[i + 1] - epsilons[i], np.minimum(size, epsilons[-1]) - epsilons[i]
    part = np.expm1(away) / np.expm1(gap)
    value = (1 - part) * high[i] + part * high[i + 1]
    mirrored = -np.expm1(-size) + np.exp(-size) * value
    return np.where(where < 0, mirrored, value) * (1 + _ROUNDING)


def _scaled(epsilons: NDArray[np.float64], deltas: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^ε·δ, at most 1."""
    with np.errstate(divide="ignore"):
        return np.exp(np.minimum(epsilons + np.log(deltas), 0.0))
