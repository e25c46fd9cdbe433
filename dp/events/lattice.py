"""Integer sums with Skellam or discrete Gaussian noise (docs/privacy.md §5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from dp.checks import assign, positive, whole
from dp.errors import UnsupportedEventError
from dp.events.checks import check_noise_multiplier, check_norms, check_sampling
from dp.events.sampling import NoSampling
from dp.losses.cost import Cost
from dp.losses.lattice import SkellamPair, has_table
from dp.losses.outward import ULP
from dp.losses.shares import coset_slack, discrete_gaussian_tau, rounded_gaussian_tau

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.events.interface import NeighboringRelation, Sampling
    from dp.losses.pairs import Pair

__all__ = ["DiscreteGaussianSumEvent", "SkellamEvent"]

_SMALLEST_SHARE = 0.5
"""The theorem on sums of discrete Gaussians holds for parameters σ from here on."""
_LITTLE = 1e-10
"""Slack of one release up to which one Gaussian describes it better than its Rényi curve."""
_MORE = 0.01
"""Slack up to which a lower bound is worth it."""
_ROOM = 0.05
"""Largest part of the variance that may be given up for that."""
_SMOOTH = 1.9
"""A variance w at which η(w) is 1e-16."""
_LONGEST = 1e150
"""L2 norm up to which its square is a float64."""
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
        variance = (self.noise_multiplier * self.l2_sensitivity) ** 2
        if shift == 0 or not has_table(variance, shift):
            return ()
        return (SkellamPair(rate, variance, shift),)

    def divergence(self, distance: float, orders: NDArray[np.float64]) -> NDArray[np.float64]:
        """Agarwal, Kairouz and Liu (2021), theorem 3.5, at integer orders; infinite at others.

        Args:
            distance: distance of the two sums, in sensitivities.
            orders: float64[n], above 1.
        """
        variance = (self.noise_multiplier * self.l2_sensitivity) ** 2
        l1, l2sq = distance * self.l1_sensitivity, (distance * self.l2_sensitivity) ** 2
        # The Gaussian's curve, and the smaller of the theorem's two bounds on what the lattice adds to it.
        first = ((2 * orders - 1) * l2sq + 6 * l1) / (4 * variance**2)
        curve = orders * l2sq / (2 * variance) + np.minimum(first, 3 * l1 / (2 * variance))
        return np.where(orders == np.floor(orders), curve, np.inf)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianSumEvent:
    """One release of an integer sum with `shares` discrete Gaussians a coordinate.

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

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        if self.noise_multiplier == 0:
            return Cost(exposed=self.sampling.exposure, failure=self.sampling.failure)
        curve, failure = self.sampling.renyi(self.divergence, relation), self.sampling.failure
        # Not shares·local_stddev²: of these shares, guilty clients may hold back what exceeds the multiplier.
        variance = (self.noise_multiplier * self.l2_sensitivity) ** 2
        tau = rounded_gaussian_tau(self.local_stddev, self.shares)
        kept = math.log(8e14 * self.dimension) / (2 * math.pi**2)
        slack = self.dimension * (tau + coset_slack(kept))
        least, least_slack = self._least(relation, variance, tau)
        if slack > _LITTLE or kept > _ROOM * variance:
            return Cost(curve=curve, failure=failure, least=least, least_slack=least_slack)
        multiplier = self.noise_multiplier * math.sqrt(1 - kept / variance) * (1 - ULP)
        pair = self.sampling.gaussian(multiplier, relation)
        return Cost((pair,), slack=slack, failure=failure, least=least, least_slack=least_slack)

    def _least(
        self, relation: NeighboringRelation, variance: float, tau: float
    ) -> tuple[tuple[Pair, ...], float]:
        """A Gaussian of which a sparse vector reveals as much, and the slack that it takes."""
        slack = _SPARSE * (tau + coset_slack(_SMOOTH))
        if self.l2_sensitivity > _LONGEST or variance < 2 * _SMOOTH or slack > _MORE:
            return (), 0.0
        norm = _sparse_norm(self.l2_sensitivity, self.l1_sensitivity, self.dimension)
        if norm == 0:
            return (), 0.0
        more = variance / (1 - _SMOOTH / variance)  # variance + s, with 1/1.9 = 1/variance + 1/s
        multiplier = self.noise_multiplier * self.l2_sensitivity * math.sqrt(more / variance) / norm
        attained = self.sampling.gaussian(multiplier, relation).attained
        return ((attained,), slack) if attained is not None else ((), 0.0)

    def divergence(self, distance: float, orders: NDArray[np.float64]) -> NDArray[np.float64]:
        """Kairouz, Liu and Steinke (2021), theorem 1 (concentrated DP, so every order).

        Args:
            distance: distance of the two sums, in sensitivities.
            orders: float64[n], above 1.
        """
        tau = discrete_gaussian_tau(self.local_stddev, self.shares)
        d = self.dimension
        l2 = distance / self.noise_multiplier
        l1 = l2 * self.l1_sensitivity / self.l2_sensitivity
        # All three bounds of the theorem hold, so the least one is taken.
        by_norms = min(l2**2 + 2 * l1 * tau + tau**2 * d, (l2 + math.sqrt(d) * tau) ** 2)
        return np.minimum(orders * l2**2 / 2 + tau * d, orders / 2 * by_norms)


def _sparse_norm(l2: float, l1: float, dimension: int) -> float:
    """L2 norm of a whole vector of at most `_SPARSE` coordinates that is within both norms; 0 if none is."""
    left, room, norm = Fraction(l2) ** 2, Fraction(l1), 0
    for _ in range(min(_SPARSE, dimension)):
        entry = min(math.isqrt(math.floor(left)), math.floor(room))
        left, room, norm = left - entry**2, room - entry, norm + entry**2
    return math.sqrt(norm)
