"""Integer sums with Skellam or discrete Gaussian noise (docs/privacy.md §5)."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from dp.checks import assign, positive, whole
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events.checks import check_noise_multiplier, check_norms, check_sampling
from dp.events.sampling import NoSampling
from dp.losses.cost import Cost
from dp.losses.lattice import SkellamPair, has_table
from dp.losses.outward import ULP
from dp.losses.renyi import ORDERS
from dp.losses.shares import coset_slack, discrete_gaussian_tau, rounded_gaussian_tau

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.events.interface import NeighboringRelation, Sampling
    from dp.losses.pairs import Pair

__all__ = ["DiscreteGaussianSumEvent", "SkellamEvent"]

_SMALLEST_SHARE = 0.5
"""The theorem on sums of discrete Gaussians holds for parameters σ from here on."""
_LITTLE = 0.01
"""Slack ÷ mean loss of a release up to which one Gaussian describes it better than its Rényi curve."""
_ROOM, _MOST_ROOM = 0.05, 0.4
"""Parts of the variance that may be given up for that: always, and where the curve is worse at order 2."""
_SECOND = int(np.flatnonzero(ORDERS == 2.0)[0])
"""Place of the order that decides after many releases."""
_TRIFLE = 0.02
"""What slack may cost beside what giving up variance costs."""
_MORE = 0.01
"""Slack up to which a lower bound is worth it."""
_LONGEST = 1e150
"""L2 norm up to which its square is a float64."""
_ROUNDED = 1e-12
"""Relative error of a norm whose square is meant to be whole."""
_CLAIM = 1e-9
"""What rounding may add to a claimed multiplier."""
_FINE = 1e5
"""Sensitivity from which on whole numbers change nothing."""
_SMALLEST_VARIANCE = 1e-300
"""Variance below which nothing is said of the noise."""
_FEWEST = 4.0
"""−log of the largest share by which a Gaussian's sums over cosets may differ."""
_SPARSE = 4
"""Number of coordinates in which a vector of almost the whole norm is looked for."""


@dataclass(frozen=True, slots=True)
class SkellamEvent:
    """One release of an integer sum with Skellam noise of variance (noise_multiplier·l2_sensitivity)².

    Args:
        noise_multiplier: standard deviation of the noise in the sum ÷ l2_sensitivity.
        l2_sensitivity: L2 sensitivity in grid units.
        l1_sensitivity: L1 sensitivity in grid units; between l2_sensitivity and l2_sensitivity·√d.
        sampling: sampling scheme of the cohort.

    Example:
        >>> from dp import Accountant, GaussianEvent
        >>> fine = SkellamEvent(2.0, l2_sensitivity=100.0, l1_sensitivity=1000.0)
        >>> coarse = SkellamEvent(2.0, l2_sensitivity=2.0, l1_sensitivity=20.0)
        >>> [round(Accountant().compose(event).upper_epsilon(1e-5), 2) for event in (fine, coarse)]
        [2.17, 2.36]
    """

    noise_multiplier: float
    l2_sensitivity: float = field(kw_only=True)
    l1_sensitivity: float = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        assign(self, noise_multiplier=check_noise_multiplier(self.noise_multiplier))
        l1, l2 = check_norms(self.l1_sensitivity, self.l2_sensitivity)
        assign(self, l1_sensitivity=l1, l2_sensitivity=l2)
        check_sampling(self.sampling)

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        if self.noise_multiplier == 0:
            return Cost(exposed=self.sampling.exposure, failure=self.sampling.failure)
        curve = self.sampling.renyi(self.divergence, relation)
        return Cost(curve=curve, failure=self.sampling.failure, least=self._least(relation))

    def _least(self, relation: NeighboringRelation) -> tuple[SkellamPair, ...]:
        """One coordinate that moves by as much as it may."""
        rate, distance = self.sampling.mixture(relation)
        shift = int(distance) * math.floor(min(self.l1_sensitivity, self.l2_sensitivity))
        variance = _square(self.noise_multiplier * self.l2_sensitivity)
        if shift == 0 or not has_table(variance, shift):
            return ()
        return (SkellamPair(rate, variance, shift),)

    def divergence(self, distance: float, orders: NDArray[np.float64]) -> NDArray[np.float64]:
        """Agarwal, Kairouz and Liu (2021), theorem 3.5, at integer orders; infinite at others.

        Args:
            distance: distance of the two sums, in sensitivities.
            orders: float64[n], above 1.
        """
        variance = _square(self.noise_multiplier * self.l2_sensitivity)
        if variance < _SMALLEST_VARIANCE:
            return np.full(len(orders), np.inf)
        norm = _square(distance / self.noise_multiplier / _finer(self.l2_sensitivity))
        l1 = distance * _whole_length(self.l1_sensitivity) / variance
        # The Gaussian's curve, and the smaller of the theorem's two bounds on what the lattice adds to it.
        with np.errstate(over="ignore"):
            first = ((2 * orders - 1) * norm + 6 * l1) / 4 / variance
            curve = orders * norm / 2 + np.minimum(first, 1.5 * l1)
        return np.where(orders == np.floor(orders), curve, np.inf)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianSumEvent:
    """One release of an integer sum with `shares` discrete Gaussians a coordinate.

    Clients' vectors are whole numbers, so that the square of an L2 norm is one as well.

    Args:
        noise_multiplier: standard deviation of the guaranteed noise in the sum ÷ l2_sensitivity; at most
            √shares · local_stddev ÷ l2_sensitivity, and less where some shares may be missing.
        local_stddev: the parameter σ of the smallest share, in grid units; at least ½ if there are several.
        shares: largest number of shares in the sum.
        dimension: number of coordinates of the sum.
        l2_sensitivity: L2 sensitivity in grid units.
        l1_sensitivity: L1 sensitivity in grid units.
        sampling: sampling scheme of the cohort.

    Raises:
        UnsupportedEventError: there are several shares of less than half a grid unit each.
        InvalidParameterError: the multiplier is more than the shares carry, or another value is out of range.

    Example:
        >>> from dp import Accountant
        >>> norms = {"dimension": 100, "l2_sensitivity": 10.0, "l1_sensitivity": 100.0}
        >>> for shares, stddev in ((1, 20.0), (100, 2.0), (1600, 0.5)):  # the same noise in the sum
        ...     event = DiscreteGaussianSumEvent(2.0, local_stddev=stddev, shares=shares, **norms)
        ...     print(stddev, round(Accountant().compose(event).upper_epsilon(1e-5), 2))
        20.0 2.0
        2.0 2.0
        0.5 11859.16
    """

    noise_multiplier: float
    local_stddev: float = field(kw_only=True)
    shares: int = field(kw_only=True)
    dimension: int = field(kw_only=True)
    l2_sensitivity: float = field(kw_only=True)
    l1_sensitivity: float = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        assign(
            self,
            noise_multiplier=check_noise_multiplier(self.noise_multiplier),
            local_stddev=positive("local_stddev", self.local_stddev),
            shares=whole("shares", self.shares),
            dimension=whole("dimension", self.dimension),
        )
        l1, l2 = check_norms(self.l1_sensitivity, self.l2_sensitivity)
        assign(self, l1_sensitivity=l1, l2_sensitivity=l2)
        check_sampling(self.sampling)
        if self.shares > 1 and self.local_stddev < _SMALLEST_SHARE:
            raise UnsupportedEventError(
                f"local_stddev {self.local_stddev:g} is below {_SMALLEST_SHARE:g} grid units, for which no "
                "theorem bounds the sum of several discrete Gaussians; raise the grid's scale"
            )
        carried = math.sqrt(self.shares) * self.local_stddev / self.l2_sensitivity
        if self.noise_multiplier > carried * (1 + _CLAIM):
            raise InvalidParameterError(
                f"noise_multiplier {self.noise_multiplier:g} is more than {self.shares} shares of "
                f"local_stddev {self.local_stddev:g} carry, {carried:g} at an l2_sensitivity of "
                f"{self.l2_sensitivity:g}; "
                "lower the multiplier, or state the shares that are in the sum"
            )

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        if self.noise_multiplier == 0:
            return Cost(exposed=self.sampling.exposure, failure=self.sampling.failure)
        curve, failure = self.sampling.renyi(self.divergence, relation), self.sampling.failure
        # Not shares·local_stddev²: of these shares, guilty clients may hold back what exceeds the multiplier.
        variance = _square(self.noise_multiplier * self.l2_sensitivity)
        tau = rounded_gaussian_tau(self.local_stddev, self.shares)
        loss = self.sampling.gaussian(self.noise_multiplier, relation).spread ** 2 / 2
        kept = _given_up(variance, loss, self.dimension)
        slack = self.dimension * (tau + coset_slack(kept))
        least, least_slack = self._least(relation, variance, loss, tau)
        rest = Cost(curve=curve, failure=failure, least=least, least_slack=least_slack)
        if slack > _LITTLE * loss or kept > _MOST_ROOM * variance:
            return rest
        finer = self.noise_multiplier * _finer(self.l2_sensitivity)
        multiplier = finer * math.sqrt(1 - kept / variance)
        pair = self.sampling.gaussian(multiplier * (1 - ULP), relation)
        if kept > _ROOM * variance and not _below(pair.renyi(), curve):
            return rest
        return replace(rest, pairs=(pair,), curve=None, slack=slack)

    def _least(
        self, relation: NeighboringRelation, variance: float, loss: float, tau: float
    ) -> tuple[tuple[Pair, ...], float]:
        """A Gaussian of which a sparse vector reveals as much, and the slack that it takes."""
        if self.l2_sensitivity > _LONGEST:
            return (), 0.0
        smooth = _given_up(variance, loss, _SPARSE)  # w of docs/privacy.md §5.2
        slack = _SPARSE * (tau + coset_slack(smooth))
        if variance < 2 * smooth or slack > _MORE:
            return (), 0.0
        norm = _sparse_norm(self.l2_sensitivity, self.l1_sensitivity, self.dimension)
        if norm == 0:
            return (), 0.0
        more = variance / (1 - smooth / variance)  # variance + s, with 1/w = 1/variance + 1/s
        multiplier = self.noise_multiplier * self.l2_sensitivity * math.sqrt(more / variance) / norm
        attained = self.sampling.gaussian(multiplier * (1 + ULP), relation).attained
        return ((attained,), slack) if attained is not None else ((), 0.0)

    def divergence(self, distance: float, orders: NDArray[np.float64]) -> NDArray[np.float64]:
        """Kairouz, Liu and Steinke (2021), theorem 1 (concentrated DP, so every order).

        Args:
            distance: distance of the two sums, in sensitivities.
            orders: float64[n], above 1.
        """
        tau = discrete_gaussian_tau(self.local_stddev, self.shares)
        d = self.dimension
        l2 = distance / self.noise_multiplier / _finer(self.l2_sensitivity)
        l1 = (
            distance
            / self.noise_multiplier
            * _whole_length(self.l1_sensitivity)
            / self.l2_sensitivity
        )
        # All three bounds of the theorem hold, so the least one is taken.
        by_norms = min(l2**2 + 2 * l1 * tau + tau**2 * d, (l2 + math.sqrt(d) * tau) ** 2)
        return np.minimum(orders * l2**2 / 2 + tau * d, orders / 2 * by_norms)


def _square(number: float) -> float:
    """The square; the largest float, and no error, beyond floats."""
    return min(number * number, sys.float_info.max)


def _whole_length(length: float) -> float:
    """The L1 norm of the longest vector of whole numbers within this one; below 1 it stays as it is."""
    whole = math.floor(length * (1 + _ROUNDED)) if length < _FINE else 0
    return min(float(whole) or length, length)


def _finer(l2: float) -> float:
    """The L2 sensitivity ÷ the norm of the longest vector of whole numbers within it; 1 if below 1.

    The square of such a norm is a whole number.
    """
    whole = math.floor(l2 * l2 * (1 + _ROUNDED)) if l2 < _FINE else 0
    return max(l2 / math.sqrt(whole), 1.0) if whole else 1.0


def _below(first: NDArray[np.float64] | None, second: NDArray[np.float64]) -> bool:
    """Whether the first Rényi curve is known, and below the second at order 2."""
    return first is not None and bool(first[_SECOND] <= second[_SECOND])


def _given_up(variance: float, loss: float, coordinates: int) -> float:
    """A part c of the variance at which slack costs little beside c itself (docs/privacy.md §5.1).

    Slack A = coordinates·2·atanh η(c), about 4·coordinates·e^(−2π²c), adds 2A to a release's loss, and c adds
    c/variance of the loss. Any c is sound.
    """
    least = sys.float_info.min
    aim = math.log(max(_TRIFLE * loss, least)) - math.log(max(variance, least))
    return max(math.log(4 * coordinates) - aim, _FEWEST) / (2 * math.pi**2)


def _sparse_norm(l2: float, l1: float, dimension: int) -> float:
    """L2 norm of a whole vector of at most `_SPARSE` coordinates that is within both norms; 0 if none is."""
    left, room, norm = Fraction(l2) ** 2, Fraction(l1), 0
    for _ in range(min(_SPARSE, dimension)):
        entry = min(math.isqrt(math.floor(left)), math.floor(room))
        left, room, norm = left - entry**2, room - entry, norm + entry**2
    return math.sqrt(norm)
