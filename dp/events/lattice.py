"""Integer sums with Skellam or discrete Gaussian noise, known by Rényi curves (docs/privacy.md §5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dp.checks import assign, positive, whole
from dp.errors import UnsupportedEventError
from dp.events.checks import check_noise_multiplier, check_norms, check_sampling
from dp.events.sampling import NoSampling
from dp.losses.cost import Cost
from dp.losses.shares import discrete_gaussian_tau

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.events.interface import Divergence, NeighboringRelation, Sampling

__all__ = ["DiscreteGaussianSumEvent", "SkellamEvent"]

_SMALLEST_SHARE = 0.5
"""The theorem on sums of discrete Gaussians holds for parameters σ from here on."""


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
        return _renyi_cost(self.noise_multiplier, self.divergence, self.sampling, relation)

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
        noise_multiplier: √shares · local_stddev ÷ l2_sensitivity.
        local_stddev: the parameter σ of one share, in grid units; at least ½ if there are several shares.
        shares: number of guaranteed honest shares.
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
        20.0 2.17
        2.0 2.17
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
        return _renyi_cost(self.noise_multiplier, self.divergence, self.sampling, relation)

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


def _renyi_cost(
    noise_multiplier: float,
    divergence: Divergence,
    sampling: Sampling,
    relation: NeighboringRelation,
) -> Cost:
    if noise_multiplier == 0:
        return Cost(exposed=sampling.exposure, failure=sampling.failure)
    return Cost(curve=sampling.renyi(divergence, relation), failure=sampling.failure)
