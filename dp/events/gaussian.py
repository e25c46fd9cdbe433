"""Sums with Gaussian noise: one Gaussian, or many rounded shares of one (docs/privacy.md §2 – §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dp.checks import assign, positive, whole
from dp.errors import UnsupportedEventError
from dp.events.checks import check_noise_multiplier, check_sampling
from dp.events.sampling import NoSampling
from dp.losses.cost import Cost
from dp.losses.shares import rounded_gaussian_tau

if TYPE_CHECKING:
    from dp.events.interface import NeighboringRelation, Sampling

__all__ = ["MIN_LOCAL_STDDEV", "GaussianEvent", "RoundedGaussianSumEvent"]

MIN_LOCAL_STDDEV = 2.0
"""Below this, the slack of a sum of rounded Gaussians is no longer negligible (docs/privacy.md §4)."""


@dataclass(frozen=True, slots=True)
class GaussianEvent:
    """One release of a sum with Gaussian noise, or of anything computed from it.

    Args:
        noise_multiplier: standard deviation ÷ L2 sensitivity, at most 1e15; 0 is a release without
            privacy, and other values are at least 1e-100.
        sampling: sampling scheme of the cohort.

    Example:
        >>> from dp import PoissonSampling
        >>> GaussianEvent(1.3, PoissonSampling(0.15)).sampling.rate
        0.15
    """

    noise_multiplier: float
    sampling: Sampling = field(default_factory=NoSampling)

    def __post_init__(self) -> None:
        assign(self, noise_multiplier=check_noise_multiplier(self.noise_multiplier))
        check_sampling(self.sampling)

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        return _gaussian_cost(self.noise_multiplier, self.sampling, relation, slack=0.0)


@dataclass(frozen=True, slots=True)
class RoundedGaussianSumEvent:
    """One release of an integer sum that carries `shares` independent rounded Gaussians a coordinate.

    The law of the noise must not depend on whether one client takes part: shares of a fixed number, or
    discrete Gaussian shares of a fixed total variance, some of it held back (docs/privacy.md §4).

    Args:
        noise_multiplier: √shares · local_stddev ÷ L2 sensitivity, both in grid units.
        local_stddev: standard deviation of one share before it is rounded, in grid units.
        shares: number of noise shares that are guaranteed to be in the sum and unknown to the adversary.
        dimension: number of coordinates of the sum.
        sampling: sampling scheme of the cohort.

    Raises:
        UnsupportedEventError: there are several shares of less than two grid units each.

    Example:
        >>> from dp import Accountant
        >>> event = RoundedGaussianSumEvent(2.0, local_stddev=4.0, shares=25, dimension=1000)
        >>> round(Accountant().compose(event).epsilon(1e-5).high, 4)  # as one Gaussian in the sum
        1.9931
        >>> RoundedGaussianSumEvent(2.0, local_stddev=0.8, shares=625, dimension=9)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dp.errors.UnsupportedEventError: local_stddev 0.8 is below 2 grid units, so the sum ...
    """

    noise_multiplier: float
    local_stddev: float = field(kw_only=True)
    shares: int = field(kw_only=True)
    dimension: int = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        assign(
            self,
            noise_multiplier=check_noise_multiplier(self.noise_multiplier),
            local_stddev=positive("local_stddev", self.local_stddev),
            shares=whole("shares", self.shares),
            dimension=whole("dimension", self.dimension),
        )
        check_sampling(self.sampling)
        if self.shares > 1 and self.local_stddev < MIN_LOCAL_STDDEV:
            raise UnsupportedEventError(
                f"local_stddev {self.local_stddev:g} is below {MIN_LOCAL_STDDEV:g} grid units, so the "
                "sum of the shares is not close enough to one Gaussian; raise the grid's scale"
            )

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        slack = self.dimension * rounded_gaussian_tau(self.local_stddev, self.shares)
        return _gaussian_cost(self.noise_multiplier, self.sampling, relation, slack=slack)


def _gaussian_cost(
    noise_multiplier: float, sampling: Sampling, relation: NeighboringRelation, *, slack: float
) -> Cost:
    if noise_multiplier == 0:  # without noise the release reveals the client's part
        return Cost(exposed=sampling.exposure, failure=sampling.failure)
    pair = sampling.gaussian(noise_multiplier, relation)
    return Cost(pairs=(pair,), slack=slack, failure=sampling.failure)
