"""The pair of a Skellam sum that one coordinate of a client's vector moves: what some data attain.

The theorem for Skellam noise bounds every vector from above (docs/privacy.md §5).  From below one vector is
enough: all of it in one coordinate.  Its loss rises with the output, since the law is log-concave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ive

from dp.losses.masses import just_below_zero, mixed_rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.losses.pairs import Masses

__all__ = ["SkellamPair", "has_table", "skellam_log_masses"]

_LARGEST_TABLE = 1 << 22
"""Number of outputs of the largest table."""
_SMALLEST_MASS = 1e-290
"""Below it a mass may be 0 in float64, and the loss of its output is unknown."""
_REACH, _MARGIN = 14.0, 60
"""How far a table reaches beyond both centres, in standard deviations and in outputs."""
_DEBYE = 1e4
"""A variance from which two terms of Debye's expansion leave less than 1e-13."""
_ROUNDING = 2e-12
"""Relative error of a mass; the tests compare with 40 digits."""


def skellam_log_masses(k: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """Log P[X = k] of a Skellam law with mean 0: log e^(−V)·I_k(V).

    Args:
        k: float64[n], whole numbers.
        variance: V.
    """
    if variance < _DEBYE:
        with np.errstate(divide="ignore"):
            return np.log(ive(np.abs(k), variance))
    # Debye's uniform expansion (DLMF 10.41.3), without the difference of large numbers x − V.
    x = np.hypot(k, variance)
    squared = (k / x) ** 2
    first = (3 - 5 * squared) / (24 * x)
    second = (81 - 462 * squared + 385 * squared**2) / (1152 * x * x)
    exponent = k * k / (x + variance) - k * np.arcsinh(k / variance)
    return exponent - 0.5 * np.log(2 * math.pi * x) + np.log1p(first + second)


def has_table(variance: float, shift: int) -> bool:
    """Whether all outputs of a table have masses in float64, and there are not too many of them.

    Args:
        variance: variance of the noise.
        shift: whole number ≥ 1 by which one coordinate moves.

    Example:
        >>> has_table(4.0, 1), has_table(4.0, 1000), has_table(1e-6, 1)
        (True, False, False)
    """
    if shift + 30 * math.sqrt(variance) > _LARGEST_TABLE:
        return False
    return variance >= _DEBYE or bool(ive(_reach(variance) + shift, variance) > _SMALLEST_MASS)


@dataclass(frozen=True, slots=True)
class SkellamPair:
    """(1−rate)·X + rate·(X + shift) against X, which has the Skellam law of this variance and mean 0.

    Args:
        rate: probability of joining.
        variance: variance of the noise.
        shift: whole number ≥ 1 by which the client moves one coordinate.

    Example:
        >>> halves = np.array([-math.inf, 0.0, math.inf])
        >>> present, _ = SkellamPair(1.0, 4.0, 1).cells(halves, removing=True)
        >>> present.round(4).tolist()  # as for a Gaussian of multiplier 2, but on the integers
        [0.3965, 0.6035]
    """

    rate: float
    variance: float
    shift: int

    @property
    def attained(self) -> SkellamPair:
        """One client sends `shift` in one coordinate, and the others nothing."""
        return self

    @property
    def exact(self) -> None:
        """None: no closed form is known."""

    @property
    def precision(self) -> None:
        """None: the pair is no plain Gaussian."""

    @property
    def mirrored(self) -> bool:
        """True without sampling, since the law is symmetric."""
        return self.rate == 1

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        inverse = self.shift / math.sqrt(self.variance)
        if self.rate == 1:
            return inverse
        return min(self.rate * math.sqrt(math.expm1(min(inverse**2, 30.0))), inverse)

    def renyi(self) -> None:
        """None: no closed form is known."""

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:
        """See Pair."""
        table = _table(self)
        mass = table.joined if removing else table.absent
        below, above = np.cumsum(mass), np.cumsum(mass[::-1])[::-1]
        first = int(np.searchsorted(below, tail))
        last = len(mass) - 1 - int(np.searchsorted(above[::-1], tail))
        low, high = float(table.losses[first]), float(table.losses[last])
        return (low, high) if removing else (-high, -low)

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:
        """See Pair; what is beyond the table counts as mass of the second distribution."""
        table = _table(self)
        cuts = np.searchsorted(table.losses, losses if removing else -losses[::-1])
        joined, absent = (_between(mass, cuts) for mass in (table.joined, table.absent))
        if removing:
            absent[0] += table.outside * (cuts[0] == 0)
            return joined, absent
        joined[-1] += table.outside * (cuts[-1] == len(table.losses))
        return absent[::-1], joined[::-1]

    def offset(self, step: float, *, removing: bool) -> float:  # noqa: ARG002 - symmetric
        """Most of the mass lies about 0."""
        return just_below_zero(self.spread) % step

    def rounding(self, tail: float) -> float:  # noqa: ARG002 - of the whole table
        """See Pair."""
        return _ROUNDING

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair."""
        return mixed_rounding(self.rate, losses, self.rounding(tail))


@dataclass(frozen=True, slots=True)
class _Table:
    """Losses of the outputs, increasing; masses of both laws; and a bound on what either has beyond."""

    losses: NDArray[np.float64]
    joined: NDArray[np.float64]
    absent: NDArray[np.float64]
    outside: float


def _reach(variance: float) -> int:
    return math.ceil(_REACH * math.sqrt(variance)) + _MARGIN


@lru_cache(maxsize=2)
def _table(pair: SkellamPair) -> _Table:
    variance = pair.variance
    reach = _reach(variance)
    logs = skellam_log_masses(np.arange(0.0, reach + pair.shift + 1), variance)
    k = np.arange(-reach, reach + pair.shift + 1)
    absent, moved = logs[np.abs(k)], logs[np.abs(k - pair.shift)]
    with np.errstate(over="ignore"):
        losses = moved - absent
        if pair.rate < 1:
            losses = np.logaddexp(math.log1p(-pair.rate), math.log(pair.rate) + losses)
            near = np.abs(moved - absent) < 1
            losses[near] = np.log1p(pair.rate * np.expm1((moved - absent)[near]))
    # Chernoff's bound, with the moment e^(V(cosh t − 1)), on both sides
    t = math.asinh(reach / variance)
    outside = 2 * math.exp(variance * (math.sqrt(1 + (reach / variance) ** 2) - 1) - t * reach)
    first = np.exp(absent)
    joined = (1 - pair.rate) * first + pair.rate * np.exp(moved)
    return _Table(np.maximum.accumulate(losses), joined, first, outside)


def _between(mass: NDArray[np.float64], cuts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of the masses between successive cuts."""
    sums = np.add.reduceat(np.append(mass, 0.0), cuts)[:-1]
    return np.where(np.diff(cuts) > 0, sums, 0.0)
